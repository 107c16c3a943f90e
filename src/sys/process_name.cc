#include "sys/process_name.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <optional>
#include <string_view>

#include "base/text.h"
#include "sys/small_file.h"

namespace mcpbox::sys {
namespace {

template <class Number>
std::optional<Number> number_in(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

std::string boot_id() {
  return std::string(trim(read_file("/proc/sys/kernel/random/boot_id").value_or("")));
}

std::uint64_t start_of_process(pid_t pid) {
  const std::string text = read_file(fmt::format("/proc/{}/stat", pid)).value_or("");
  // Fields 3 and 22, counted from the end of the name, which may hold anything.
  const std::size_t close = text.rfind(')');
  if (close == std::string::npos || close + 2 >= text.size()) return 0;
  const auto fields = split(std::string_view(text).substr(close + 2), ' ');
  if (fields.size() < 20 || fields[0] == "Z" || fields[0] == "X") return 0;
  return number_in<std::uint64_t>(fields[19]).value_or(0);
}

std::string own_process() {
  return fmt::format("{}:{}:{}", boot_id(), ::getpid(), start_of_process(::getpid()));
}

bool process_is_alive(const std::string& name) {
  const auto parts = split(name, ':');
  if (parts.size() != 3 || parts[0] != boot_id()) return false;
  const auto pid = number_in<pid_t>(parts[1]);
  const auto start = number_in<std::uint64_t>(parts[2]);
  return pid && start && *pid > 0 && *start != 0 && start_of_process(*pid) == *start;
}

pid_t pid_of(const std::string& name) {
  const auto parts = split(name, ':');
  return parts.size() == 3 ? number_in<pid_t>(parts[1]).value_or(0) : 0;
}

}  // namespace mcpbox::sys
