#include "box/native/record.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/errno_error.h"
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

Result<bool> alive(const NativeProcess& process) {
  if (process.pid <= 1 || process.start == 0) return false;
  const auto start = sys::start_of_process(process.pid);
  if (!start) return fail(start.error());
  return *start == process.start;
}

// The numbers in a file that need not be there yet: none then.
Result<std::vector<std::uint64_t>> numbers_at(const std::string& path) {
  const auto text = sys::read_file(path);
  if (text) return numbers_in(*text);
  if (text.error().code() == Code::kNotFound) return std::vector<std::uint64_t>();
  return fail(text.error());
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
  const json out{
      {"id", record.id},           {"name", record.name},       {"boot", record.boot},    {"labels", std::move(labels)},
      {"volumes", record.volumes}, {"cgroups", record.cgroups}, {"places", record.places}};
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
  const auto places = parsed.find("places");
  if (auto shown = places == parsed.end() ? std::nullopt : read_labels(places->dump()))
    record.places = std::move(*shown);
  return record;
}

Result<NativeSandbox> read_sandbox(const std::string& directory) {
  NativeSandbox out;
  out.directory = directory;
  const auto text = sys::read_file(directory + "/record");
  if (!text && text.error().code() != Code::kNotFound) return fail(text.error());
  if (!text || text->empty())
    return fail(Code::kNotFound, fmt::format("no native sandbox in {}", printable(directory)));
  auto record = read_record(*text);
  if (!record) return fail(std::move(record).error());
  out.record = std::move(*record);
  out.state.id = out.record.id;
  out.state.name = out.record.name;
  out.state.labels = out.record.labels;
  const auto pids = numbers_at(directory + "/pid");
  if (!pids) return fail(pids.error());
  if (pids->size() == 4) {
    out.keeper = {static_cast<pid_t>((*pids)[0]), (*pids)[1]};
    out.first = {static_cast<pid_t>((*pids)[2]), (*pids)[3]};
  }
  const auto boot = sys::boot_id();
  if (!boot) return fail(boot.error());
  out.this_boot = out.record.boot == *boot;
  const auto runs = alive(out.first);
  if (!runs) return fail(runs.error());
  out.state.running = out.this_boot && *runs;
  if (out.state.running) return out;
  // Asked first: it writes down how PID 1 ended before it ends itself.
  const auto kept = alive(out.keeper);
  if (!kept) return fail(kept.error());
  const auto how = numbers_at(directory + "/exit");
  if (!how) return fail(how.error());
  if (how->size() == 3) {
    const auto code = static_cast<int>((*how)[0]);
    out.state.exit_code = code >= 0 ? code : 128 + static_cast<int>((*how)[1]);
    out.state.killed_for_memory = (*how)[1] == 9 && (*how)[2] > 0;
  } else if (!*kept) {
    out.state.exit_code = 137;  // its keeper was killed, and PID 1 with it
  }
  return out;
}

Result<std::vector<NativeSandbox>> read_sandboxes(const std::string& sandboxes) {
  std::vector<NativeSandbox> out;
  std::error_code error;
  for (std::filesystem::directory_iterator at(sandboxes, error), end; !error && at != end; at.increment(error)) {
    auto found = read_sandbox(at->path().string());
    if (found) {
      out.push_back(std::move(*found));
    } else if (found.error().code() != Code::kNotFound && found.error().code() != Code::kDataLoss) {
      return fail(std::move(found).error());
    }
  }
  if (error && error != std::errc::no_such_file_or_directory)
    return fail(errno_error(error.value(), "cannot read " + printable(sandboxes)));
  return out;
}

Result<UniqueFd> open_process(const NativeProcess& process) {
  if (process.pid <= 1) return UniqueFd();
  UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  // The number of a thread is EINVAL or ENOENT: the process itself has ended.
  if (!handle && (errno == ESRCH || errno == EINVAL || errno == ENOENT)) return UniqueFd();
  if (!handle) return fail(errno_error(errno, fmt::format("cannot watch process {}", process.pid)));
  // The descriptor first, the check then: it stays with the process that was looked at.
  const auto same = alive(process);
  if (!same) return fail(same.error());
  return *same ? std::move(handle) : UniqueFd();
}

bool may_be_there(const std::string& path) {
  struct stat info{};
  return ::lstat(path.c_str(), &info) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

bool unchanged_for(const std::string& directory, std::chrono::seconds time) {
  struct stat status{};
  timespec now{};
  if (::lstat(directory.c_str(), &status) != 0 || ::clock_gettime(CLOCK_REALTIME, &now) != 0) return false;
  return now.tv_sec - status.st_mtim.tv_sec > time.count();
}

}  // namespace mcpbox::box
