#include "box/init/hidden_memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "base/unique_fd.h"
#include "box/init/sandbox_gauge.h"

namespace mcpbox::box::init {
namespace {

// A vm_area_struct with its place in the tree: 236 bytes on Linux 6.18; with touched pages a little more.
constexpr std::uint64_t kMapping = 400;
// As much as one takes without a change of its size; twice what net.core.wmem_max allows by default.
constexpr std::uint64_t kPipe = 64 << 10, kSocket = 416 << 10;

UniqueFd open_of(int proc, pid_t pid, const char* what, int flags) {
  char name[48];
  ::snprintf(name, sizeof name, "%d/%s", pid, what);
  return UniqueFd(::openat(proc, name, O_RDONLY | O_CLOEXEC | flags));
}

// "VmPeak" less "VmSize" of its status.
std::uint64_t unmapped_of(int proc, pid_t pid) {
  UniqueFd fd = open_of(proc, pid, "status", 0);
  char text[4096];
  const ssize_t got = fd ? ::read(fd.get(), text, sizeof text - 1) : -1;
  text[std::max<ssize_t>(got, 0)] = '\0';
  const char* peak = ::strstr(text, "\nVmPeak:");
  const char* size = ::strstr(text, "\nVmSize:");
  if (peak == nullptr || size == nullptr) return 0;
  return left_of(::strtoull(peak + 8, nullptr, 10), ::strtoull(size + 8, nullptr, 10)) * 1024;
}

bool is_gone(int proc, pid_t pid) {
  return ::faccessat(proc, std::to_string(pid).c_str(), F_OK, 0) != 0;
}

}  // namespace

void HiddenMemory::process(int proc, pid_t pid) {
  const bool read = read_mappings(proc, pid) && read_descriptors(proc, pid);
  if (!read && !is_gone(proc, pid)) known_ = false;
}

bool HiddenMemory::read_mappings(int proc, pid_t pid) {
  UniqueFd fd = open_of(proc, pid, "maps", 0);
  if (!fd) return false;
  const std::uint64_t unmapped = unmapped_of(proc, pid);
  std::string text;
  char buffer[32 << 10];
  ssize_t got = 0;
  while ((got = ::read(fd.get(), buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<std::size_t>(got));
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
      text[end] = '\0';
      mapping(text.c_str() + begin, unmapped);
    }
    text.erase(0, begin);
  }
  return got == 0;
}

bool HiddenMemory::read_descriptors(int proc, pid_t pid) {
  UniqueFd fd = open_of(proc, pid, "fd", O_DIRECTORY);
  DIR* directory = fd ? ::fdopendir(fd.get()) : nullptr;
  if (directory == nullptr) return false;
  (void)fd.release();
  char target[64];
  while (const dirent* entry = ::readdir(directory)) {
    const ssize_t got = ::readlinkat(::dirfd(directory), entry->d_name, target, sizeof target - 1);
    if (got <= 0) continue;
    target[got] = '\0';
    descriptor(target);
  }
  ::closedir(directory);
  return true;
}

void HiddenMemory::mapping(const char* line, std::uint64_t unmapped) {
  ++mappings_;
  // "7fde71e5c000-7fde71f5c000 rw-s 00000000 00:01 407   /dev/zero (deleted)"
  if (::strstr(line, " /dev/zero (deleted)") == nullptr) return;
  unsigned long long begin = 0, end = 0, offset = 0, inode = 0;
  if (::sscanf(line, "%llx-%llx %*s %llx %*s %llu", &begin, &end, &offset, &inode) != 4 || end < begin) return;
  std::uint64_t& bytes = objects_[inode];
  bytes = std::max<std::uint64_t>(bytes, offset + (end - begin) + unmapped);
}

void HiddenMemory::descriptor(const char* target) {
  if (::strncmp(target, "pipe:[", 6) == 0) pipes_.insert(::strtoull(target + 6, nullptr, 10));
  if (::strncmp(target, "socket:[", 8) == 0) sockets_.insert(::strtoull(target + 8, nullptr, 10));
}

std::uint64_t HiddenMemory::bytes(std::uint64_t shared) const {
  std::uint64_t objects = 0;
  for (const auto& [inode, size] : objects_) objects += std::min(size, kUnknownMemory / 1024);
  return left_of(objects, shared) + mappings_ * kMapping + pipes_.size() * kPipe + sockets_.size() * kSocket;
}

}  // namespace mcpbox::box::init
