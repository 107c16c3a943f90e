// Which descriptors a process of ours has.
#pragma once

#include <vector>

namespace mcpbox::box::init {

// Opens /dev/null as 0, 1 and 2 where they are closed: what is opened later never gets one of these numbers, so it is
// never taken for somebody's stdin, stdout or stderr. Comes before anything else that opens. Returns 0 or errno.
[[nodiscard]] int open_missing_stdio();

// Closes everything above 2 but `keep`. Returns 0 or errno; what was not closed must not be passed on then.
[[nodiscard]] int close_all_but(std::vector<int> keep);

// Makes the three descriptors the process's 0, 1 and 2, whatever their numbers are, and `kept` its 3 (close-on-exec),
// which is updated. For a child about to exec. Returns 0 or errno.
[[nodiscard]] int take_stdio(const int (&stdio)[3], int& kept);

}  // namespace mcpbox::box::init
