#include "box/init/proc_memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

namespace mcpbox::box::init {
namespace {

// The number after "\nNAME:", 0 where there is none: a kernel thread or a zombie has no memory.
std::uint64_t number_after(const char* text, const char* name) {
  const char* found = ::strstr(text, name);
  return found == nullptr ? 0 : ::strtoull(found + ::strlen(name), nullptr, 10);
}

// The second of "NSpid:\tN\tN", which has one number for each PID namespace from the reader's on; 0 of a single one.
std::uint64_t number_below(const char* text) {
  constexpr const char* kName = "\nNSpid:";
  const char* found = ::strstr(text, kName);
  if (found == nullptr) return 0;
  char* end = nullptr;
  (void)::strtoull(found + ::strlen(kName), &end, 10);
  return *end == '\t' ? ::strtoull(end, nullptr, 10) : 0;
}

// Its name comes first, in which the kernel escapes line feeds.
constexpr std::uint64_t kKibi = 1024;

UniqueFd open_file(int proc, pid_t pid, const char* file) {
  char name[48];
  ::snprintf(name, sizeof name, "%d/%s", pid, file);
  return UniqueFd(::openat(proc, name, O_RDONLY | O_CLOEXEC));
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
  status.number = number_below(uid);
  return true;
}

bool parse_pages(const char* text, ProcPages& pages) {
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::uint64_t numbers[3] = {};  // size, resident, shared
  for (std::uint64_t& number : numbers) {
    char* end = nullptr;
    number = ::strtoull(text, &end, 10);
    if (end == text) return false;
    text = end;
  }
  pages = {numbers[1] * page, numbers[2] * page};
  return true;
}

bool read_status(int proc, pid_t pid, ProcStatus& status) {
  UniqueFd fd = open_file(proc, pid, "status");
  char buffer[4096];
  const ssize_t got = fd ? ::read(fd.get(), buffer, sizeof buffer - 1) : -1;
  if (got <= 0) return false;
  buffer[got] = '\0';
  return parse_status(buffer, status);
}

UniqueFd open_pages(int proc, pid_t pid) {
  return open_file(proc, pid, "statm");
}

bool read_pages(int statm, ProcPages& pages) {
  char buffer[128];
  const ssize_t got = ::pread(statm, buffer, sizeof buffer - 1, 0);
  if (got <= 0) return false;
  buffer[got] = '\0';
  return parse_pages(buffer, pages);
}

}  // namespace mcpbox::box::init
