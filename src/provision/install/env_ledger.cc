#include "provision/install/env_ledger.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>

#include "base/digest.h"
#include "base/errno_error.h"
#include "base/text.h"
#include "json/value.h"
#include "json/writer.h"

namespace mcpbox::provision {
namespace {

constexpr std::size_t kMaxServers = 50;
constexpr std::size_t kMaxLog = 1u << 20;

std::string read_whole(const std::string& path, std::size_t limit) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  std::string text;
  char buffer[16384];
  ssize_t got = 0;
  while (file && text.size() < limit && (got = ::read(file.get(), buffer, sizeof buffer)) > 0)
    text.append(buffer, static_cast<std::size_t>(got));
  return text;
}

// By rename, so that a reader never sees half of it. Failing is the ledger's business alone.
bool write_whole(const std::string& path, std::string_view text) {
  const std::string fresh = fmt::format("{}.{}", path, random_hex(4));
  const UniqueFd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return false;
  const bool whole = ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (whole && ::rename(fresh.c_str(), path.c_str()) == 0) return true;
  ::unlink(fresh.c_str());
  return false;
}

// Opens the file and locks it; the file may be unlinked by the one who held it before, so what is locked must still be
// what the name leads to.
std::optional<UniqueFd> lock_file(const std::string& path, int how) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file || ::flock(file.get(), how) != 0) return std::nullopt;
    struct stat held{}, named{};
    if (::fstat(file.get(), &held) == 0 && ::stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
        held.st_dev == named.st_dev)
      return file;
  }
  return std::nullopt;
}

std::int64_t now_seconds() {
  return static_cast<std::int64_t>(std::time(nullptr));
}

}  // namespace

bool is_env_hash(std::string_view text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

EnvLedger::EnvLedger(const std::string& state_dir) {
  if (state_dir.empty()) return;
  dir_ = state_dir + "/env";
  ::mkdir(dir_.c_str(), 0700);
}

std::string EnvLedger::file(const std::string& hash, std::string_view kind) const {
  return fmt::format("{}/{}.{}", dir_, hash, kind);
}

Result<std::shared_ptr<EnvHold>> EnvLedger::hold(const std::string& hash) const {
  if (dir_.empty()) return std::make_shared<EnvHold>(UniqueFd());
  auto lock = lock_file(file(hash, "lock"), LOCK_SH | LOCK_NB);
  if (lock) return std::make_shared<EnvHold>(std::move(*lock));
  if (errno == EWOULDBLOCK) return fail(Code::kAborted, fmt::format("environment {} is being removed", hash));
  return fail(errno_error(errno, fmt::format("cannot note the use of an environment in {}", dir_)));
}

std::optional<EnvHold> EnvLedger::hold_alone(const std::string& hash) const {
  if (dir_.empty()) return EnvHold(UniqueFd());
  auto lock = lock_file(file(hash, "lock"), LOCK_EX | LOCK_NB);
  if (!lock) return std::nullopt;
  return EnvHold(std::move(*lock));
}

EnvUsage EnvLedger::usage(const std::string& hash) const {
  EnvUsage usage;
  if (dir_.empty()) return usage;
  const auto noted = json::Value::parse(read_whole(file(hash, "json"), 64u << 10));
  if (!noted) return usage;
  usage.asked_hash = (*noted)["asked_hash"].string_or(hash);
  usage.last_used = (*noted)["last_used"].integer_or(0);
  for (const json::Value& server : (*noted)["servers"].elements()) usage.servers.push_back(server.string_or());
  return usage;
}

void EnvLedger::note_use(const std::string& hash, const std::string& asked_hash, std::string_view server) const {
  if (dir_.empty()) return;
  // Held for a moment by whoever writes: two that start at once both stay noted.
  const auto lock = lock_file(dir_ + "/ledger.lock", LOCK_EX);
  EnvUsage noted = usage(hash);
  const std::string name = printable(server, 100);
  std::erase(noted.servers, name);
  noted.servers.insert(noted.servers.begin(), name);
  if (noted.servers.size() > kMaxServers) noted.servers.resize(kMaxServers);
  json::Writer out;
  out.object().member("last_used", now_seconds()).member("asked_hash", asked_hash);
  out.member("servers", noted.servers).end();
  (void)write_whole(file(hash, "json"), out.take_line());
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
  for (const std::string& hash : known()) forget(hash);
  for (const auto& [hash, salt] : refreshed()) ::unlink(file(hash, "fresh").c_str());
}

std::map<std::string, std::string> EnvLedger::refreshed() const {
  std::map<std::string, std::string> salts;
  DIR* open = dir_.empty() ? nullptr : ::opendir(dir_.c_str());
  while (const dirent* entry = open != nullptr ? ::readdir(open) : nullptr) {
    const std::string name = entry->d_name;
    if (!name.ends_with(".fresh") || !is_env_hash(name.substr(0, name.size() - 6))) continue;
    if (std::string salt = read_whole(dir_ + "/" + name, 64); !salt.empty())
      salts[name.substr(0, 32)] = std::move(salt);
  }
  if (open != nullptr) ::closedir(open);
  return salts;
}

Result<void> EnvLedger::refresh(const std::string& asked_hash) const {
  if (!dir_.empty() && write_whole(file(asked_hash, "fresh"), random_hex(8))) return {};
  return fail(
      errno_error(errno, fmt::format("cannot note in {} that environment {} is to be made anew", dir_, asked_hash)));
}

void EnvLedger::restore(const std::string& asked_hash, const std::string& salt) const {
  if (dir_.empty()) return;
  if (salt.empty()) {
    ::unlink(file(asked_hash, "fresh").c_str());
  } else {
    (void)write_whole(file(asked_hash, "fresh"), salt);
  }
}

EnvLedger::Log EnvLedger::open_log(const std::string& hash) const {
  if (dir_.empty()) return {};
  return Log(UniqueFd(::open(file(hash, "log").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)));
}

void EnvLedger::Log::line(std::string_view text) {
  if (!file_ || written_ >= kMaxLog) return;
  const std::string whole =
      (written_ + text.size() + 64 >= kMaxLog ? std::string("… the rest was not kept") : printable(text, 4096)) + "\n";
  written_ = written_ + text.size() + 64 >= kMaxLog ? kMaxLog : written_ + whole.size();
  (void)!::write(file_.get(), whole.data(), whole.size());
}

std::optional<std::string> EnvLedger::log(const std::string& hash) const {
  if (dir_.empty() || ::access(file(hash, "log").c_str(), R_OK) != 0) return std::nullopt;
  return read_whole(file(hash, "log"), kMaxLog + 4096);
}

}  // namespace mcpbox::provision
