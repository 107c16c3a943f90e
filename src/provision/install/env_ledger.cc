#include "provision/install/env_ledger.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

#include "base/digest.h"
#include "base/errno_error.h"
#include "base/text.h"
#include "json/value.h"
#include "json/writer.h"
#include "sys/small_file.h"

namespace mcpbox::provision {
namespace {

constexpr std::size_t kMaxServers = 50;
constexpr std::size_t kMaxLog = 1u << 20;

std::int64_t now_seconds() {
  return static_cast<std::int64_t>(std::time(nullptr));
}

}  // namespace

bool is_env_hash(std::string_view text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

EnvLedger::EnvLedger(const std::string& state_dir, std::string engine) : engine_(std::move(engine)) {
  if (state_dir.empty()) return;
  dir_ = state_dir + "/env";
  ::mkdir(dir_.c_str(), 0700);
}

std::string EnvLedger::file(const std::string& hash, std::string_view kind) const {
  return fmt::format("{}/{}.{}", dir_, hash, kind);
}

Result<std::shared_ptr<EnvHold>> EnvLedger::hold(const std::string& hash) const {
  if (dir_.empty()) return std::make_shared<EnvHold>(sys::FileLock());
  auto lock = sys::FileLock::take(file(hash, "lock"), sys::LockMode::kShared, sys::LockWait::kNo);
  if (lock) return std::make_shared<EnvHold>(std::move(*lock));
  if (lock.error() == EWOULDBLOCK) return fail(Code::kAborted, fmt::format("environment {} is being removed", hash));
  return fail(errno_error(lock.error(), fmt::format("cannot note the use of an environment in {}", dir_)));
}

std::optional<EnvHold> EnvLedger::hold_alone(const std::string& hash) const {
  if (dir_.empty()) return EnvHold(sys::FileLock());
  auto lock = sys::FileLock::take(file(hash, "lock"), sys::LockMode::kExclusive, sys::LockWait::kNo);
  if (!lock) return std::nullopt;
  return EnvHold(std::move(*lock));
}

EnvUsage EnvLedger::usage(const std::string& hash) const {
  EnvUsage usage;
  if (dir_.empty()) return usage;
  const auto noted = json::Value::parse(sys::read_file(file(hash, "json")).value_or(""));
  if (!noted) return usage;
  usage.asked_hash = (*noted)["asked_hash"].string_or(hash);
  usage.engine = (*noted)["engine"].string_or();
  usage.last_used = (*noted)["last_used"].integer_or(0);
  for (const json::Value& server : (*noted)["servers"].elements()) usage.servers.push_back(server.string_or());
  return usage;
}

void EnvLedger::note_use(const std::string& hash, const std::string& asked_hash, std::string_view server) const {
  if (dir_.empty()) return;
  // Held for a moment by whoever writes: two that start at once both stay noted.
  const auto lock = sys::FileLock::take(dir_ + "/ledger.lock", sys::LockMode::kExclusive, sys::LockWait::kYes);
  EnvUsage noted = usage(hash);
  const std::string name = printable(server, 100);
  std::erase(noted.servers, name);
  noted.servers.insert(noted.servers.begin(), name);
  if (noted.servers.size() > kMaxServers) noted.servers.resize(kMaxServers);
  json::Writer out;
  out.object().member("last_used", now_seconds()).member("asked_hash", asked_hash);
  out.member("servers", noted.servers).member("engine", engine_).end();
  (void)sys::replace_file(file(hash, "json"), out.take_line());
}

std::vector<std::string> EnvLedger::known() const {
  std::vector<std::string> hashes;
  DIR* open = dir_.empty() ? nullptr : ::opendir(dir_.c_str());
  while (const dirent* entry = open != nullptr ? ::readdir(open) : nullptr) {
    const std::string name = entry->d_name;
    const std::string hash = name.substr(0, name.find('.'));
    if (is_env_hash(hash) && !name.ends_with(".fresh")) hashes.push_back(hash);
  }
  if (open != nullptr) ::closedir(open);
  std::sort(hashes.begin(), hashes.end());
  hashes.erase(std::unique(hashes.begin(), hashes.end()), hashes.end());
  std::erase_if(hashes, [&](const std::string& hash) {
    const std::string engine = engine_.empty() ? "" : usage(hash).engine;
    return !engine.empty() && engine != engine_;
  });
  return hashes;
}

std::string EnvLedger::last_of_server(std::string_view server) const {
  std::string best;
  std::int64_t newest = 0;
  const std::string name = printable(server, 100);
  for (const std::string& hash : known()) {
    const EnvUsage noted = usage(hash);
    const bool its = std::find(noted.servers.begin(), noted.servers.end(), name) != noted.servers.end();
    if (its && noted.last_used >= newest) {
      newest = noted.last_used;
      best = hash;
    }
  }
  return best;
}

void EnvLedger::forget(const std::string& hash) const {
  if (dir_.empty()) return;
  for (const char* kind : {"json", "log", "lock"}) ::unlink(file(hash, kind).c_str());
}

void EnvLedger::clear() const {
  for (const std::string& hash : known()) {
    const auto alone = hold_alone(hash);
    if (!alone) continue;
    if (const std::string asked = usage(hash).asked_hash; is_env_hash(asked)) ::unlink(file(asked, "fresh").c_str());
    forget(hash);
  }
}

std::map<std::string, std::string> EnvLedger::refreshed() const {
  std::map<std::string, std::string> salts;
  DIR* open = dir_.empty() ? nullptr : ::opendir(dir_.c_str());
  while (const dirent* entry = open != nullptr ? ::readdir(open) : nullptr) {
    const std::string name = entry->d_name;
    if (!name.ends_with(".fresh") || !is_env_hash(name.substr(0, name.size() - 6))) continue;
    if (std::string salt = sys::read_file(dir_ + "/" + name, 64).value_or(""); !salt.empty())
      salts[name.substr(0, 32)] = std::move(salt);
  }
  if (open != nullptr) ::closedir(open);
  return salts;
}

Result<void> EnvLedger::refresh(const std::string& asked_hash) const {
  const std::string what = fmt::format("cannot note that environment {} is to be made anew", asked_hash);
  if (dir_.empty()) return fail(Code::kFailedPrecondition, what + ": there is no state directory");
  auto written = sys::replace_file(file(asked_hash, "fresh"), random_hex(8));
  if (!written) return fail(std::move(written).error().with_context(what));
  return {};
}

void EnvLedger::restore(const std::string& asked_hash, const std::string& salt) const {
  if (dir_.empty()) return;
  if (salt.empty()) {
    ::unlink(file(asked_hash, "fresh").c_str());
  } else {
    (void)sys::replace_file(file(asked_hash, "fresh"), salt);
  }
}

EnvLedger::Log EnvLedger::open_log(const std::string& hash) const {
  if (dir_.empty()) return {};
  return Log(std::make_shared<UniqueFd>(
      ::open(file(hash, "log").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)));
}

void EnvLedger::Log::line(std::string_view text) {
  if (!file_ || noted_ >= kMaxLog) return;
  const std::string whole =
      (noted_ + text.size() + 64 >= kMaxLog ? std::string("… the rest was not kept") : printable(text, 4096)) + "\n";
  noted_ = noted_ + text.size() + 64 >= kMaxLog ? kMaxLog : noted_ + whole.size();
  pending_ += whole;
}

std::function<bool()> EnvLedger::Log::write() {
  return [file = file_, text = std::exchange(pending_, {})] {
    return !file || sys::write_all(file->get(), text).has_value();
  };
}

std::optional<std::string> EnvLedger::log(const std::string& hash) const {
  if (dir_.empty() || ::access(file(hash, "log").c_str(), R_OK) != 0) return std::nullopt;
  return sys::read_file(file(hash, "log"), 2 * kMaxLog).value_or("");
}

}  // namespace mcpbox::provision
