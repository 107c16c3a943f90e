// Descriptors 0, 1 and 2 are open, whatever our caller closed.
#pragma once

namespace mcpbox::sys {

// Opens /dev/null in place of each standard descriptor that is closed; otherwise the next file, socket or eventfd that
// the program opens would get the number and be written to, or handed to a child, as its stderr. Called first in
// main(). stdin then is at its end, and what goes to stderr is dropped. In place of stdout it is opened for reading
// only, so that output still fails (EBADF) and is reported. False when a closed one could not be replaced.
bool open_standard_descriptors();

// Whether `fd` is open and was opened for writing.
bool is_writable(int fd);

}  // namespace mcpbox::sys
