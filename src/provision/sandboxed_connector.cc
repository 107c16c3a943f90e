#include "provision/sandboxed_connector.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <utility>

#include "base/log.h"
#include "base/setting_name.h"
#include "base/text.h"
#include "net/offload.h"
#include "net/uninterrupted.h"
#include "provision/degraded.h"
#include "provision/egress_policy.h"
#include "provision/launch.h"
#include "provision/missing_program.h"

namespace mcpbox::provision {
namespace {

using Clock = std::chrono::steady_clock;

Result<std::pair<uid_t, gid_t>> user_of(const SandboxedStart& start) {
  if (!start.plan.refused.empty()) {
    std::string text;
    for (const workspace::Refusal& refusal : start.plan.refused)
      text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", printable(refusal.path), refusal.reason);
    return fail(Code::kPermissionDenied, std::move(text));
  }
  return user_for(start.plan, start.uids.server);
}

// Where servers share a network, a published port would be whoever's opens it first.
Result<void> has_own_network(const box::Sandbox& sandbox, const std::vector<config::PublishedPort>& ports) {
  if (ports.empty() || sandbox.options().alone || sandbox.spaces() != "none") return {};
  return fail(
      Code::kFailedPrecondition,
      fmt::format("port {} cannot be published: the server shares its sandbox, and this engine gives servers no "
                  "network of their own; `isolation: dedicated` under its `box` gives it a sandbox of its own",
                  ports.front().host));
}

}  // namespace

SandboxedProcess::SandboxedProcess(boost::asio::any_io_executor executor, SandboxPool& pool, std::string process_id,
                                   uid_t uid)
    : pool_(pool), changed_(std::move(executor)), process_id_(std::move(process_id)), uid_(uid) {}

SandboxedProcess::~SandboxedProcess() {
  holds_.ports.reset();  // the next start listens there, and waits for nobody
  if (!holds_.sandbox) return;
  holds_.sandbox->unwatch(process_id_);
  if (!may_live_ || lost()) return;
  holds_.ending = std::make_unique<SharedSandbox::Ending>(*holds_.sandbox, process_id_, uid_);
  pool_.finish_later(process_id_, end(std::move(holds_), process_id_, uid_));
}

// Children, detached helpers, and the server itself if it is still there. Also for a start whose outcome is not known.
Task<void> SandboxedProcess::end(Holds holds, std::string process_id, uid_t uid) {
  (void)co_await holds.sandbox->kill(process_id, uid, holds.held());
  (void)co_await holds.sandbox->sandbox().supervisor().forget(process_id);
}

Task<void> SandboxedProcess::wait_until(Clock::time_point deadline) {
  while (!ended_ && Clock::now() < deadline) (void)co_await changed_.wait_until(deadline);
}

std::string SandboxedProcess::sentence(const box::ProcessExit& exit) const {
  constexpr std::uint64_t kFew = 32;  // Node.js alone has eleven threads
  if (exit.limit.which != box::LimitKind::kNone) return exit.sentence(server_);
  std::string text = "the server ended: " + exit.describe();
  if (processes_ == 0 || processes_ > kFew || exit.signal == SIGKILL || (exit.code == 0 && exit.signal == 0))
    return text;
  return text + fmt::format(
                    "; it may have {} processes and threads ({}), and a program that gets "
                    "no more of them often ends so",
                    processes_, setting_name("box.pids_limit", "--pids"));
}

Task<void> SandboxedProcess::close_stdin(bool ending) {
  if (holds_.sandbox && !ended_) (void)co_await supervisor().close_stdin(process_id_, ending);
}

Task<void> SandboxedProcess::stop(Grace grace) {
  holds_.ports.reset();
  if (!holds_.sandbox) co_return;
  if (!ended_) {
    co_await close_stdin(true);
    co_await wait_until(Clock::now() + grace.after_stdin);
  }
  if (!ended_) {
    (void)co_await supervisor().signal(process_id_, SIGTERM);
    co_await wait_until(Clock::now() + grace.after_term);
  }
  if (!lost()) {
    (void)co_await holds_.sandbox->kill(process_id_, uid_, holds_.held());
    // Its exit is on its way by now.
    co_await wait_until(Clock::now() + std::chrono::seconds(1));
    if (!lost()) (void)co_await supervisor().forget(process_id_);
  }
  holds_.sandbox->unwatch(process_id_);
  may_live_ = false;
  holds_ = Holds();
}

Task<Result<std::unique_ptr<SandboxedProcess>>> SandboxedConnector::start(SandboxedStart start, StartReport& report) {
  report.phase(Phase::kSessionCreate);
  auto user = user_of(start);
  if (!user) co_return fail(std::move(user).error());
  std::unique_ptr<SandboxedProcess> process(
      new SandboxedProcess(context_.executor, context_.sandboxes, start.process_id, user->first));
  SandboxedProcess::Holds& holds = process->holds_;
  holds.uids = std::move(start.uid_hold);
  if (!start.ports.empty()) {
    auto listening = PublishedPorts::listen(context_.executor, start.ports);
    if (!listening) co_return fail(std::move(listening).error());
    holds.ports = std::move(*listening);
  }
  const std::string image = start.sandbox.profile.image;
  auto lease = co_await context_.sandboxes.acquire(std::move(start.sandbox));
  if (!lease) co_return fail(std::move(lease).error());
  holds.sandbox = std::move(*lease);
  const box::Sandbox& made = holds.sandbox->sandbox();
  process->sandbox_name_ = made.state().name;
  std::vector<std::string> accepted;
  const auto lacking = degradations(holds.sandbox->sandbox().supervisor().info(), made.spaces(), made.options().alone);
  if (auto fine = accept_degradations(lacking, start.accept_degraded, start.server, accepted); !fine) {
    holds.sandbox.close_at_once();
    co_return fail(std::move(fine).error());
  }
  for (const std::string& note : accepted) report.note(note);
  if (auto private_network = has_own_network(made, start.ports); !private_network)
    co_return fail(std::move(private_network).error());
  if (auto clean = co_await holds.sandbox->clean(start.process_id, user->first); !clean)
    co_return fail(std::move(clean).error());

  LaunchInputs inputs;
  if (context_.egress != nullptr && start.network.mode != config::NetworkMode::kNone) {
    egress::EgressClient client;
    client.process = start.process_id;
    client.server = start.server;
    client.uid = user->first;
    client.sandbox = process->sandbox_name_;
    client.token = std::move(start.egress_token);
    auto read = [network = start.network] { return run_policy(network, settings_of_user()); };
    auto policy = co_await net::offload(context_.pool, std::move(read));
    if (!policy) co_return fail(std::move(policy).error());
    client.policy = std::move(*policy);
    // A host that a rule names is no secret, though a variable has it, too.
    std::erase_if(start.secrets, [&](const Secret& secret) {
      return std::ranges::find(client.policy.allow, secret.reveal()) != client.policy.allow.end();
    });
    client.secrets = std::move(start.secrets);
    auto granted = co_await context_.egress->grant(std::move(client));
    if (!granted) co_return fail(std::move(granted).error());
    holds.egress = std::move(*granted);
    inputs.proxy_url = holds.egress->proxy_url();
  }
  process->server_ = start.server;
  inputs.server = std::move(start.server);
  inputs.process_id = start.process_id;
  inputs.uid = user->first;
  inputs.gid = user->second;
  inputs.uids = start.uids;
  inputs.plan = std::move(start.plan);
  inputs.env = std::move(start.env);
  inputs.policy = std::move(start.policy);
  inputs.limits = std::move(start.limits);
  inputs.timeout = start.timeout;
  inputs.restage = start.fresh;
  inputs.one_id = context_.one_server_per_sandbox;
  inputs.manifest_dir = context_.manifest_dir;
  inputs.network = std::move(start.network);
  inputs.on_phase = [&report](Phase phase) { report.phase(phase); };
  inputs.on_progress = [&report](std::string_view line) { report.progress(line); };
  auto launch = co_await prepare_launch(holds.sandbox->sandbox(), context_.installer, context_.pool, std::move(inputs));
  if (!launch) co_return fail(std::move(launch).error());
  for (const std::string& note : launch->notes) report.note(note);
  for (const config::PublishedPort& port : start.ports)
    report.note(
        fmt::format("port {} of this machine's 127.0.0.1 leads to port {} of the server", port.host, port.server));
  for (const std::string& line : launch->told) report.tell(line);
  if (launch->environment) {
    holds.environment = std::move(launch->environment->hold);
    process->environment_record_ = std::move(launch->environment->record);
  }
  launch->process.nice = start.nice;
  if (holds.ports) launch->process.ways_in = kMaxPublished;
  process->program_ = launch->process.argv.front();
  process->processes_ = launch->process.server.processes;

  report.phase(Phase::kProcessStart);
  SandboxedProcess* raw = process.get();
  const auto ended = [raw, disk = launch->disk](SandboxedProcess::End how) {
    if (raw->ended_) return;
    if (auto* exit = std::get_if<box::ProcessExit>(&how)) box::explain_end(*exit, disk.get());
    raw->ended_ = std::move(how);
    raw->holds_.ports.reset();
    raw->changed_.notify();
    if (raw->on_change_) raw->on_change_();
  };
  holds.sandbox->watch(
      start.process_id, [ended](const box::ProcessExit& how) { ended(how); },
      [ended](const std::string& how) { ended(SandboxLost{how}); },
      [server = process->server_, tell = start.tell_later](const box::ProcessPressure& pressure) {
        const std::string said = pressure.sentence(server);
        log::warning(server, "{}", said);
        if (tell) tell(said);
      });
  // From here on the process may be there, whatever becomes of the answer: ~SandboxedProcess ends it. Cancelled
  // half-way, the request would be answered to nobody.
  process->may_live_ = true;
  const auto spawn = [&]() -> Task<Result<void>> {
    box::Supervisor& supervisor = holds.sandbox->sandbox().supervisor();
    auto made = start.stdio ? co_await supervisor.spawn_direct(std::move(launch->process), *start.stdio)
                            : co_await supervisor.spawn(std::move(launch->process));
    if (!made) co_return fail(std::move(made).error());
    process->pid_ = made->pid;
    process->pipes_ = std::move(made->pipes);
    if (holds.ports) holds.ports->open(std::move(made->ways_in), std::move(start.tell_later));
    co_return Result<void>{};
  };
  auto spawned = co_await net::uninterrupted(spawn());
  const auto cancellation = co_await boost::asio::this_coro::cancellation_state;
  if (cancellation.cancelled() != boost::asio::cancellation_type::none)
    co_return fail(Code::kCancelled, "the start was cancelled");
  if (spawned) co_return process;
  Error error = std::move(spawned).error();
  if (error.code() == Code::kNotFound) {
    error =
        Error(Code::kNotFound, fmt::format("{}; {}", error.message(), missing_program_hint(process->program_, image)));
  }
  co_return fail(std::move(error));
}

Task<Result<std::vector<PullOutcome>>> SandboxedConnector::pull(SandboxedStart start, PullOptions options) {
  auto user = user_of(start);
  if (!user) co_return fail(std::move(user).error());
  auto lease = co_await context_.sandboxes.acquire(std::move(start.sandbox));
  if (!lease) co_return fail(std::move(lease).error());
  if (lease->opened()) lease->close_at_once();
  LaunchInputs inputs;
  inputs.process_id = start.process_id;
  inputs.uid = user->first;
  inputs.uids = start.uids;
  inputs.one_id = context_.one_server_per_sandbox;
  inputs.manifest_dir = context_.manifest_dir;
  StageTarget target;
  target.uid = user->first;
  target.gid = user->second;
  co_return co_await pull_copies(context_.pool, (*lease)->sandbox().supervisor(), std::move(start.plan.roots),
                                 std::move(start.policy), target, place_of(inputs), std::move(options));
}

}  // namespace mcpbox::provision
