#include "box/init/memory_events.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace mcpbox::box::init {
namespace {

std::optional<std::uint64_t> read_counter(const char* path) {
  UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return std::nullopt;
  char buffer[1024];
  const ssize_t got = ::read(fd.get(), buffer, sizeof buffer - 1);
  if (got <= 0) return std::nullopt;
  buffer[got] = '\0';
  const char* line = ::strstr(buffer, "oom_kill ");
  unsigned long long value = 0;
  if (line == nullptr || ::sscanf(line, "oom_kill %llu", &value) != 1) return std::nullopt;
  return value;
}

}  // namespace

void MemoryEvents::sample() {
  auto now = read_counter("/sys/fs/cgroup/memory.events");
  if (!now) now = read_counter("/sys/fs/cgroup/memory/memory.oom_control");
  if (now && count_ && *now > *count_) rose_ = std::chrono::steady_clock::now();
  if (now) count_ = now;
}

bool MemoryEvents::killed_lately() const {
  return rose_ && std::chrono::steady_clock::now() - *rose_ <= std::chrono::seconds(2);
}

}  // namespace mcpbox::box::init
