#include "sys/process_name.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>

#include "base/text.h"

namespace mcpbox::sys {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Field 22 of /proc/PID/stat (proc(5)): start time in clock ticks since boot. The name in field 2 may hold anything, so
// count from its end.
std::string start_time_of(const std::string& pid) {
  const std::string line = first_line("/proc/" + pid + "/stat");
  const std::size_t close = line.rfind(')');
  if (close == std::string::npos) return {};
  const auto fields = split(std::string_view(line).substr(close + 1), ' ');
  return fields.size() > 20 ? std::string(fields[20]) : std::string();
}

}  // namespace

std::string own_process() {
  const std::string pid = fmt::format("{}", ::getpid());
  return fmt::format("{}:{}:{}", first_line("/proc/sys/kernel/random/boot_id"), pid, start_time_of(pid));
}

bool process_is_alive(const std::string& name) {
  const auto parts = split(name, ':');
  if (parts.size() != 3 || parts[2].empty()) return false;
  if (parts[0] != first_line("/proc/sys/kernel/random/boot_id")) return false;
  const std::string pid(parts[1]);
  if (pid.empty() || pid.find_first_not_of("0123456789") != std::string::npos) return false;
  return start_time_of(pid) == parts[2];
}

}  // namespace mcpbox::sys
