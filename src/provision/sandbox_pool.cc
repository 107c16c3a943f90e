#include "provision/sandbox_pool.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <utility>

#include "base/log.h"

namespace mcpbox::provision {
namespace {

using Clock = std::chrono::steady_clock;

// How long close_all() lets what is being opened or ended come to its end before it is cancelled.
constexpr std::chrono::seconds kPatience{10};

// Sandboxes that close_all() closes at once: one may take ten seconds, and who shuts down waits for all.
constexpr std::size_t kClosers = 16;

}  // namespace

SharedSandbox::SharedSandbox(std::unique_ptr<box::Sandbox> sandbox, std::shared_ptr<net::Signal> changed)
    : sandbox_(std::move(sandbox)), changed_(std::move(changed)) {
  sandbox_->supervisor().on_exit([this](const std::string& id, const box::ProcessExit& how) {
    const auto watcher = watchers_.find(id);
    if (watcher != watchers_.end() && watcher->second.on_exit) watcher->second.on_exit(how);
  });
  sandbox_->supervisor().on_pressure([this](const std::string& id, const box::ProcessPressure& pressure) {
    const auto watcher = watchers_.find(id);
    if (watcher != watchers_.end() && watcher->second.on_pressure) watcher->second.on_pressure(pressure);
  });
}

void SharedSandbox::watch(const std::string& process_id, ExitHandler on_exit, LostHandler on_lost,
                          PressureHandler on_pressure) {
  watchers_[process_id] = {std::move(on_exit), std::move(on_lost), std::move(on_pressure)};
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

void SharedSandbox::link_broke() {
  broken_ = true;
  changed_->notify();
}

Task<void> SharedSandbox::bury(std::string how) {
  struct Burial {
    SharedSandbox& sandbox;
    ~Burial() {
      sandbox.buried_ = true;
      sandbox.changed_->notify();
    }
  } const burial{*this};
  link_broke();
  declare_lost(how);
  if (auto removed = co_await sandbox_->close()) {
    left_.clear();
  } else {
    log::warning(sandbox_->options().name, "what is left of the sandbox was not removed: {}",
                 removed.error().message());
  }
}

SharedSandbox::Ending::Ending(SharedSandbox& sandbox, std::string process_id, uid_t uid)
    : sandbox_(sandbox), process_id_(std::move(process_id)), uid_(uid) {
  sandbox_.ending_.insert(this);
}

SharedSandbox::Ending::~Ending() {
  sandbox_.ending_.erase(this);
  sandbox_.changed_->notify();
}

Task<bool> SharedSandbox::kill(std::string process_id, uid_t uid, Held held) {
  auto alive = co_await sandbox_->supervisor().kill_uid(uid, SIGKILL);
  if (alive && *alive == 0) {
    std::erase_if(left_, [&](const Left& left) { return left.uid == uid; });
    co_return true;
  }
  if (buried_) co_return true;
  if (alive) {
    log::error(process_id, "{} processes of uid {} survive SIGKILL", *alive, uid);
  } else if (!broken_) {
    log::error(process_id, "processes of uid {} may still run: {}", uid, alive.error().message());
  }
  // Once for who tries again with nothing to keep.
  if (!held.empty() || std::ranges::find(left_, uid, &Left::uid) == left_.end())
    left_.push_back({uid, std::move(held)});
  co_return false;
}

Task<Result<void>> SharedSandbox::clean(std::string process_id, uid_t uid) {
  while (std::ranges::any_of(ending_, [&](const Ending* e) { return e->process_id_ == process_id || e->uid_ == uid; }))
    co_await changed_->wait();
  if (std::ranges::find(left_, uid, &Left::uid) == left_.end()) co_return Result<void>{};
  if (!co_await kill(process_id, uid, {}))
    co_return fail(Code::kUnavailable, "processes of its last run are still there and could not be ended");
  (void)co_await sandbox_->supervisor().forget(process_id);
  co_return Result<void>{};
}

SandboxPool::Lease::Lease(SandboxPool& pool, std::shared_ptr<SharedSandbox> sandbox, bool opened)
    : pool_(&pool), sandbox_(std::move(sandbox)), opened_(opened) {
  ++sandbox_->users_;
}

SandboxPool::Lease& SandboxPool::Lease::operator=(Lease&& other) noexcept {
  if (this == &other) return *this;
  give_back();
  pool_ = std::exchange(other.pool_, nullptr);
  sandbox_ = std::move(other.sandbox_);
  opened_ = other.opened_;
  close_at_once_ = other.close_at_once_;
  return *this;
}

void SandboxPool::Lease::give_back() {
  SandboxPool* pool = std::exchange(pool_, nullptr);
  if (pool == nullptr) return;
  const auto sandbox = std::move(sandbox_);
  if (--sandbox->users_ == 0) pool->became_idle(*sandbox, close_at_once_);
}

SandboxPool::SandboxPool(box::Engine& engine, boost::asio::any_io_executor executor, std::chrono::milliseconds idle,
                         LostCallback lost)
    : engine_(engine),
      idle_(idle),
      lost_(std::move(lost)),
      opener_([this](box::SandboxOptions options) { return box::Sandbox::open(engine_, std::move(options)); }),
      changed_(std::make_shared<net::Signal>(executor)),
      tasks_(executor, "sandboxes") {}

Task<Result<SandboxPool::Lease>> SandboxPool::acquire(box::SandboxOptions options) {
  const std::string name = options.name;
  const std::string hash = options.profile.hash();
  std::optional<unsigned> waited_for;
  // One that is opened for somebody is not idle before that one has it.
  struct Waiting {
    SandboxPool& pool;
    const std::string& name;
    Waiting(SandboxPool& p, const std::string& n) : pool(p), name(n) { ++pool.entries_[name].waiting; }
    ~Waiting() {
      Entry& entry = pool.entries_[name];
      --entry.waiting;
      if (entry.sandbox && entry.sandbox->users_ == 0) pool.became_idle(*entry.sandbox, false);
    }
  } const waiting{*this, name};
  for (;;) {
    Entry& entry = entries_[name];
    if (stopping_) co_return fail(Code::kCancelled, "the sandboxes are being closed");
    const bool dying = entry.sandbox && entry.sandbox->broken() && !entry.sandbox->buried();
    if (entry.opening || entry.closing || dying) {
      if (entry.opening) waited_for = entry.attempt;
      co_await changed_->wait();
      continue;
    }
    if (entry.sandbox && !entry.sandbox->broken() && entry.profile_hash == hash)
      co_return Lease(*this, entry.sandbox, waited_for.has_value());
    if (waited_for == entry.attempt && entry.failure) co_return fail(*entry.failure);
    entry.opening = true;
    waited_for = ++entry.attempt;
    tasks_.spawn(name, open(options));
  }
}

Task<void> SandboxPool::open(box::SandboxOptions options) {
  const std::string name = options.name;
  struct Opening {
    SandboxPool& pool;
    const std::string& name;
    ~Opening() {
      Entry& entry = pool.entries_[name];
      entry.opening = false;
      pool.changed_->notify();
      // Should nobody be waiting any more.
      if (entry.sandbox && entry.sandbox->users_ == 0) pool.became_idle(*entry.sandbox, false);
    }
  } const opening{*this, name};
  std::string hash = options.profile.hash();
  entries_[name].failure = Error(Code::kCancelled, "the sandbox was not opened");
  auto opened = co_await open_one(std::move(options));
  Entry& entry = entries_[name];
  if (!opened) {
    entry.failure = std::move(opened).error();
    co_return;
  }
  entry.failure.reset();
  entry.sandbox = std::move(*opened);
  entry.profile_hash = std::move(hash);
}

Task<Result<std::shared_ptr<SharedSandbox>>> SandboxPool::open_one(box::SandboxOptions options) {
  const std::string name = options.name;
  auto opened = co_await opener_(std::move(options));
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
  auto shared = std::make_shared<SharedSandbox>(std::move(*opened), changed_);
  shared->sandbox().supervisor().on_lost([this, weak = std::weak_ptr(shared)](const Error&) {
    auto sandbox = weak.lock();
    if (!sandbox) return;
    sandbox->link_broke();
    if (lost_) {
      lost_(std::move(sandbox));
      return;
    }
    const auto tell = [](std::shared_ptr<SharedSandbox> which) -> Task<void> {
      co_await which->bury(co_await which->sandbox().describe_loss());
    };
    tasks_.spawn("loss", tell(std::move(sandbox)));
  });
  co_return shared;
}

void SandboxPool::became_idle(SharedSandbox& sandbox, bool at_once) {
  const std::string& name = sandbox.sandbox().options().name;
  const auto found = entries_.find(name);
  // One that was replaced is gone from the engine already.
  if (found == entries_.end() || found->second.sandbox.get() != &sandbox) return;
  Entry& entry = found->second;
  entry.idle_since = at_once ? Clock::time_point::min() : Clock::now();
  if (!entry.watched && !stopping_) {
    entry.watched = true;
    tasks_.spawn(name, close_idle(name));
  }
  changed_->notify();
}

Task<void> SandboxPool::close_idle(std::string name) {
  struct Watching {
    SandboxPool& pool;
    const std::string& name;
    ~Watching() {
      Entry& entry = pool.entries_[name];
      entry.watched = entry.closing = false;
      pool.changed_->notify();
    }
  } const watching{*this, name};
  for (;;) {
    Entry& entry = entries_[name];
    if (stopping_ || !entry.sandbox || entry.opening || entry.sandbox->users_ > 0 || entry.waiting > 0) co_return;
    const bool now = entry.idle_since == Clock::time_point::min();
    if (now || Clock::now() >= entry.idle_since + idle_) break;
    (void)co_await changed_->wait_until(entry.idle_since + idle_);
  }
  entries_[name].closing = true;
  const auto sandbox = std::exchange(entries_[name].sandbox, nullptr);
  if (sandbox->broken()) {
    while (!stopping_ && !sandbox->buried()) co_await changed_->wait();
    co_return;
  }
  if (auto closed = co_await sandbox->sandbox().close(); !closed) {
    log::warning(name, "the sandbox, which nobody uses, was not removed: {}", closed.error().message());
  } else {
    log::info(name, "closed sandbox {}, which nobody uses", sandbox->sandbox().state().name);
  }
}

void SandboxPool::sweep(std::string instance) {
  tasks_.spawn("sweep", sweep_after(std::move(instance)));
}

Task<void> SandboxPool::sweep_after(std::string instance) {
  const auto until = Clock::now() + idle_;
  while (!stopping_ && Clock::now() < until) (void)co_await changed_->wait_until(until);
  if (stopping_) co_return;
  auto found = co_await engine_.list(box::instance_labels(instance));
  if (!found) co_return;
  for (const box::SandboxState& sandbox : *found) {
    // Those with an owner end with that process.
    const auto name = sandbox.labels.find("io.mcpbox.session");
    if (stopping_ || sandbox.labels.contains(box::kOwnerLabel) || name == sandbox.labels.end()) continue;
    const auto entry = entries_.find(name->second);
    if (entry != entries_.end() && (entry->second.sandbox || entry->second.opening || entry->second.closing)) continue;
    co_await sweep_one(name->second, sandbox);
  }
}

// Whoever asks for one of that name meanwhile must not adopt this.
Task<void> SandboxPool::sweep_one(std::string name, box::SandboxState sandbox) {
  struct Sweeping {
    SandboxPool& pool;
    const std::string& name;
    ~Sweeping() {
      pool.entries_[name].closing = false;
      pool.changed_->notify();
    }
  } const sweeping{*this, name};
  entries_[name].closing = true;
  if (co_await engine_.remove(sandbox.id)) log::info(name, "removed sandbox {} of an earlier daemon", sandbox.name);
}

Task<Result<void>> SandboxPool::close_all() {
  stopping_ = true;
  const auto until = Clock::now() + kPatience;
  changed_->notify();
  while (tasks_.running() > 0 && Clock::now() < until) {
    (void)co_await changed_->wait_until(std::min(until, Clock::now() + std::chrono::milliseconds(20)));
  }
  co_await tasks_.stop();
  const auto closing = std::make_shared<Closing>();
  closing->left = std::exchange(entries_, {});
  net::TaskGroup closers(co_await boost::asio::this_coro::executor, "close");
  const std::size_t count = std::min(kClosers, closing->left.size());
  for (std::size_t i = 0; i < count; ++i) closers.spawn("close", close_each(closing));
  co_await closers.join();
  co_return std::move(closing->outcome);
}

Task<void> SandboxPool::close_each(std::shared_ptr<Closing> closing) {
  while (!closing->left.empty()) {
    const auto next = closing->left.extract(closing->left.begin());
    if (!next.mapped().sandbox) continue;
    auto closed = co_await next.mapped().sandbox->sandbox().close();
    if (!closed && closing->outcome)
      closing->outcome = fail(std::move(closed).error().with_context(fmt::format("sandbox '{}'", next.key())));
  }
}

}  // namespace mcpbox::provision
