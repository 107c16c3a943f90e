#include "provision/install/install_run.h"

#include <fmt/format.h>
#include <signal.h>

#include <charconv>
#include <ctime>
#include <memory>
#include <utility>

#include "base/setting_name.h"
#include "base/text.h"
#include "net/offload.h"
#include "net/read_all.h"
#include "net/task_group.h"
#include "provision/egress_policy.h"
#include "provision/environment.h"
#include "provision/install/env_resolved.h"
#include "provision/install/install_hint.h"
#include "provision/install/refused_hosts.h"
#include "provision/missing_program.h"
#include "provision/node_proxy.h"
#include "provision/server_log.h"
#include "provision/stage/stager.h"

namespace mcpbox::provision {
namespace {

constexpr std::size_t kPackageJsonLimit = 1u << 20;
constexpr std::size_t kOutputKept = 64u << 10;
constexpr std::size_t kAtOnce = 1024;  // no more lines than the log of a pipe keeps
constexpr std::chrono::seconds kDrain{2};

void add_offline(const OfflineSources& sources, std::map<std::string, Secret>& env) {
  if (!sources.offline) return;
  env["UV_OFFLINE"] = Secret("1");
  env["UV_NO_INDEX"] = Secret("1");
  env["npm_config_offline"] = Secret("true");
  if (!sources.wheelhouse.empty()) env["UV_FIND_LINKS"] = Secret(kWheelhouseMount);
}

}  // namespace

std::string tree_of(const workspace::InstallPlan& plan) {
  return plan.environment.substr(0, plan.environment.rfind('/'));
}

// What a step printed: lines to the log and to whoever watches, the end of it for the error. All of it redacted.
struct InstallRun::Output {
  // Each pipe has lines of its own: halves of two are no line, and no secret is found in one.
  Output(boost::asio::any_io_executor executor, const Redactor& redact)
      : out(executor, redact), err(executor, redact) {}
  ServerLog out, err;
  std::string end;
  InstallRun* run = nullptr;  // none any more when the step is over
  bool silent = false;
  unsigned open = 2;  // pipes
  void read(ServerLog& pipe, std::string_view bytes);
  void finish(ServerLog& pipe);

 private:
  void take(ServerLog& pipe, std::uint64_t before);
};

void InstallRun::Output::read(ServerLog& pipe, std::string_view bytes) {
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, kAtOnce);
    bytes.remove_prefix(piece.size());
    const std::uint64_t before = pipe.last_sequence();
    pipe.stderr_bytes(piece);
    take(pipe, before);
  }
}

void InstallRun::Output::finish(ServerLog& pipe) {
  const std::uint64_t before = pipe.last_sequence();
  pipe.stderr_end();
  take(pipe, before);
}

void InstallRun::Output::take(ServerLog& pipe, std::uint64_t before) {
  for (const LogLine& line : pipe.since(before)) {
    end += line.text + "\n";
    if (run != nullptr && !silent && !trim(line.text).empty()) run->say("  " + printable(line.text, 300));
  }
  if (end.size() > 2 * kOutputKept) end.erase(0, end.size() - kOutputKept);
}

// The step's coroutine, as long as it is there.
struct InstallRun::Listening {
  Listening(Output& o, InstallRun& run) : output(o) { output.run = &run; }
  ~Listening() { output.run = nullptr; }
  Output& output;
};

Task<void> InstallRun::read_output(boost::asio::any_io_executor executor, UniqueFd pipe, std::shared_ptr<Output> output,
                                   ServerLog& lines) {
  co_await net::read_all(executor, std::move(pipe),
                         [output, &lines](std::string_view bytes) { output->read(lines, bytes); });
  output->finish(lines);
  --output->open;
  if (output->run != nullptr) output->run->exited_.notify();
}

// What the step printed last is on its way when it has ended. What does not end then is a pipe that a process holds
// which nobody here can reach: it is not waited for.
Task<void> InstallRun::drain(Output& output, net::TaskGroup& readers) {
  const auto until = Clock::now() + kDrain;
  while (output.open > 0 && Clock::now() < until) (void)co_await exited_.wait_until(until);
  output.run = nullptr;
  co_await readers.stop();
}

InstallRun::InstallRun(boost::asio::any_io_executor executor, boost::asio::thread_pool& pool,
                       const InstallerOptions& options, const EnvLedger& ledger, box::Sandbox& sandbox,
                       const InstallRequest& request, uid_t uid, Clock::time_point deadline, InstallProxy proxy)
    : executor_(executor),
      pool_(pool),
      options_(options),
      sandbox_(sandbox),
      supervisor_(sandbox.supervisor()),
      request_(request),
      plan_(*request.plan.install),
      tree_(tree_of(plan_)),
      uid_(uid),
      deadline_(deadline),
      log_(ledger.open_log(plan_.hash)),
      exited_(executor),
      proxy_(std::move(proxy)),
      redact_(options.redact) {
  redact_.add(proxy_.token);
  supervisor_.on_exit([this](const std::string&, const box::ProcessExit& how) {
    exit_ = how;
    box::explain_end(*exit_, disk_.get());
    exited_.notify();
  });
  supervisor_.on_lost([this](const Error&) {
    lost_ = true;
    exited_.notify();
  });
}

InstallRun::~InstallRun() {
  (void)log_.write()();  // what a cancelled installation printed last; otherwise nothing is left to write
  supervisor_.on_exit({});
  supervisor_.on_lost({});
}

void InstallRun::say(std::string_view line) {
  log_.line(line);
  if (request_.progress) request_.progress(line);
}

Task<Result<void>> InstallRun::prepare() {
  // What an interrupted installation left cannot be told from what it finished; its downloads are checked by the tools
  // themselves.
  auto names = co_await supervisor_.list_directory(tree_);
  for (const char* part : {"/env", "/home", "/tmp"}) {
    if (auto removed = co_await supervisor_.remove_tree(tree_ + part, uid_); !removed) co_return removed;
  }
  if (names && std::find(names->begin(), names->end(), "cache") != names->end())
    say("an earlier attempt was cut short; its downloads are used again");
  box::Preparation first;
  first.trees.push_back({tree_, uid_, uid_, {"env", "home", "tmp", "cache"}});
  if (!proxy_.url.empty())
    first.files.push_back({tree_ + std::string(kNodeProxyFile), std::string(node_proxy_preload()), false});
  if (auto made = co_await supervisor_.prepare(std::move(first)); !made) co_return made;
  if (plan_.inputs.empty() && plan_.sources.empty()) co_return Result<void>{};
  StageTarget target;
  target.uid = uid_;
  target.gid = uid_;
  auto staged = co_await stage_install_inputs(pool_, supervisor_, plan_, tree_, options_.policy, target);
  if (!staged) co_return fail(std::move(staged).error().with_context("bringing in what the installation needs"));
  co_return Result<void>{};
}

box::ProcessSpec InstallRun::spec_of(const workspace::InstallStep& step, std::string id) const {
  EnvironmentInputs inputs;
  inputs.tree = tree_;
  inputs.ca_bundle = !sandbox_.options().ca_bundle.empty();
  inputs.proxy_url = proxy_.url;
  if (!inputs.proxy_url.empty()) inputs.node_preload = tree_ + std::string(kNodeProxyFile);
  for (const auto& [name, value] : options_.env) {
    if (!is_proxy_variable(name)) inputs.own[name] = value;
  }
  const box::HostTools& tools = sandbox_.options().tools;
  inputs.path_prefix = tools.path;
  for (const auto& [name, value] : step.env) inputs.own[name] = Secret(value);
  add_offline(options_.sources, inputs.own);
  box::ProcessSpec spec;
  spec.id = std::move(id);
  spec.argv = step.argv;
  spec.env = make_environment(inputs);
  spec.cwd = step.cwd.empty() ? tree_ + "/home" : step.cwd;
  spec.uid = uid_;
  spec.gid = uid_;
  spec.nice = 10;
  spec.alone = true;  // an installation has its sandbox to itself
  spec.limits.processes = 512;
  spec.server = request_.limits;
  for (const char* child : {"/env", "/home", "/tmp", "/cache"}) spec.server.own.push_back(tree_ + child);
  spec.limits.file_bytes = 2ull << 30;
  for (const char* child : {"/env", "/home", "/tmp", "/cache"}) spec.confine.read_write.push_back(tree_ + child);
  spec.confine.read_only = tools.folders;
  if (inputs.ca_bundle) spec.confine.read_only.emplace_back(box::kCaBundleMount);
  for (const box::Mount& mount : sandbox_.options().profile.mounts) spec.confine.read_only.push_back(mount.target);
  if (!inputs.proxy_url.empty()) {
    spec.confine.connect_ports = {kEgressPort};
    spec.confine.read_only.push_back(tree_ + std::string(kNodeProxyFile));
  }
  return spec;
}

Task<Result<void>> InstallRun::run_step(workspace::InstallStep step, unsigned number) {
  const std::string id = fmt::format("install-{}", number);
  say(step.title);
  exit_.reset();
  auto spawned = co_await supervisor_.spawn(spec_of(step, id));
  if (!spawned) {
    Error error = std::move(spawned).error();
    if (error.code() == Code::kNotFound) {
      error = Error(Code::kFailedPrecondition,
                    fmt::format("{}; {}", error.message(),
                                missing_program_hint(step.argv.front(), sandbox_.options().profile.image)));
    }
    co_return fail(std::move(error).with_context(step.title));
  }
  const auto output = std::make_shared<Output>(executor_, redact_);
  const Listening listening(*output, *this);
  net::TaskGroup readers(executor_, "install");
  readers.spawn("stdout", read_output(executor_, std::move(spawned->pipes.out), output, output->out));
  readers.spawn("stderr", read_output(executor_, std::move(spawned->pipes.err), output, output->err));
  spawned->pipes.in.reset();
  (void)co_await supervisor_.close_stdin(id);
  while (!exit_ && !lost_ && Clock::now() < deadline_) (void)co_await exited_.wait_until(deadline_);
  const std::optional<box::ProcessExit> ended = exit_;
  if (!lost_) (void)co_await supervisor_.kill_uid(uid_, SIGKILL);  // also what the step left running
  if (!lost_) (void)co_await supervisor_.forget(id);
  co_await drain(*output, readers);
  for (ServerLog* pipe : {&output->out, &output->err}) output->finish(*pipe);  // of a pipe that did not end
  (void)co_await net::offload(pool_, log_.write());

  const std::string& printed = output->end;
  const std::string matters = lines_that_matter(printed);
  if (lost_) {
    downloads_ = Downloads::kKeep;
    co_return fail(Code::kUnavailable, fmt::format("{}: {}", step.title, co_await sandbox_.describe_loss()));
  }
  if (!ended) {
    downloads_ = Downloads::kKeep;
    co_return fail(
        Code::kTimeout,
        fmt::format(
            "{}: killed, because it was not done within {}; what it downloaded is kept for the next attempt. Raise "
            "{} if it only needs longer. {}{}",
            step.title, human_milliseconds(static_cast<double>(request_.timeout.count()) * 1000),
            setting_name("box.startup_timeout_sec", "--timeout"),
            matters.empty() ? "It printed nothing" : "Its last lines:\n", matters));
  }
  if (ended->code == 0) co_return Result<void>{};
  const bool network = is_network_failure(printed);
  if (network || ended->killed_for_memory || ended->signal != 0) downloads_ = Downloads::kKeep;
  std::vector<std::string> refused;
  if (!proxy_.audit_directory.empty()) {
    auto look = [directory = proxy_.audit_directory, process = egress::install_process(plan_.hash), since = begun_] {
      return refused_hosts(directory, process, since);
    };
    refused = co_await net::offload(pool_, std::move(look));
  }
  std::string hint;
  if (ended->killed_for_memory) {
    hint = fmt::format("it ran out of memory; raise {}", setting_name("box.limits.memory_mb", "--memory"));
  } else {
    hint = ended->limit.which != box::LimitKind::kNone ? ended->advice() : install_hint(printed, refused);
  }
  if (options_.sources.offline && !hint.empty() && hint.find("offline") == std::string::npos) {
    hint +=
        fmt::format("; {} is offline, so it must be in {} or {}", setting_name("box.install_mode", "--install-mode"),
                    setting_name("box.wheelhouse", "--wheelhouse"), setting_name("box.npm_cache", "--npm-cache"));
  }
  co_return fail(network ? Code::kUnavailable : Code::kFailedPrecondition,
                 fmt::format("{}: {}{}{}{}{}", step.title, ended->describe(), hint.empty() ? "" : "; ", hint,
                             matters.empty() ? "" : "\n", matters));
}

Task<std::string> InstallRun::ask(std::vector<std::string> argv) {
  workspace::InstallStep step;
  step.argv = std::move(argv);
  exit_.reset();
  auto spawned = co_await supervisor_.spawn(spec_of(step, "ask"));
  if (!spawned) co_return std::string();
  const auto output = std::make_shared<Output>(executor_, redact_);
  const Listening listening(*output, *this);
  output->silent = true;
  net::TaskGroup readers(executor_, "ask");
  readers.spawn("stdout", read_output(executor_, std::move(spawned->pipes.out), output, output->out));
  const auto ignored = std::make_shared<Output>(executor_, redact_);
  readers.spawn("stderr", read_output(executor_, std::move(spawned->pipes.err), ignored, ignored->err));
  spawned->pipes.in.reset();
  (void)co_await supervisor_.close_stdin("ask");
  const auto until = Clock::now() + std::chrono::seconds(30);
  while (!exit_ && !lost_ && Clock::now() < until) (void)co_await exited_.wait_until(until);
  const bool good = exit_ && exit_->code == 0;
  if (!lost_) (void)co_await supervisor_.kill_uid(uid_, SIGKILL);
  if (!lost_) (void)co_await supervisor_.forget("ask");
  output->open = std::min(output->open, 1u);  // only its stdout is asked for
  co_await drain(*output, readers);
  output->finish(output->out);
  co_return good ? output->end : std::string();
}

Task<Result<void>> InstallRun::finish() {
  EnvRecord record;
  if (plan_.program.kind == workspace::Program::Kind::kNpmBin) {
    const std::string package = fmt::format("{}/node_modules/{}", plan_.environment, plan_.program.package);
    auto text = co_await supervisor_.read_file(package + "/package.json", kPackageJsonLimit);
    if (!text) co_return fail(std::move(text).error().with_context(fmt::format("package '{}'", plan_.program.package)));
    auto bin = workspace::resolve_npm_bin(plan_.program, *text);
    if (!bin) co_return fail(std::move(bin).error());
    record.program = fmt::format("{}/{}", package, *bin);
  }
  co_await read_resolved(supervisor_, plan_, record);
  if (auto sealed = co_await supervisor_.seal(plan_.environment, uid_); !sealed) co_return sealed;
  const std::string used = co_await ask({"du", "-sk", plan_.environment});
  std::uint64_t kibibytes = 0;
  (void)std::from_chars(used.data(), used.data() + used.size(), kibibytes);
  for (const char* scratch : {"/home", "/tmp", "/cache"}) (void)co_await supervisor_.remove_tree(tree_ + scratch, uid_);

  record.hash = plan_.hash;
  record.asked_hash = plan_.asked_hash;
  record.manager = plan_.manager;
  record.asked = plan_.asked;
  for (const workspace::InstallStep& step : plan_.steps) record.steps.push_back(step.title);
  record.server = request_.subject;
  record.image = sandbox_.options().profile.image;
  record.engine = options_.engine;
  record.made = static_cast<std::int64_t>(std::time(nullptr));
  record.took_ms = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began_).count();
  record.bytes = kibibytes << 10;
  say(fmt::format("installed {} ({}, {})", packages_in_short(record), human_bytes(record.bytes),
                  human_milliseconds(static_cast<double>(record.took_ms))));
  co_return co_await supervisor_.prepare({{}, {{tree_ + "/complete", to_json(record)}}});
}

Task<Result<void>> InstallRun::run() {
  auto bound = co_await sandbox_.bound_disk({tree_}, uid_);
  Result<void> outcome = co_await prepare();
  if (bound) disk_ = std::move(*bound);
  // What PID 1 had to write was refused by no bound.
  Result<void> bounded = bound ? Result<void>() : fail(bound.error());
  if (outcome && disk_) bounded = co_await disk_->tighten(spec_of({}, "").server);
  if (!bounded) say(box::not_bound(bounded.error()));
  std::vector<workspace::InstallStep> steps = plan_.steps;
  if (options_.sources.offline && !options_.sources.npm_cache.empty() && plan_.manager != "uv") {
    // npm writes into its cache also where it only reads.
    workspace::InstallStep copy;
    copy.title = "copy the npm cache";
    copy.argv = {"cp", "-R", std::string(kNpmCacheMount) + "/.", tree_ + "/cache/npm"};
    steps.insert(steps.begin(), std::move(copy));
  }
  unsigned number = 0;
  for (const workspace::InstallStep& step : steps) {
    if (!outcome) break;
    outcome = co_await run_step(step, ++number);
  }
  if (outcome) outcome = co_await finish();
  if (outcome) {
    (void)co_await net::offload(pool_, log_.write());
    co_return outcome;
  }
  log_.line(outcome.error().message());
  (void)co_await net::offload(pool_, log_.write());
  if (!lost_) {
    if (downloads_ == Downloads::kDrop) {
      left_nothing_ = (co_await supervisor_.remove_tree(tree_, uid_)).has_value();
    } else {
      for (const char* part : {"/env", "/home", "/tmp"}) (void)co_await supervisor_.remove_tree(tree_ + part, uid_);
    }
  }
  co_return outcome;
}

}  // namespace mcpbox::provision
