#include "sys/directory.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

#include "base/errno_error.h"

namespace mcpbox::sys {
namespace {

// struct linux_dirent64 of getdents64(2); the C library does not name it.
struct DirectoryEntry {
  std::uint64_t inode;
  std::int64_t offset;
  unsigned short length;
  unsigned char type;
  char name[1];  // and more
};

constexpr std::size_t kBuffer = 64 * 1024;

}  // namespace

Result<std::vector<std::string>> read_names(int fd, std::size_t limit) {
  std::vector<std::string> names;
  auto buffer = std::make_unique<std::uint64_t[]>(kBuffer / sizeof(std::uint64_t));
  char* bytes = reinterpret_cast<char*>(buffer.get());
  for (;;) {
    long got = ::syscall(SYS_getdents64, fd, bytes, kBuffer);
    if (got < 0) {
      if (errno == EINTR) continue;
      return fail(errno_error(errno, "read directory"));
    }
    if (got == 0) break;
    for (long at = 0; at < got;) {
      auto* entry = reinterpret_cast<DirectoryEntry*>(bytes + at);
      std::string_view name(static_cast<const char*>(entry->name));
      if (name != "." && name != "..") {
        if (names.size() >= limit) {
          return fail(Code::kResourceExhausted, "the directory has more than " + std::to_string(limit) + " entries");
        }
        names.emplace_back(name);
      }
      at += entry->length;
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace mcpbox::sys
