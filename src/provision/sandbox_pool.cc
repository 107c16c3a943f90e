#include "provision/sandbox_pool.h"

#include <fmt/format.h>
#include <signal.h>

#include <utility>

#include "base/log.h"

namespace mcpbox::provision {

SharedSandbox::SharedSandbox(std::unique_ptr<box::Sandbox> sandbox) : sandbox_(std::move(sandbox)) {
  sandbox_->supervisor().on_exit([this](const std::string& id, const box::ProcessExit& how) {
    const auto watcher = watchers_.find(id);
    if (watcher != watchers_.end() && watcher->second.on_exit) watcher->second.on_exit(how);
  });
}

void SharedSandbox::watch(const std::string& process_id, ExitHandler on_exit, LostHandler on_lost) {
  watchers_[process_id] = {std::move(on_exit), std::move(on_lost)};
}

void SharedSandbox::unwatch(const std::string& process_id) {
  watchers_.erase(process_id);
}

void SharedSandbox::declare_lost(const std::string& how) {
  if (lost_) return;
  lost_ = how;
  const auto watchers = watchers_;  // a handler may unwatch
  for (const auto& [id, watcher] : watchers) {
    if (watcher.on_lost) watcher.on_lost(how);
  }
}

SandboxPool::SandboxPool(box::Engine& engine, boost::asio::any_io_executor executor, LostCallback lost)
    : engine_(engine), executor_(executor), lost_(std::move(lost)), changed_(executor) {}

Task<Result<std::shared_ptr<SharedSandbox>>> SandboxPool::acquire(box::SandboxOptions options) {
  const std::string name = options.name;
  const std::string hash = options.profile.hash();
  for (;;) {
    Entry& entry = entries_[name];
    if (entry.opening) {
      co_await changed_.wait();
      continue;
    }
    if (entry.sandbox && !entry.sandbox->lost() && entry.profile_hash == hash) co_return entry.sandbox;
    break;
  }

  struct Opening {
    SandboxPool& pool;
    std::string name;
    ~Opening() {
      pool.entries_[name].opening = false;
      pool.changed_.notify();
    }
  };
  entries_[name].opening = true;
  const Opening opening{*this, name};
  auto opened = co_await box::Sandbox::open(engine_, executor_, std::move(options));
  if (!opened) co_return fail(std::move(opened).error());

  if ((*opened)->adopted()) {
    log::info(name, "adopted sandbox {}", (*opened)->state().name);
    // What an earlier daemon started cannot be spoken to any more: its MCP sessions are gone with it.
    box::Supervisor& supervisor = (*opened)->supervisor();
    auto processes = co_await supervisor.list();
    if (!processes) co_return fail(std::move(processes).error());
    for (const box::ProcessStatus& process : *processes) {
      (void)co_await supervisor.kill_uid(process.uid, SIGKILL);
      (void)co_await supervisor.forget(process.id);
    }
  }
  auto shared = std::make_shared<SharedSandbox>(std::move(*opened));
  shared->sandbox().supervisor().on_lost([this, weak = std::weak_ptr(shared)](const Error&) {
    if (auto sandbox = weak.lock(); sandbox && lost_) lost_(std::move(sandbox));
  });
  Entry& entry = entries_[name];
  entry.sandbox = shared;
  entry.profile_hash = hash;
  co_return shared;
}

Task<Result<void>> SandboxPool::close_all() {
  Result<void> outcome;
  auto entries = std::move(entries_);
  entries_.clear();
  for (auto& [name, entry] : entries) {
    if (!entry.sandbox) continue;
    auto closed = co_await entry.sandbox->sandbox().close();
    if (!closed && outcome) outcome = fail(std::move(closed).error().with_context(fmt::format("sandbox '{}'", name)));
  }
  co_return outcome;
}

}  // namespace mcpbox::provision
