#include "box/init/proc_memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace mcpbox::box::init {
namespace {

// The number after "\nNAME:", 0 where there is none: a kernel thread or a zombie has no memory.
std::uint64_t number_after(const char* text, const char* name) {
  const char* found = ::strstr(text, name);
  return found == nullptr ? 0 : ::strtoull(found + ::strlen(name), nullptr, 10);
}

// Its name comes first, in which the kernel escapes line feeds.
constexpr std::uint64_t kKibi = 1024;

template <std::size_t Size>
bool read_text(int proc, pid_t pid, const char* file, char (&buffer)[Size]) {
  char name[48];
  ::snprintf(name, sizeof name, "%d/%s", pid, file);
  UniqueFd fd(::openat(proc, name, O_RDONLY | O_CLOEXEC));
  const ssize_t got = fd ? ::read(fd.get(), buffer, Size - 1) : -1;
  if (got <= 0) return false;
  buffer[got] = '\0';
  return true;
}

}  // namespace

bool parse_status(const char* text, ProcStatus& status) {
  const char* uid = ::strstr(text, "\nUid:\t");
  if (uid == nullptr) return false;
  status.uid = static_cast<uid_t>(::strtoul(uid + 6, nullptr, 10));
  status.swapped = number_after(uid, "\nVmSwap:") * kKibi;
  status.shared = number_after(uid, "\nRssShmem:") * kKibi;
  status.tables = number_after(uid, "\nVmPTE:") * kKibi;
  status.threads = number_after(uid, "\nThreads:");
  return true;
}

bool parse_pages(const char* text, ProcPages& pages) {
  unsigned long long size = 0, resident = 0, shared = 0;
  if (::sscanf(text, "%llu %llu %llu", &size, &resident, &shared) != 3) return false;
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  pages.resident = resident * page;
  pages.shared = shared * page;
  return true;
}

bool read_status(int proc, pid_t pid, ProcStatus& status) {
  char buffer[4096];
  return read_text(proc, pid, "status", buffer) && parse_status(buffer, status);
}

bool read_pages(int proc, pid_t pid, ProcPages& pages) {
  char buffer[128];
  return read_text(proc, pid, "statm", buffer) && parse_pages(buffer, pages);
}

}  // namespace mcpbox::box::init
