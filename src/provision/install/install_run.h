// One installation in its sandbox: prepare the tree, run the steps, find the program, seal, write the record.
//
// A tree /cache/env/<hash> has env (what stays), home and tmp (scratch), and cache: the downloads of uv, npm and the
// like. When an attempt is cut short (time-out, killed, network) the next one finds its downloads there. Nobody else
// does: what an installed package could plant there meets the same packages again, and no others.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/redact.h"
#include "base/result.h"
#include "box/sandbox.h"
#include "net/task.h"
#include "net/task_group.h"
#include "net/wait.h"
#include "provision/install/installer.h"

namespace mcpbox::provision {

class ServerLog;

inline constexpr const char* kWheelhouseMount = "/.box/wheelhouse";
inline constexpr const char* kNpmCacheMount = "/.box/npm-cache";

// How the steps reach registries; with an empty `url` they do not. The token is taken out of what they print.
struct InstallProxy {
  Secret url, token;
  std::string audit_directory;  // where it writes what it refused; empty = nowhere
};

class InstallRun {
 public:
  using Clock = std::chrono::steady_clock;
  InstallRun(boost::asio::any_io_executor executor, boost::asio::thread_pool& pool, const InstallerOptions& options,
             const EnvLedger& ledger, box::Sandbox& sandbox, const InstallRequest& request, uid_t uid,
             Clock::time_point deadline, InstallProxy proxy);
  ~InstallRun();

  // Errors name the step, its exit code, the lines of its output that matter, and what to do.
  Task<Result<void>> run();
  // After a failure: nothing in the cache belongs to the installer's user any more.
  bool left_nothing() const { return left_nothing_; }

 private:
  struct Output;
  struct Listening;
  enum class Downloads { kKeep, kDrop };

  Task<Result<void>> prepare();
  Task<Result<void>> run_step(workspace::InstallStep step, unsigned number);
  static Task<void> read_output(boost::asio::any_io_executor executor, UniqueFd pipe, std::shared_ptr<Output> output,
                                ServerLog& lines);
  Task<void> drain(Output& output, net::TaskGroup& readers);
  // A helper of ours as the installer's user: its stdout, empty when it fails.
  Task<std::string> ask(std::vector<std::string> argv);
  Task<Result<void>> finish();
  box::ProcessSpec spec_of(const workspace::InstallStep& step, std::string id) const;
  void say(std::string_view line);

  boost::asio::any_io_executor executor_;
  boost::asio::thread_pool& pool_;
  const InstallerOptions& options_;
  box::Sandbox& sandbox_;
  box::Supervisor& supervisor_;
  const InstallRequest& request_;
  const workspace::InstallPlan& plan_;
  std::string tree_;
  uid_t uid_;
  Clock::time_point began_ = Clock::now();
  std::chrono::system_clock::time_point begun_ = std::chrono::system_clock::now();  // the same, as logs have it
  Clock::time_point deadline_;
  EnvLedger::Log log_;
  net::Signal exited_;
  std::optional<box::ProcessExit> exit_;
  bool lost_ = false;
  std::shared_ptr<box::DiskBound> disk_;
  InstallProxy proxy_;
  Redactor redact_;
  Downloads downloads_ = Downloads::kDrop;  // after a failure
  bool left_nothing_ = false;
};

// "<cache>/<hash>": the directory above the environment.
std::string tree_of(const workspace::InstallPlan& plan);

}  // namespace mcpbox::provision
