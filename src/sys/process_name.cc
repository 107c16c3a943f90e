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

Result<std::string> boot_id() {
  auto text = read_file("/proc/sys/kernel/random/boot_id");
  if (!text) return text;
  std::string id(trim(*text));
  if (id.empty()) return fail(Code::kInternal, "the kernel does not say which start of the machine this is");
  return id;
}

Result<std::uint64_t> start_of_process(pid_t pid) {
  const auto text = read_file(fmt::format("/proc/{}/stat", pid));
  if (!text && text.error().code() == Code::kNotFound) return 0;
  if (!text) return fail(text.error());
  // Fields 3 and 22, counted from the end of the name, which may hold anything.
  const auto unknown = [pid] {
    return fail(Code::kInternal, fmt::format("/proc/{}/stat is not as proc(5) says", pid));
  };
  const std::size_t close = text->rfind(')');
  if (close == std::string::npos || close + 2 >= text->size()) return unknown();
  const auto fields = split(std::string_view(*text).substr(close + 2), ' ');
  if (fields[0] == "Z" || fields[0] == "X") return 0;
  const auto start = fields.size() < 20 ? std::nullopt : number_in<std::uint64_t>(fields[19]);
  if (!start) return unknown();
  return *start;
}

Result<std::string> own_process() {
  auto boot = boot_id();
  if (!boot) return boot;
  const auto start = start_of_process(::getpid());
  if (!start) return fail(start.error());
  return fmt::format("{}:{}:{}", *boot, ::getpid(), *start);
}

bool process_is_alive(const std::string& name) {
  const auto parts = split(name, ':');
  if (parts.size() != 3) return false;
  const auto pid = number_in<pid_t>(parts[1]);
  const auto start = number_in<std::uint64_t>(parts[2]);
  if (!pid || !start || *pid <= 0 || *start == 0) return false;
  if (const auto boot = boot_id(); boot && parts[0] != *boot) return false;
  const auto found = start_of_process(*pid);
  return !found || *found == *start;
}

pid_t pid_of(const std::string& name) {
  const auto parts = split(name, ':');
  return parts.size() == 3 ? number_in<pid_t>(parts[1]).value_or(0) : 0;
}

}  // namespace mcpbox::sys
