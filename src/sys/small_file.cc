#include "sys/small_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "base/digest.h"
#include "base/errno_error.h"
#include "base/text.h"

namespace mcpbox::sys {

Result<std::string> read_all(int fd, std::size_t limit) {
  std::string content;
  std::array<char, 16u << 10> buffer;
  for (;;) {
    const ssize_t got = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(content.size()));
    if (got < 0) {
      if (errno == EINTR) continue;
      return fail(errno_error(errno, "read"));
    }
    if (got == 0) return content;
    content.append(buffer.data(), static_cast<std::size_t>(got));
    if (content.size() > limit) return fail(Code::kResourceExhausted, "more than " + std::to_string(limit) + " bytes");
  }
}

Result<std::string> read_file(const std::string& path, std::size_t limit, Links links) {
  const int follow = links == Links::kFollow ? 0 : O_NOFOLLOW;
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | follow));
  if (!file) return fail(errno_error(errno, "cannot read " + printable(path)));
  auto content = read_all(file.get(), limit);
  if (!content) return fail(std::move(content).error().with_context(printable(path)));
  return content;
}

Result<void> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail(errno_error(errno, "write"));
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> close_written(UniqueFd file) {
  // After EINTR the number is free on Linux, and nothing is known to be lost (close(2), NOTES).
  if (::close(file.release()) != 0 && errno != EINTR) return fail(errno_error(errno, "close"));
  return {};
}

Result<void> replace_file(const std::string& path, std::string_view bytes, Durable durable) {
  const std::string fresh = path + "." + random_hex(4);
  const auto write = [&]() -> Result<void> {
    UniqueFd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) return fail(errno_error(errno, "make"));
    if (auto written = write_all(file.get(), bytes); !written) return written;
    if (durable == Durable::kYes && ::fsync(file.get()) != 0) return fail(errno_error(errno, "fsync"));
    if (auto closed = close_written(std::move(file)); !closed) return closed;
    if (::rename(fresh.c_str(), path.c_str()) != 0) return fail(errno_error(errno, "rename"));
    return {};
  };
  auto written = write();
  if (!written) {
    ::unlink(fresh.c_str());
    return fail(std::move(written).error().with_context("cannot write " + printable(path)));
  }
  if (durable == Durable::kYes) {
    const UniqueFd folder(::open(path.substr(0, path.rfind('/') + 1).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder) (void)::fsync(folder.get());
  }
  return {};
}

}  // namespace mcpbox::sys
