// What this host remembers of environments: who uses them and since when, what must be resolved anew, what the last
// installation printed.
//
// The environments are in the cache volume of the instance, which servers' sandboxes mount read-only; their use is
// noted in <state_dir>/env/, which every mcpbox of that instance shares. Each engine has a cache volume of its own, so
// each note says whose environment it is of. A use is a lock on a file (flock(2)), so it ends with its process, however
// that ends. All calls are short and blocking. A directory that cannot be written costs what would have been
// remembered, never a start.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sys/file_lock.h"

namespace mcpbox::provision {

// As long as it lives, nobody removes the environment.
class EnvHold {
 public:
  explicit EnvHold(sys::FileLock lock) : lock_(std::move(lock)) {}

 private:
  sys::FileLock lock_;
};

struct EnvUsage {
  std::int64_t last_used = 0;        // seconds since 1970; 0 = never noted
  std::vector<std::string> servers;  // who asked for it, newest first
  std::string asked_hash;            // what refresh() takes
  std::string engine;                // EngineInfo::kind of who used it last; empty in notes of older versions
};

class EnvLedger {
 public:
  // `state_dir` empty: nothing is remembered and nothing is held (tests of other things). `engine`: EngineInfo::kind,
  // empty for who only reads what is noted of all of them.
  explicit EnvLedger(const std::string& state_dir, std::string engine = "");

  // Shared by everybody who needs the environment. kAborted while somebody removes it: ask again a moment later.
  Result<std::shared_ptr<EnvHold>> hold(const std::string& hash) const;
  // For its removal: nothing while anybody holds it.
  std::optional<EnvHold> hold_alone(const std::string& hash) const;

  void note_use(const std::string& hash, const std::string& asked_hash, std::string_view server) const;
  EnvUsage usage(const std::string& hash) const;
  // Hashes that anything is noted of, on this engine, or nobody knows on which.
  std::vector<std::string> known() const;
  // The environment that this server used last; empty when none is known.
  std::string last_of_server(std::string_view server) const;
  // Drops what is noted of an environment that is gone.
  void forget(const std::string& hash) const;
  // When this engine's volume is removed: forgets what known() names and nobody holds, and what was to be made anew of
  // it.
  void clear() const;

  // Environments that the planner is to make anew: the hash of what was asked → a salt (workspace::Policy::refreshed).
  std::map<std::string, std::string> refreshed() const;
  Result<void> refresh(const std::string& asked_hash) const;
  // Makes refreshed() what it was: `salt` of the environment, or none.
  void restore(const std::string& asked_hash, const std::string& salt) const;

  // The output of the newest installation, printable lines, at most 1 MiB.
  class Log {
   public:
    Log() = default;
    explicit Log(std::shared_ptr<UniqueFd> file) : file_(std::move(file)) {}
    // Notes it; blocks nobody.
    void line(std::string_view text);
    // Writes what was noted since: for the pool. Owns what it needs. False: it was not written.
    std::function<bool()> write();

   private:
    std::shared_ptr<UniqueFd> file_;
    std::string pending_;
    std::size_t noted_ = 0;
  };
  Log open_log(const std::string& hash) const;
  std::optional<std::string> log(const std::string& hash) const;

 private:
  std::string file(const std::string& hash, std::string_view kind) const;

  std::string dir_;  // empty: remembers nothing
  std::string engine_;
};

// 32 lower-case hexadecimal digits: what an environment's directory is called.
bool is_env_hash(std::string_view text);

}  // namespace mcpbox::provision
