#include "box/init/proc_activity.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace mcpbox::box::init {
namespace {

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

bool parse_activity(const char* text, Activity& activity) {
  // "pid (name) state ppid …": the name may have spaces and parentheses, so its end is the last one. Of what follows,
  // the 12th to 15th are utime, stime, cutime and cstime.
  constexpr int kBefore = 11;
  static const long ticks = ::sysconf(_SC_CLK_TCK);
  const char* at = ::strrchr(text, ')');
  if (at == nullptr || at[1] != ' ' || ticks <= 0) return false;
  ++at;
  const bool runs = at[1] == 'R';
  for (int field = 0; field < kBefore; ++field) {
    at = ::strchr(at + 1, ' ');
    if (at == nullptr) return false;
  }
  unsigned long long times[4];
  for (unsigned long long& time : times) {
    char* end = nullptr;
    time = ::strtoull(at, &end, 10);
    if (end == at) return false;
    at = end;
  }
  const auto tick = static_cast<unsigned long long>(ticks);
  activity.used = std::chrono::microseconds((times[0] + times[1]) * 1'000'000 / tick);
  activity.waited = std::chrono::microseconds((times[2] + times[3]) * 1'000'000 / tick);
  activity.runs = runs;
  return true;
}

bool parse_ignores_sigterm(const char* text) {
  constexpr char kLine[] = "\nSigIgn:\t";
  const char* line = ::strstr(text, kLine);
  if (line == nullptr) return false;
  return (::strtoull(line + sizeof kLine - 1, nullptr, 16) >> (SIGTERM - 1) & 1) != 0;
}

bool read_activity(int proc, pid_t pid, Activity& activity) {
  char buffer[1024];
  return read_text(proc, pid, "stat", buffer) && parse_activity(buffer, activity);
}

bool ignores_sigterm(int proc, pid_t pid) {
  char buffer[4096];
  return read_text(proc, pid, "status", buffer) && parse_ignores_sigterm(buffer);
}

}  // namespace mcpbox::box::init
