// A start with every step failing, then cancelled; and the ends of a process.
#include "provision/sandboxed_connector.h"

#include <gmock/gmock.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <set>

#include "provision/launch.h"
#include "support/fake_supervisor.h"
#include "support/no_engine.h"
#include "support/quiet_report.h"
#include "support/run_task.h"
#include "support/temp_tree.h"

namespace mcpbox::provision {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

// An engine of which only removals are asked.
struct Removing final : test::NoEngine {
  std::set<std::string> sandboxes;
  std::chrono::milliseconds pause{0};  // before a removal and before an answer
  unsigned removing = 0;
  Task<Result<void>> remove(std::string id) override {
    ++removing;
    if (pause > 0ms) co_await net::sleep_for(pause);
    --removing;
    sandboxes.erase(id);
    co_return Result<void>{};
  }
  Task<Result<std::vector<box::SandboxState>>> list(box::Labels) override {
    std::vector<box::SandboxState> out;
    for (const std::string& id : sandboxes) {
      box::SandboxState state;
      state.id = state.name = id;
      state.labels["io.mcpbox.session"] = "shared";
      out.push_back(std::move(state));
    }
    co_return out;
  }
  Task<Result<box::SandboxState>> inspect(std::string id) override {
    if (pause > 0ms) co_await net::sleep_for(pause);
    co_return fail(Code::kNotFound, id + " is not there");
  }
};

struct ConnectorTest : testing::Test {
  boost::asio::io_context loop;
  boost::asio::thread_pool pool{2};
  test::TempTree host;
  test::FakeTree tree;
  Removing engine;
  std::function<Task<Result<void>>(const std::string&)> before;  // of every supervisor, and "open"
  std::vector<test::FakeSupervisor*> supervisors;                // that are connected
  unsigned opened = 0;
  std::chrono::milliseconds idle{0};
  test::QuietReport report;
  Installer installer{engine, loop.get_executor(), pool, {}};
  std::optional<SandboxPool> sandboxes;
  std::weak_ptr<UidHold> uids;

  ConnectorTest() { ::signal(SIGPIPE, SIG_IGN); }
  ~ConnectorTest() override { pool.join(); }

  SandboxedConnector connector() {
    if (!sandboxes) {
      sandboxes.emplace(engine, loop.get_executor(), idle, SandboxPool::LostCallback());
      sandboxes->open_with([this](box::SandboxOptions options) { return open(std::move(options)); });
    }
    return SandboxedConnector({loop.get_executor(), pool, *sandboxes, installer, nullptr, host.path("staged"), false});
  }
  Task<Result<std::unique_ptr<box::Sandbox>>> open(box::SandboxOptions options) {
    if (before) {
      if (auto step = co_await before("open"); !step) co_return fail(std::move(step).error());
    }
    struct Link final : test::FakeSupervisor {
      std::vector<test::FakeSupervisor*>& all;
      Link(test::FakeTree& tree, std::vector<test::FakeSupervisor*>& live) : FakeSupervisor(tree), all(live) {
        all.push_back(this);
      }
      ~Link() override { std::erase(all, this); }
    };
    auto link = std::make_unique<Link>(tree, supervisors);
    link->before = [this](const std::string& name) -> Task<Result<void>> {
      if (before) co_return co_await before(name);
      co_return Result<void>{};
    };
    box::SandboxState state;
    state.id = state.name = "sandbox" + std::to_string(++opened);
    engine.sandboxes.insert(state.id);
    co_return box::Sandbox::over(engine, std::move(options), std::move(state), std::move(link));
  }
  SandboxedStart plan() {
    SandboxedStart start;
    start.server = "one";
    start.process_id = "one";
    start.plan.argv = {"python3", "server.py"};
    workspace::Root root;
    root.host = host.dir("a");
    host.file("a/server.py", "code");
    root.mount = process_tree("one") + "/workspace";
    root.access = workspace::Access::kReadWrite;
    start.plan.roots = {root};
    start.policy.allowed_roots = {host.root()};
    auto run = UidBook(host.path("state"), "0123", "docker", {}).run();
    if (!run) run = UidBook().run();
    start.uids = run->uids;
    uids = run->hold;
    start.uid_hold = std::move(run->hold);
    start.sandbox.name = "shared";
    start.env["TOKEN"] = Secret("of the server");
    return start;
  }
  std::size_t processes() const {
    std::size_t count = 0;
    for (const test::FakeSupervisor* supervisor : supervisors) count += supervisor->processes.size();
    return count;
  }
  // True when nothing of any start is left.
  Task<bool> all_gone() {
    co_await net::sleep_for(30ms);  // one may still be opening
    for (int i = 0; i < 400; ++i) {
      if (engine.sandboxes.empty() && processes() == 0 && uids.expired()) co_return true;
      co_await net::sleep_for(5ms);
    }
    co_return false;
  }
  Task<bool> close() { co_return (co_await sandboxes->close_all()).has_value(); }
  void TearDown() override {
    if (sandboxes) EXPECT_TRUE(test::run_task(loop, close()));
  }
};

// Looking for what an earlier start left, and ending things.
const std::set<std::string> kUnimportant{"list_directory", "kill_uid", "forget", "shutdown"};

// Breaks one step. A task that outlives the start may wait in it: what it uses is its own.
struct Breaking {
  std::size_t step = 0;
  bool cancelled = false;
  std::size_t asked = 0;
  bool reached = false;
  std::string where;
};
Task<Result<void>> take_step(std::shared_ptr<Breaking> breaking, std::string name) {
  if (breaking->asked++ != breaking->step) co_return Result<void>{};
  breaking->reached = true;
  breaking->where = name;
  // Cannot be taken back half-way, or is not the start's to be cancelled: it goes on, and what it made is ended.
  const bool goes_on = name == "spawn" || name == "open" || (name != "list_directory" && kUnimportant.contains(name));
  if (breaking->cancelled) co_await net::sleep_for(goes_on ? std::chrono::milliseconds(20) : 1h);
  if (breaking->cancelled && goes_on) co_return Result<void>{};
  co_return fail(Code::kUnavailable, "broken here");
}

TEST_F(ConnectorTest, a_start_that_fails_or_is_cancelled_at_any_step_leaves_nothing) {
  for (const bool cancelled : {false, true}) {
    for (std::size_t step = 0;; ++step) {
      SCOPED_TRACE(testing::Message() << (cancelled ? "cancelled " : "failed ") << step);
      tree = {};
      const auto breaking = std::make_shared<Breaking>(Breaking{step, cancelled});
      before = [breaking](const std::string& name) { return take_step(breaking, name); };
      auto start = [&]() -> Task<bool> {
        auto process = co_await connector().start(plan(), report);
        co_return process.has_value();  // and is dropped
      };
      if (cancelled) {
        (void)test::run_cancelled(loop, start(), [&] { return breaking->reached; });
      } else {
        const bool started = test::run_task(loop, start());
        if (breaking->reached && !kUnimportant.contains(breaking->where)) EXPECT_FALSE(started) << breaking->where;
      }
      EXPECT_TRUE(test::run_task(loop, all_gone())) << "at " << breaking->where;
      if (HasFailure()) return;
      if (!breaking->reached) break;
    }
  }
}

// The request for the process is not cut in two, and the cancellation is not lost either.
TEST_F(ConnectorTest, a_start_that_is_cancelled_while_its_process_starts_is_no_start) {
  bool spawning = false;
  before = [&spawning](const std::string& name) -> Task<Result<void>> {
    if (name == "spawn") {
      spawning = true;
      co_await net::sleep_for(20ms);
    }
    co_return Result<void>{};
  };
  auto start = [&]() -> Task<Code> {
    auto process = co_await connector().start(plan(), report);
    co_return process ? Code::kInternal : process.error().code();
  };
  EXPECT_EQ(test::run_cancelled(loop, start(), [&] { return spawning; }), Code::kCancelled);
  EXPECT_TRUE(test::run_task(loop, all_gone()));
}

TEST_F(ConnectorTest, a_process_that_is_stopped_gives_everything_back) {
  idle = 1h;
  auto body = [&]() -> Task<int> {
    auto process = co_await connector().start(plan(), report);
    EXPECT_TRUE(process) << process.error().message();
    if (!process) co_return 1;
    EXPECT_EQ(report.phases, (std::vector<Phase>{Phase::kSessionCreate, Phase::kStage, Phase::kProcessStart}));
    EXPECT_EQ((*process)->program(), "python3");
    EXPECT_EQ((*process)->sandbox_name(), "sandbox1");
    EXPECT_TRUE((*process)->take_pipes().in);
    EXPECT_EQ(processes(), 1u);
    EXPECT_THAT(supervisors[0]->processes.at("one").env, testing::Contains("TOKEN=of the server"));
    co_await (*process)->stop({1ms, 1ms});
    EXPECT_EQ(processes(), 0u);
    EXPECT_TRUE(uids.expired());
    EXPECT_TRUE((*process)->ended() && std::holds_alternative<box::ProcessExit>(*(*process)->ended()));
    EXPECT_EQ(engine.sandboxes.size(), 1u) << "the next start would need a new one";
    co_await (*process)->stop({1ms, 1ms});
    co_return 0;
  };
  EXPECT_EQ(test::run_task(loop, body()), 0);
}

TEST_F(ConnectorTest, a_process_that_is_dropped_is_killed_before_its_things_are_given_back) {
  idle = 1h;
  auto body = [&]() -> Task<int> {
    auto process = co_await connector().start(plan(), report);
    EXPECT_TRUE(process);
    if (!process) co_return 1;
    before = [](const std::string& name) -> Task<Result<void>> {
      if (name == "kill_uid") co_await net::sleep_for(30ms);
      co_return Result<void>{};
    };
    process->reset();
    EXPECT_FALSE(uids.expired());
    for (int i = 0; i < 200 && processes() > 0; ++i) co_await net::sleep_for(5ms);
    EXPECT_EQ(processes(), 0u);
    for (int i = 0; i < 200 && !uids.expired(); ++i) co_await net::sleep_for(5ms);
    EXPECT_TRUE(uids.expired());
    co_return 0;
  };
  EXPECT_EQ(test::run_task(loop, body()), 0);
}

// Its tree is not touched, and its id and uid are free, when nothing of the first one is there any more.
TEST_F(ConnectorTest, a_start_after_a_cancelled_one_waits_until_that_is_gone) {
  idle = 1h;
  bool spawning = false;
  before = [&spawning](const std::string& name) -> Task<Result<void>> {
    if (name == "spawn") {
      spawning = true;
      co_await net::sleep_for(20ms);
    }
    if (name == "kill_uid") co_await net::sleep_for(50ms);
    co_return Result<void>{};
  };
  std::optional<ServerUids> first;
  auto start = [&]() -> Task<Code> {
    auto what = plan();
    if (first) what.uids = *first;
    first = what.uids;
    auto process = co_await connector().start(std::move(what), report);
    if (!process) co_return process.error().code();
    co_await (*process)->stop({1ms, 1ms});
    co_return Code::kInternal;
  };
  EXPECT_EQ(test::run_cancelled(loop, start(), [&] { return spawning; }), Code::kCancelled);
  ASSERT_EQ(processes(), 1u);
  std::string early;  // asked for while the first one lived
  bool second = false;
  before = [&](const std::string& name) -> Task<Result<void>> {
    if (name == "kill_uid") co_await net::sleep_for(50ms);
    if (!kUnimportant.contains(name) && name != "close_stdin" && name != "signal" && !second && processes() > 0)
      early += name + " ";
    if (name == "spawn") second = true;
    co_return Result<void>{};
  };
  EXPECT_EQ(test::run_task(loop, start()), Code::kInternal);
  EXPECT_EQ(early, "");
  EXPECT_TRUE(second);
}

// The server is started again at once.
TEST_F(ConnectorTest, what_ends_a_failed_start_ends_nothing_of_the_next_one) {
  idle = 1h;
  bool refuse = true;
  before = [&refuse](const std::string& name) -> Task<Result<void>> {
    if (name == "spawn" && std::exchange(refuse, false)) co_return fail(Code::kUnavailable, "no");
    if (name == "kill_uid") co_await net::sleep_for(50ms);
    co_return Result<void>{};
  };
  auto body = [&]() -> Task<int> {
    const ServerUids own = plan().uids;
    for (const bool well : {false, true}) {
      auto what = plan();
      what.uids = own;
      auto process = co_await connector().start(std::move(what), report);
      EXPECT_EQ(process.has_value(), well);
      if (!process) continue;
      co_await net::sleep_for(100ms);
      EXPECT_FALSE((*process)->ended());
      co_await (*process)->stop({1ms, 1ms});
    }
    co_return 0;
  };
  EXPECT_EQ(test::run_task(loop, body()), 0);
}

TEST_F(ConnectorTest, the_uid_of_what_could_not_be_killed_stays_taken_until_its_sandbox_is_gone) {
  for (const bool dropped : {false, true}) {
    SCOPED_TRACE(dropped ? "dropped" : "stopped");
    idle = 1h;
    bool killable = false;
    before = [&killable](const std::string& name) -> Task<Result<void>> {
      if (name == "kill_uid" && !killable) co_return fail(Code::kTimeout, "no answer");
      co_return Result<void>{};
    };
    auto body = [&]() -> Task<int> {
      auto what = plan();
      const auto own = what.uids;
      const auto mine = uids;
      auto process = co_await connector().start(std::move(what), report);
      EXPECT_TRUE(process);
      if (!process) co_return 1;
      if (!dropped) co_await (*process)->stop({1ms, 1ms});
      process->reset();
      co_await net::sleep_for(50ms);
      EXPECT_FALSE(mine.expired());
      // The same server again: what it left has its uid.
      for (const bool well : {false, true}) {
        killable = well;
        what = plan();
        what.uids = own;
        auto next = co_await connector().start(std::move(what), report);
        EXPECT_EQ(next.has_value(), well);
        if (!next) EXPECT_EQ(next.error().code(), Code::kUnavailable);
        EXPECT_EQ(mine.expired(), well);
        EXPECT_EQ(processes(), 1u);
        if (next) co_await (*next)->stop({1ms, 1ms});
      }
      co_return 0;
    };
    EXPECT_EQ(test::run_task(loop, body()), 0);
    killable = false;
    auto last = [&]() -> Task<int> {
      auto process = co_await connector().start(plan(), report);
      EXPECT_TRUE(process);
      if (process) co_await (*process)->stop({1ms, 1ms});
      co_return 0;
    };
    test::run_task(loop, last());
    EXPECT_FALSE(uids.expired());
    EXPECT_TRUE(test::run_task(loop, close()));
    EXPECT_TRUE(uids.expired());
    sandboxes.reset();
    tree = {};
  }
}

// Until it is known how it came, and what is left is removed.
TEST_F(ConnectorTest, nobody_gets_a_sandbox_whose_link_is_gone) {
  idle = 1h;
  engine.pause = 30ms;
  auto body = [&]() -> Task<int> {
    auto process = co_await connector().start(plan(), report);
    EXPECT_TRUE(process);
    if (!process) co_return 1;
    supervisors[0]->lose();
    EXPECT_FALSE((*process)->ended()) << "it is not known yet how";
    box::SandboxOptions options;
    options.name = "shared";
    auto lease = co_await sandboxes->acquire(std::move(options));
    EXPECT_TRUE(lease);
    if (!lease) co_return 1;
    EXPECT_EQ((*lease)->sandbox().state().id, "sandbox2");
    EXPECT_FALSE(engine.sandboxes.contains("sandbox1"));
    EXPECT_THAT(std::get<SandboxLost>(*(*process)->ended()).how, HasSubstr("removed from outside"));
    co_await (*process)->stop();
    co_return 0;
  };
  EXPECT_EQ(test::run_task(loop, body()), 0);
}

TEST_F(ConnectorTest, nobody_gets_a_sandbox_of_an_earlier_daemon_that_is_being_removed) {
  idle = 10ms;
  engine.pause = 50ms;
  engine.sandboxes.insert("earlier");
  before = [this](const std::string& name) -> Task<Result<void>> {
    if (name == "open") EXPECT_EQ(engine.removing, 0u) << "it would be adopted";
    co_return Result<void>{};
  };
  auto body = [&]() -> Task<int> {
    (void)connector();
    sandboxes->sweep("0123");
    while (engine.removing == 0) co_await net::sleep_for(1ms);
    box::SandboxOptions options;
    options.name = "shared";
    EXPECT_TRUE(co_await sandboxes->acquire(std::move(options)));
    EXPECT_EQ(opened, 1u);
    EXPECT_FALSE(engine.sandboxes.contains("earlier"));
    co_return 0;
  };
  EXPECT_EQ(test::run_task(loop, body()), 0);
}

TEST_F(ConnectorTest, an_end_is_told_with_how) {
  idle = 1h;
  auto body = [&]() -> Task<int> {
    auto process = co_await connector().start(plan(), report);
    EXPECT_TRUE(process);
    if (!process) co_return 1;
    unsigned told = 0;
    (*process)->on_change([&] { ++told; });
    supervisors[0]->end("one", 3);
    EXPECT_EQ(told, 1u);
    EXPECT_EQ(std::get<box::ProcessExit>(*(*process)->ended()).code, 3);
    co_await (*process)->stop();

    auto second = co_await connector().start(plan(), report);
    EXPECT_TRUE(second);
    if (!second) co_return 1;
    supervisors[0]->lose();
    for (int i = 0; i < 400 && !(*second)->ended(); ++i)
      (void)co_await (*second)->changed().wait_until(std::chrono::steady_clock::now() + 10ms);
    EXPECT_TRUE((*second)->ended());
    EXPECT_THAT(std::get<SandboxLost>(*(*second)->ended()).how, HasSubstr("removed from outside"));
    co_await (*second)->stop();
    auto third = co_await connector().start(plan(), report);
    EXPECT_TRUE(third) << "a lost sandbox is replaced";
    EXPECT_EQ(opened, 2u);
    // An engine that has lost it has things of ours on the host still.
    for (int i = 0; i < 400 && engine.sandboxes.contains("sandbox1"); ++i) co_await net::sleep_for(5ms);
    EXPECT_FALSE(engine.sandboxes.contains("sandbox1"));
    co_return 0;
  };
  EXPECT_EQ(test::run_task(loop, body()), 0);
}

TEST_F(ConnectorTest, a_program_that_is_not_there_is_told_from_other_things_that_are_not) {
  before = [](const std::string& name) -> Task<Result<void>> {
    if (name == "spawn") co_return fail(Code::kNotFound, "exec 'python3': No such file or directory");
    co_return Result<void>{};
  };
  auto body = [&]() -> Task<int> {
    auto process = co_await connector().start(plan(), report);
    EXPECT_FALSE(process);
    if (process) co_return 1;
    EXPECT_EQ(report.phases.back(), Phase::kProcessStart);
    EXPECT_EQ(process.error().code(), Code::kNotFound);
    EXPECT_THAT(process.error().message(), HasSubstr("install Python"));
    EXPECT_TRUE(co_await all_gone());
    co_return 0;
  };
  EXPECT_EQ(test::run_task(loop, body()), 0);
}

TEST_F(ConnectorTest, what_the_plan_refuses_opens_no_sandbox) {
  auto body = [&]() -> Task<int> {
    auto start = plan();
    start.plan.refused = {{"/etc", "it is the system's"}, {"/root", "it is private"}};
    auto process = co_await connector().start(std::move(start), report);
    EXPECT_FALSE(process);
    if (!process) EXPECT_THAT(process.error().message(), HasSubstr("/etc: it is the system's; /root"));
    EXPECT_EQ(opened, 0u);
    co_return 0;
  };
  EXPECT_EQ(test::run_task(loop, body()), 0);
}

TEST_F(ConnectorTest, a_pull_opens_a_sandbox_and_closes_it_and_leaves_one_that_is_used) {
  idle = 1h;
  auto body = [&]() -> Task<int> {
    auto process = co_await connector().start(plan(), report);
    EXPECT_TRUE(process);
    if (!process) co_return 1;
    auto pulled = co_await connector().pull(plan(), {"", "", {.dry_run = true}});
    EXPECT_TRUE(pulled) << pulled.error().message();
    EXPECT_EQ(opened, 1u);
    EXPECT_EQ(processes(), 1u);
    supervisors[0]->lose();
    co_await (*process)->stop();
    pulled = co_await connector().pull(plan(), {"", "", {.dry_run = true}});
    EXPECT_TRUE(pulled) << pulled.error().message();
    EXPECT_EQ(opened, 2u);
    for (int i = 0; i < 200 && engine.sandboxes.contains("sandbox2"); ++i) co_await net::sleep_for(5ms);
    EXPECT_FALSE(engine.sandboxes.contains("sandbox2"));
    co_return 0;
  };
  EXPECT_EQ(test::run_task(loop, body()), 0);
}

TEST_F(ConnectorTest, one_sandbox_is_opened_for_all_and_closed_after_the_last) {
  idle = 50ms;
  auto body = [&]() -> Task<int> {
    (void)connector();
    const auto options = [] {
      box::SandboxOptions options;
      options.name = "shared";
      return options;
    };
    auto one = co_await sandboxes->acquire(options());
    auto two = co_await sandboxes->acquire(options());
    EXPECT_TRUE(one && two);
    EXPECT_EQ(opened, 1u);
    one->give_back();
    co_await net::sleep_for(150ms);
    EXPECT_EQ(engine.sandboxes.size(), 1u);
    SandboxPool::Lease moved = std::move(*two);
    two->give_back();
    moved = SandboxPool::Lease();
    EXPECT_EQ(engine.sandboxes.size(), 1u);
    co_await net::sleep_for(20ms);
    auto again = co_await sandboxes->acquire(options());
    EXPECT_EQ(opened, 1u) << "it was used again within the idle time";
    again->give_back();
    for (int i = 0; i < 200 && !engine.sandboxes.empty(); ++i) co_await net::sleep_for(5ms);
    EXPECT_TRUE(engine.sandboxes.empty());
    auto after = co_await sandboxes->acquire(options());
    EXPECT_TRUE(after);
    EXPECT_EQ(opened, 2u);
    co_return 0;
  };
  EXPECT_EQ(test::run_task(loop, body()), 0);
}

TEST_F(ConnectorTest, sandboxes_are_closed_at_once_and_not_one_after_the_other) {
  idle = 1h;
  (void)connector();
  auto open_some = [&]() -> Task<int> {
    for (const char* name : {"a", "b", "c", "d"}) {
      box::SandboxOptions options;
      options.name = name;
      EXPECT_TRUE(co_await sandboxes->acquire(std::move(options)));
    }
    co_return 0;
  };
  test::run_task(loop, open_some());
  ASSERT_EQ(engine.sandboxes.size(), 4u);
  unsigned now = 0, most = 0;
  before = [&](const std::string& name) -> Task<Result<void>> {
    if (name != "shutdown") co_return Result<void>{};
    most = std::max(most, ++now);
    co_await net::sleep_for(20ms);
    --now;
    co_return Result<void>{};
  };
  EXPECT_TRUE(test::run_task(loop, close()));
  EXPECT_EQ(most, 4u);
  EXPECT_TRUE(engine.sandboxes.empty());
}

}  // namespace
}  // namespace mcpbox::provision
