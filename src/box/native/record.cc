#include "box/native/record.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "sys/process_name.h"
#include "sys/small_file.h"

namespace mcpbox::box {
namespace {

using nlohmann::json;

std::vector<std::uint64_t> numbers_in(const std::string& text) {
  std::vector<std::uint64_t> out;
  for (const std::string_view word : split(trim(text), ' ')) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size()) return {};
    out.push_back(static_cast<std::uint64_t>(value));
  }
  return out;
}

bool alive(const NativeProcess& process) {
  return process.pid > 1 && process.start != 0 && sys::start_of_process(process.pid) == process.start;
}

std::vector<std::string> strings(const json& list) {
  std::vector<std::string> out;
  for (const auto& item : list) {
    if (item.is_string()) out.push_back(item.get<std::string>());
  }
  return out;
}

}  // namespace

std::string write_labels(const Labels& labels) {
  json out = json::object();
  for (const auto& [name, value] : labels) out[name] = value;
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::optional<Labels> read_labels(std::string_view text) {
  const json parsed = json::parse(text, nullptr, false);
  if (!parsed.is_object()) return std::nullopt;
  Labels labels;
  for (const auto& [name, value] : parsed.items()) {
    if (!value.is_string()) return std::nullopt;
    labels[name] = value.get<std::string>();
  }
  return labels;
}

std::string write_record(const NativeRecord& record) {
  json labels = json::object();
  for (const auto& [name, value] : record.labels) labels[name] = value;
  const json out{{"id", record.id},           {"name", record.name},
                 {"boot", record.boot},       {"labels", std::move(labels)},
                 {"volumes", record.volumes}, {"cgroups", record.cgroups}};
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<NativeRecord> read_record(std::string_view text) {
  const json parsed = json::parse(text, nullptr, false);
  const auto broken = [] { return fail(Code::kDataLoss, "the record of a native sandbox cannot be read"); };
  if (!parsed.is_object()) return broken();
  NativeRecord record;
  const auto text_at = [&](const char* name) {
    const auto at = parsed.find(name);
    return at != parsed.end() && at->is_string() ? at->get<std::string>() : std::string();
  };
  record.id = text_at("id");
  record.name = text_at("name");
  record.boot = text_at("boot");
  if (record.id.empty() || record.name.empty()) return broken();
  const auto labels = parsed.find("labels");
  auto read = labels == parsed.end() ? std::nullopt : read_labels(labels->dump());
  if (!read) return broken();
  record.labels = std::move(*read);
  record.volumes = strings(parsed.value("volumes", json::array()));
  record.cgroups = strings(parsed.value("cgroups", json::array()));
  return record;
}

Result<NativeSandbox> read_sandbox(const std::string& directory) {
  NativeSandbox out;
  out.directory = directory;
  const std::string text = sys::read_file(directory + "/record").value_or("");
  if (text.empty()) return fail(Code::kNotFound, fmt::format("no native sandbox in {}", printable(directory)));
  auto record = read_record(text);
  if (!record) return fail(std::move(record).error());
  out.record = std::move(*record);
  out.state.id = out.record.id;
  out.state.name = out.record.name;
  out.state.labels = out.record.labels;
  if (const auto numbers = numbers_in(sys::read_file(directory + "/pid").value_or("")); numbers.size() == 4) {
    out.keeper = {static_cast<pid_t>(numbers[0]), numbers[1]};
    out.first = {static_cast<pid_t>(numbers[2]), numbers[3]};
  }
  out.state.running = out.record.boot == sys::boot_id() && alive(out.first);
  if (out.state.running) return out;
  // Asked first: it writes down how PID 1 ended before it ends itself.
  const bool kept = alive(out.keeper);
  if (const auto numbers = numbers_in(sys::read_file(directory + "/exit").value_or("")); numbers.size() == 3) {
    const auto code = static_cast<int>(numbers[0]);
    out.state.exit_code = code >= 0 ? code : 128 + static_cast<int>(numbers[1]);
    out.state.killed_for_memory = numbers[1] == 9 && numbers[2] > 0;
  } else if (!kept) {
    out.state.exit_code = 137;  // its keeper was killed, and PID 1 with it
  }
  return out;
}

std::vector<NativeSandbox> read_sandboxes(const std::string& sandboxes) {
  std::vector<NativeSandbox> out;
  std::error_code error;
  for (std::filesystem::directory_iterator at(sandboxes, error), end; !error && at != end; at.increment(error)) {
    if (auto found = read_sandbox(at->path().string())) out.push_back(std::move(*found));
  }
  return out;
}

UniqueFd open_process(const NativeProcess& process) {
  if (process.pid <= 1) return UniqueFd();
  UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  // The descriptor first, the check then: it stays with the process that was looked at.
  return handle && alive(process) ? std::move(handle) : UniqueFd();
}

}  // namespace mcpbox::box
