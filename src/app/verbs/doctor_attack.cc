#include "app/verbs/doctor_attack.h"

#include <errno.h>
#include <fmt/format.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "app/compose/engine_setup.h"
#include "app/compose/paths.h"
#include "app/compose/progress.h"
#include "app/compose/runtime.h"
#include "app/exit_code.h"
#include "app/output.h"
#include "app/verbs/attack_host.h"
#include "app/verbs/attack_names.h"
#include "app/verbs/complain.h"
#include "app/verbs/table.h"
#include "base/digest.h"
#include "base/errno_error.h"
#include "base/text.h"
#include "box/sandbox.h"
#include "hosting/sandbox_backend.h"
#include "json/writer.h"
#include "net/offload.h"
#include "provision/install/installer.h"
#include "provision/sandboxed_connector.h"
#include "provision/uid_book.h"

namespace mcpbox::app {
namespace {

using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr std::size_t kMaxOutput = 256 << 10;
constexpr std::chrono::seconds kAttackTime{60};
constexpr std::chrono::seconds kAnswerTime{5};

struct Outcome {
  std::string verdict;  // hit, blocked, none
  std::string detail;
};
using Outcomes = std::map<std::string, Outcome>;

struct SilentReport final : provision::StartReport {
  void phase(provision::Phase) override {}
  void progress(std::string_view) override {}
  void note(std::string_view) override {}
};

// The folder that both servers are given a copy of, with the program that they run, and a second one with the setuid
// bit that no copy may have. Removed with this object.
class ProbeFolder {
 public:
  // Not below the run directory: for root that is a part of the system, of which no sandbox is given anything.
  static Result<std::unique_ptr<ProbeFolder>> make() {
    auto init = find_init();
    if (!init) return fail(std::move(init).error());
    const std::string probe = fs::path(*init).parent_path().string() + "/mcpbox-probe";
    std::error_code error;
    std::string path = fs::temp_directory_path(error).string() + "/mcpbox-doctor-XXXXXX";
    if (error || ::mkdtemp(path.data()) == nullptr) return fail(errno_error(errno, "cannot make " + path));
    std::unique_ptr<ProbeFolder> folder(new ProbeFolder(std::move(path)));
    for (const char* name : {"/probe", "/setuid"}) {
      if (!error) fs::copy_file(probe, folder->path_ + name, error);
    }
    if (error) {
      return fail(Code::kNotFound, fmt::format("{}, which belongs beside mcpbox-init, cannot be copied to {}: {}",
                                               probe, folder->path_, error.message()));
    }
    // Without that bit an attack would hit nothing, whatever stops it.
    for (const auto& [name, mode] : {std::pair("/probe", 0755), std::pair("/setuid", 04755)}) {
      if (::chmod((folder->path_ + name).c_str(), static_cast<mode_t>(mode)) != 0)
        return fail(errno_error(errno, fmt::format("cannot set the mode of {}{}", folder->path_, name)));
    }
    return folder;
  }
  ~ProbeFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ProbeFolder(const ProbeFolder&) = delete;
  ProbeFolder& operator=(const ProbeFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  explicit ProbeFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// For the pool: what comes until a line begins with `word`, or the end.
std::string read_until(int fd, std::string_view word, std::chrono::seconds limit) {
  const auto deadline = Clock::now() + limit;
  std::string text;
  const std::string wanted = "\n" + std::string(word);
  while (text.size() < kMaxOutput) {
    const std::size_t at = text.starts_with(word) ? 0 : text.find(wanted);
    if (at != std::string::npos && text.find('\n', at + 1) != std::string::npos) break;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd waiting{fd, POLLIN, 0};
    if (left <= 0 || ::poll(&waiting, 1, static_cast<int>(left)) == 0) break;
    char piece[4096];
    const ssize_t got = ::read(fd, piece, sizeof piece);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) break;
    text.append(piece, static_cast<std::size_t>(got));
  }
  return text;
}

Outcomes outcomes_of(std::string_view text) {
  Outcomes out;
  for (const std::string_view line : split(text, '\n')) {
    const std::size_t first = line.find(' ');
    const std::size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
    if (second == std::string_view::npos) continue;
    out[std::string(line.substr(0, first))] = {std::string(line.substr(first + 1, second - first - 1)),
                                               printable(line.substr(second + 1), 200)};
  }
  return out;
}

// Where the victim says otherwise, it is right: what the attacker says of itself may be wrong.
void believe_victim(const std::string& said, const std::string& token, Outcomes& outcomes) {
  const auto happened = [&](const char* id, const char* how) { outcomes[id] = {"hit", how}; };
  if (said.contains("forged " + token)) happened("A05", "the line was on the victim's output");
  const std::size_t at = said.find("state");
  if (at == std::string::npos) {
    happened("A31", "the victim does not answer any more");
    return;
  }
  const std::string state = said.substr(at, said.find('\n', at) - at) + " ";
  if (state.contains(" limits ")) happened("A30", "the victim has other limits");
  if (state.contains(" oom_score ")) happened("A29", "the victim's score changed");
  if (state.contains(" file ")) happened("A08", "the victim's file changed");
  if (state.contains(" tmp ")) happened("A15", "the victim sees the attacker's file");
  if (state.contains(" signal ")) happened("B03", "the victim got a signal");
}

class AttackRun {
 public:
  AttackRun(Runtime& runtime, std::string engine) : runtime_(runtime), engine_(std::move(engine)) {}

  Task<Result<Outcomes>> run() {
    auto outcomes = co_await attack();
    attacker_.reset();
    victim_.reset();
    if (sandboxes_) (void)co_await sandboxes_->close_all();
    co_return outcomes;
  }
  // "all", "without-proc", "none"; empty before there was a sandbox.
  const std::string& spaces() const { return spaces_; }
  const std::string& engine() const { return setup_.info.summary; }
  bool found_engine() const { return setup_.engine != nullptr; }

 private:
  Task<Result<Outcomes>> attack() {
    const auto executor = runtime_.loop.get_executor();
    auto paths = make_paths("", "");
    if (!paths) co_return fail(std::move(paths).error());
    auto instance = instance_id(paths->state_dir);
    if (!instance) co_return fail(std::move(instance).error());
    auto init = find_init();
    if (!init) co_return fail(std::move(init).error());
    ProgressPrinter progress(false);
    auto setup = co_await set_up_engine(executor, engine_, "", "", progress);
    progress.done();
    if (!setup) co_return fail(std::move(setup).error());
    setup_ = std::move(*setup);
    auto folder = ProbeFolder::make();
    if (!folder) co_return fail(std::move(folder).error());

    options_.instance = *instance;
    options_.init_path = *init;
    options_.run_dir = paths->run_dir;
    options_.uids = setup_.info.traits.uids;
    options_.tools = setup_.info.traits.tools;
    options_.profile.image = setup_.image_id;
    options_.name = "doctor-" + random_hex(6);
    options_.ephemeral = true;
    options_.alone = setup_.info.traits.one_server_per_sandbox;
    book_.emplace(paths->state_dir, *instance, setup_.info.kind, setup_.info.traits.uids);
    provision::InstallerOptions installing;
    installing.sandbox = options_;
    installing.uids = *book_;
    installer_ = std::make_unique<provision::Installer>(*setup_.engine, executor, runtime_.pool, std::move(installing));
    sandboxes_ = std::make_unique<provision::SandboxPool>(*setup_.engine, executor, std::chrono::milliseconds(0),
                                                          provision::SandboxPool::LostCallback());

    const HostService host(token_ + "-canary-host");
    auto victim = co_await start("victim", {"victim", token_}, **folder);
    if (!victim) co_return fail(std::move(victim).error().with_context("starting the victim"));
    victim_ = std::move(*victim);
    box::ProcessPipes of_victim = victim_->take_pipes();
    const std::string ready = co_await read(of_victim.out.get(), "ready", kAnswerTime);
    const auto words = split(std::string_view(ready).substr(0, ready.find('\n')), ' ');
    if (words.size() != 4 || words[0] != "ready")
      co_return fail(Code::kUnavailable, fmt::format("the victim did not come up: {}", printable(ready, 200)));

    std::vector<std::string> args{"attack",
                                  token_,
                                  fmt::format("pid={}", victim_->pid()),
                                  fmt::format("port={}", words[1]),
                                  fmt::format("files={}", words[2]),
                                  fmt::format("host_port={}", host.port()),
                                  fmt::format("setuid={}", (*folder)->path() + "/setuid")};
    for (const std::string& address : HostService::addresses()) args.push_back("host=" + address);
    auto attacker = co_await start("attacker", std::move(args), **folder);
    if (!attacker) co_return fail(std::move(attacker).error().with_context("starting the attacker"));
    attacker_ = std::move(*attacker);
    folder->reset();  // both have their copies
    box::ProcessPipes of_attacker = attacker_->take_pipes();
    const std::string said = co_await read(of_attacker.out.get(), "end", kAttackTime);
    if (!said.contains("\nend\n"))
      co_return fail(Code::kUnavailable,
                     fmt::format("the attacker did not come to its end; it said: {}",
                                 printable(said.substr(said.size() - std::min<std::size_t>(said.size(), 200)))));
    Outcomes outcomes = outcomes_of(said);
    // A victim that was killed cannot be asked, which is an answer.
    const bool asked = ::write(of_victim.in.get(), "?\n", 2) == 2;
    believe_victim(asked ? co_await read(of_victim.out.get(), "state", kAnswerTime) : "", token_, outcomes);
    of_victim.in.reset();
    co_await attacker_->stop({std::chrono::milliseconds(0), std::chrono::milliseconds(0)});
    co_await victim_->stop({std::chrono::seconds(1), std::chrono::milliseconds(0)});
    co_return outcomes;
  }

  // As the daemon starts a server: planned, with a copy of its folder, a uid, and namespaces of its own.
  Task<Result<std::unique_ptr<provision::SandboxedProcess>>> start(std::string id, std::vector<std::string> args,
                                                                   const ProbeFolder& folder) {
    workspace::LaunchSpec spec;
    spec.name = id;
    spec.command = folder.path() + "/probe";
    spec.args = std::move(args);
    spec.host_path = folder.path();
    spec.host_path_mode = workspace::Access::kReadWrite;
    spec.cwd = folder.path();
    workspace::Policy policy;
    policy.infer = false;
    policy.workspace = fmt::format("/workspace/.mcp/{}/workspace", id);
    policy.image_id = setup_.image_id;
    policy.allowed_roots = {folder.path()};
    auto plan = workspace::make_plan(spec, policy);
    if (!plan) co_return fail(std::move(plan).error());
    if (!book_) co_return fail(Code::kInternal, "servers are started before there is an engine for them");
    auto drawn = book_->run();
    if (!drawn) co_return fail(std::move(drawn).error());

    provision::SandboxedStart start;
    start.server = start.process_id = id;
    start.plan = std::move(*plan);
    start.uids = drawn->uids;
    start.uid_hold = std::move(drawn->hold);
    start.sandbox = options_;
    if (options_.alone) start.sandbox.name += "-" + id;
    start.network.mode = config::NetworkMode::kNone;
    start.policy.allowed_roots = {folder.path()};
    if (id == "victim") start.env["API_SECRET"] = Secret(token_ + "-canary-env");
    auto lease = co_await sandboxes_->acquire(start.sandbox);
    if (!lease) co_return fail(std::move(lease).error());
    spaces_ = (*lease)->sandbox().spaces();
    provision::SandboxedConnector connector({runtime_.loop.get_executor(), runtime_.pool, *sandboxes_, *installer_,
                                             nullptr, "", setup_.info.traits.one_server_per_sandbox});
    SilentReport report;
    co_return co_await connector.start(std::move(start), report);
  }

  Task<std::string> read(int fd, std::string word, std::chrono::seconds limit) {
    auto work = [fd, word = std::move(word), limit] { return read_until(fd, word, limit); };
    co_return co_await net::offload(runtime_.pool, std::move(work));
  }

  Runtime& runtime_;
  std::string engine_;
  const std::string token_ = random_hex(12);
  EngineSetup setup_;
  std::string spaces_;
  box::SandboxOptions options_;
  std::optional<provision::UidBook> book_;
  std::unique_ptr<provision::Installer> installer_;
  std::unique_ptr<provision::SandboxPool> sandboxes_;
  std::unique_ptr<provision::SandboxedProcess> victim_, attacker_;
};

constexpr std::size_t kAll = std::size(kAttacks) + std::size(kMoreAttacks);

struct Score {
  unsigned hits = 0;  // of kAll
  unsigned broken = 0;
  bool tried = false;  // what is meant to work
  bool good() const { return hits + broken == 0; }
  // For people: "0 of 40 attacks got through on native; all 5 things that a server may do work".
  std::string sentence(std::string_view engine) const {
    const std::size_t things = std::size(kMeantToWork);
    return fmt::format("{} of {} attacks got through on {}; {}", hits, kAll, engine,
                       !tried        ? fmt::format("the {} things that a server may do were not tried", things)
                       : broken == 0 ? fmt::format("all {} things that a server may do work", things)
                                     : fmt::format("{} of {} things that a server may do FAIL", broken, things));
  }
};

class Sheet {
 public:
  Sheet() { items_.array(); }

  unsigned add(std::span<const AttackName> names, const Outcomes& outcomes, std::string_view counted) {
    unsigned count = 0;
    for (const AttackName& name : names) {
      const auto found = outcomes.find(std::string(name.id));
      // What the attacker did not come to say is not known to be blocked.
      const Outcome outcome = found == outcomes.end() ? Outcome{"unknown", "the attacker said nothing"} : found->second;
      const bool counts = outcome.verdict == counted || outcome.verdict == "unknown";
      count += counts ? 1 : 0;
      line(name, counted == "hit" ? word_of(outcome.verdict) : works_word_of(outcome.verdict), outcome.detail);
    }
    return count;
  }
  void closed(std::span<const AttackName> names, std::string_view why) {
    for (const AttackName& name : names) line(name, "not applicable", std::string(why));
  }
  void print() const { print_out("{}", format_table({"VERDICT", "ATTACK", "WHAT", "HOW IT ENDED"}, rows_)); }
  std::string take() {
    items_.end();
    return items_.take();
  }

 private:
  static std::string word_of(std::string_view verdict) {
    return verdict == "hit" ? "HIT" : verdict == "none" ? "not applicable" : std::string(verdict);
  }
  static std::string works_word_of(std::string_view verdict) {
    return verdict == "hit" ? "works" : verdict == "blocked" ? "FAILS" : std::string(verdict);
  }
  void line(const AttackName& name, std::string verdict, std::string detail) {
    items_.object().member("id", name.id).member("what", name.what).member("verdict", verdict);
    items_.member("detail", detail).end();
    rows_.push_back({std::move(verdict), std::string(name.id), std::string(name.what), std::move(detail)});
  }

  json::Writer items_;
  std::vector<std::vector<std::string>> rows_;
};

int print_sheet(const Outcomes& outcomes, const AttackRun& run, bool as_json) {
  Sheet sheet;
  Score score;
  score.hits = sheet.add(kAttacks, outcomes, "hit") + sheet.add(kMoreAttacks, outcomes, "hit");
  if (run.spaces() == "none") {
    sheet.closed(kMeantToWork, "closed: here servers of one sandbox share their namespaces; `isolation: dedicated`");
  } else {
    score.tried = true;
    score.broken = sheet.add(kMeantToWork, outcomes, "blocked");
  }
  if (as_json) {
    const std::string list = sheet.take();
    json::Writer out;
    out.object().member("ok", score.good()).member("engine", run.engine()).member("namespaces", run.spaces());
    out.member("hits", score.hits).member("of", kAll).member("broken", score.broken);
    out.member("attacks", json::Raw{list}).end();
    print_out("{}", out.take_line());
  } else {
    sheet.print();
    print_out("{}\n", score.sentence(run.engine()));
  }
  return score.good() ? kOk : kFailed;
}

Task<int> attack(Runtime& runtime, std::string engine, bool as_json) {
  AttackRun run(runtime, engine);
  auto outcomes = co_await run.run();
  if (!outcomes)
    co_return complain(outcomes.error(), run.found_engine() ? kFailed : exit_code_of_engine(outcomes.error()));
  co_return print_sheet(*outcomes, run, as_json);
}

}  // namespace

int doctor_attack(const std::string& engine, bool as_json) {
  return run_on_loop([&](Runtime& runtime) { return attack(runtime, engine, as_json); });
}

}  // namespace mcpbox::app
