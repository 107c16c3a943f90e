#include "egress/control/service.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <map>
#include <optional>
#include <utility>

#include "base/digest.h"
#include "base/errno_error.h"
#include "base/log.h"
#include "base/text.h"
#include "base/way_out.h"
#include "net/task_group.h"
#include "net/wait.h"
#include "sys/private_directory.h"
#include "sys/unix_listener.h"

namespace mcpbox::egress {

using Clock = std::chrono::steady_clock;

// What is wanted (`clients`) and what the proxy was told (`told`). One coroutine makes the second like the first, so
// that the order of grants, releases and restarts does not matter.
struct EgressState {
  EgressState(boost::asio::any_io_executor e, EgressServiceOptions o)
      : executor(e), options(std::move(o)), changed(e), tasks(e, "egress") {}

  struct Entry {
    std::uint64_t generation = 0;
    RegistrationText registration;
    std::optional<Error> refused;  // the proxy cannot read it
  };

  boost::asio::any_io_executor executor;
  EgressServiceOptions options;
  net::Signal changed;
  net::TaskGroup tasks;
  std::map<std::string, Entry> clients;
  std::map<std::string, std::uint64_t> told;
  std::uint64_t generations = 0;
  std::unique_ptr<EgressProcess> process;
  bool ended = false;  // the process, by itself
  bool stopping = false;
  std::string trouble;  // why there is no proxy now

  std::string socket() const { return fmt::format("{}/{}", options.directory, kEgressSocket); }
  bool up_to_date() const;
};

namespace {

constexpr std::chrono::seconds kGrantTime{10};

// Makes what the proxy was told like what is wanted. False when the proxy has gone.
Task<bool> reconcile(std::shared_ptr<EgressState> state) {
  for (;;) {
    if (state->ended || state->stopping) co_return !state->ended;
    const auto gone =
        std::ranges::find_if(state->told, [&](const auto& entry) { return !state->clients.contains(entry.first); });
    if (gone != state->told.end()) {
      const std::string id = gone->first;
      state->told.erase(gone);
      auto done = co_await state->process->unregister_process(id);
      if (!done && done.error().code() != Code::kNotFound) co_return false;
      continue;
    }
    const auto fresh = std::ranges::find_if(state->clients, [&](const auto& entry) {
      const auto known = state->told.find(entry.first);
      return !entry.second.refused && (known == state->told.end() || known->second != entry.second.generation);
    });
    if (fresh == state->clients.end()) co_return true;
    const std::string id = fresh->first;
    const std::uint64_t generation = fresh->second.generation;
    auto done = co_await state->process->register_process(fresh->second.registration);
    if (!done && (done.error().code() == Code::kUnavailable || done.error().code() == Code::kTimeout)) co_return false;
    if (done) state->told[id] = generation;
    const auto entry = state->clients.find(id);
    if (!done && entry != state->clients.end() && entry->second.generation == generation)
      entry->second.refused = done.error();
    state->changed.notify();
  }
}

Task<void> watch(std::shared_ptr<EgressState> state, EgressProcess* process) {
  co_await process->ended();
  if (state->process.get() != process) co_return;
  state->ended = true;
  state->changed.notify();
}

// One life of the proxy: from its start to its end.
Task<void> live(std::shared_ptr<EgressState> state) {
  EgressLaunch launch = egress_launch(state->socket(), state->options.audit_directory);
  launch.program = state->options.program;
  auto started = EgressProcess::start(state->executor, launch);
  if (!started) {
    state->trouble = started.error().message();
    co_return;
  }
  state->process = std::move(*started);
  state->ended = false;
  state->told.clear();
  net::TaskGroup watching(state->executor, "egress");
  watching.spawn("end", watch(state, state->process.get()));
  auto configured = co_await state->process->configure(state->options.network);
  if (!configured) {
    state->trouble = configured.error().message();
  } else {
    state->trouble.clear();
    while (!state->stopping && co_await reconcile(state)) {
      if (state->up_to_date() && !state->ended && !state->stopping) co_await state->changed.wait();
    }
  }
  if (!state->stopping && configured) state->trouble = "the egress proxy ended; it is being started again";
  co_await state->process->stop();
  co_await watching.stop();
  state->process.reset();
  state->told.clear();
}

Task<void> keep_alive(std::shared_ptr<EgressState> state) {
  auto pause = std::chrono::milliseconds(100);
  while (!state->stopping) {
    const auto began = Clock::now();
    co_await live(state);
    if (state->stopping) break;
    log::warning("egress", "{}", state->trouble);
    state->changed.notify();
    pause = Clock::now() - began > std::chrono::seconds(30) ? std::chrono::milliseconds(100)
                                                            : std::min(pause * 2, std::chrono::milliseconds(5000));
    const auto until = Clock::now() + pause;
    while (!state->stopping && Clock::now() < until) (void)co_await state->changed.wait_until(until);
  }
}

// The audit has host names, and our own words. The proxy reads what strangers send, and is told no more than it needs.
std::vector<Secret> sayable(std::vector<Secret> secrets) {
  constexpr std::size_t kLongestName = 253, kMost = 256;
  std::erase_if(secrets, [](const Secret& secret) {
    return secret.empty() || secret.reveal().size() > kLongestName || secret.reveal().contains('\n');
  });
  if (secrets.size() > kMost) secrets.resize(kMost);
  return secrets;
}

}  // namespace

bool EgressState::up_to_date() const {
  return std::ranges::all_of(told, [&](const auto& entry) { return clients.contains(entry.first); }) &&
         std::ranges::all_of(clients, [&](const auto& entry) {
           const auto known = told.find(entry.first);
           return entry.second.refused || (known != told.end() && known->second == entry.second.generation);
         });
}

Secret egress_token() {
  return Secret(random_hex(16));
}

std::string install_process(std::string_view hash) {
  return fmt::format("install-{}", hash.substr(0, 16));
}

EgressGrant::~EgressGrant() {
  const auto state = state_.lock();
  if (!state) return;
  const auto entry = state->clients.find(process_);
  // A newer grant of the same process stays.
  if (entry == state->clients.end() || entry->second.generation != generation_) return;
  state->clients.erase(entry);
  state->changed.notify();
}

EgressService::EgressService(std::shared_ptr<EgressState> state) : state_(std::move(state)) {}
EgressService::~EgressService() {
  state_->stopping = true;
}

Result<std::unique_ptr<EgressService>> EgressService::start(boost::asio::any_io_executor executor,
                                                            EgressServiceOptions options) {
  if (auto read = parse_network(options.network); !read) return fail(std::move(read).error());
  if (auto made = sys::make_private_directory(options.directory); !made) return fail(std::move(made).error());
  // Otherwise its log line alone would say what the proxy ends of, again and again.
  if (const std::string& log = options.audit_directory; !log.empty()) {
    if (::mkdir(log.c_str(), 0700) != 0 && errno != EEXIST)
      return fail(errno_error(errno, fmt::format("the egress proxy's log: cannot make {}", printable(log))));
    struct stat status{};
    if (::stat(log.c_str(), &status) == 0 && !S_ISDIR(status.st_mode))
      return fail(Code::kFailedPrecondition,
                  fmt::format("the egress proxy's log: {} is no directory; remove it", printable(log)));
    if (auto usable = sys::check_usable_directory(log); !usable)
      return fail(std::move(usable).error().with_context("the egress proxy's log"));
  }
  auto state = std::make_shared<EgressState>(executor, std::move(options));
  if (state->socket().size() > 107) {  // sun_path, unix(7)
    return fail(
        Code::kInvalidArgument,
        fmt::format("{} is too long for a socket's path; set MCPBOX_RUN_DIR to a shorter one", state->socket()));
  }
  state->tasks.spawn("proxy", keep_alive(state));
  return std::unique_ptr<EgressService>(new EgressService(std::move(state)));
}

Task<Result<std::shared_ptr<EgressGrant>>> EgressService::grant(EgressClient client) {
  const auto state = state_;
  const std::string id = client.process;
  EgressState::Entry entry;
  entry.generation = ++state->generations;
  entry.registration.process = id;
  entry.registration.server = client.server;
  entry.registration.uid = state->options.one_server_per_sandbox ? 0 : client.uid;
  entry.registration.sandbox = client.sandbox;
  entry.registration.token_sha256 = sha256_hex(client.token.reveal());
  entry.registration.phase = std::string(phase_name(client.phase));
  entry.registration.policy = std::move(client.policy);
  entry.registration.secrets = sayable(std::move(client.secrets));
  const std::uint64_t generation = entry.generation;
  state->clients[id] = std::move(entry);
  state->changed.notify();

  std::shared_ptr<EgressGrant> grant(new EgressGrant());
  grant->state_ = state;
  grant->process_ = id;
  grant->generation_ = generation;
  grant->proxy_url_ = Secret(fmt::format("http://{}:{}@127.0.0.1:{}", id, client.token.reveal(), kEgressPort));
  for (const auto until = Clock::now() + kGrantTime;;) {
    const auto known = state->told.find(id);
    if (known != state->told.end() && known->second == generation) co_return grant;
    const auto wanted = state->clients.find(id);
    if (wanted == state->clients.end() || wanted->second.generation != generation)
      co_return fail(Code::kAborted, "another grant took its place");
    if (wanted->second.refused)
      co_return fail(Error(*wanted->second.refused).with_context(fmt::format("network rules of '{}'", client.server)));
    if (state->stopping) co_return fail(Code::kUnavailable, "the egress proxy is being stopped");
    if (Clock::now() >= until) {
      co_return fail(Code::kUnavailable, fmt::format("the egress proxy is not there: {}",
                                                     state->trouble.empty() ? "it does not answer" : state->trouble));
    }
    (void)co_await state->changed.wait_until(until);
  }
}

const std::string& EgressService::directory() const {
  return state_->options.directory;
}

const std::string& EgressService::audit_directory() const {
  return state_->options.audit_directory;
}

pid_t EgressService::pid() const {
  return state_->process ? state_->process->pid() : 0;
}

Task<void> EgressService::stop() {
  const auto state = state_;
  state->stopping = true;
  state->changed.notify();
  co_await state->tasks.join();
  sys::remove_stale_socket(state->socket());  // of a proxy that had to be killed, or that may not remove it
}

}  // namespace mcpbox::egress
