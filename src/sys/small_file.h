// Small files as a whole: read with a limit, written so that no reader sees half of one and no error is lost.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mcpbox::sys {

// The whole content of the file behind `fd`, from its start. kResourceExhausted when it has more than `limit` bytes.
Result<std::string> read_all(int fd, std::size_t limit);

enum class Links { kRefuse, kFollow };

// The same for the file at `path`, also one of /proc or /sys. A link as the last component is an error unless kFollow
// says otherwise (files of the administrator's); a pipe is one too. The error names the path.
Result<std::string> read_file(const std::string& path, std::size_t limit = 64u << 10, Links links = Links::kRefuse);

Result<void> write_all(int fd, std::string_view bytes);

// Closes what was written: some file systems say only here that the disk is full.
Result<void> close_written(UniqueFd file);

enum class Durable { kNo, kYes };

// Writes a new file, 0600, beside `path` and renames it over it. kYes: after a power failure it is the old or the new
// one, entire. After an error the old one is untouched and the new one removed; the error names the path.
Result<void> replace_file(const std::string& path, std::string_view bytes, Durable durable = Durable::kNo);

}  // namespace mcpbox::sys
