// A sandbox between its creation and the link to its PID 1.
#include "box/sandbox.h"

#include <gmock/gmock.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <optional>
#include <set>

#include "net/wait.h"
#include "support/fake_supervisor.h"
#include "support/no_engine.h"
#include "support/result_matcher.h"
#include "support/run_task.h"

namespace mcpbox::box {
namespace {

using namespace std::chrono_literals;
using test::fails;

// Makes sandboxes whose PID 1 never answers.
struct Mute : test::NoEngine {
  enum class Dial { kThrows, kReturns, kFails } dial_ = Dial::kThrows;
  std::set<std::string> sandboxes;
  bool dialled = false;
  bool created = false;
  std::optional<Error> refusal;        // of a creation
  std::optional<SandboxSpec> earlier;  // another daemon's, which runs
  std::chrono::milliseconds creation{0};
  int exit_code = 3;  // of what does not run any more

  Task<Result<std::vector<SandboxState>>> list(Labels) override {
    std::vector<SandboxState> out;
    for (const std::string& id : sandboxes) {
      SandboxState state;
      state.id = state.name = id;
      state.running = true;
      if (earlier) state.labels[std::string(kProfileLabel)] = earlier->hash();
      out.push_back(std::move(state));
    }
    co_return out;
  }
  Task<Result<SandboxState>> create(SandboxSpec spec) override {
    if (refusal) {
      earlier = std::move(spec);
      co_return fail(*refusal);
    }
    SandboxState state;
    state.id = state.name = spec.name;
    state.running = true;
    sandboxes.insert(state.id);
    created = true;
    // As an engine does that does not look whether it was cancelled.
    co_await boost::asio::this_coro::throw_if_cancelled(false);
    boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, creation);
    if (creation > 0ms) (void)co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    co_await boost::asio::this_coro::throw_if_cancelled(true);
    co_return state;
  }
  Task<Result<std::unique_ptr<Supervisor>>> dial(SandboxState, std::chrono::milliseconds) override {
    dialled = true;
    if (dial_ == Dial::kFails) co_return fail(Code::kTimeout, "nobody answers");
    if (dial_ == Dial::kThrows) co_await net::sleep_for(1h);
    boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, 1h);
    (void)co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    co_return fail(Code::kCancelled, "dialling was cancelled");
  }
  Task<Result<void>> ensure_volume(std::string, Labels) override { co_return Result<void>{}; }
  Task<Result<SandboxState>> inspect(std::string id) override {
    co_await net::sleep_for(1ms);
    SandboxState state;
    state.id = state.name = id;
    state.exit_code = exit_code;
    co_return state;
  }
  Task<Result<void>> remove(std::string id) override {
    co_await net::sleep_for(5ms);  // an engine is asked, and a cancelled coroutine cannot wait
    sandboxes.erase(id);
    co_return Result<void>{};
  }
};

struct SandboxTest : testing::Test {
  boost::asio::io_context loop;
  Mute engine;

  Task<Result<bool>> open(bool ephemeral = true) {
    SandboxOptions options;
    options.instance = std::string(32, 'a');
    options.name = "install-1";
    options.ephemeral = ephemeral;
    auto opened = co_await Sandbox::open(engine, std::move(options));
    if (!opened) co_return fail(std::move(opened).error());
    co_return true;
  }
};

TEST_F(SandboxTest, one_that_is_cancelled_before_it_is_connected_is_removed) {
  for (const Mute::Dial how : {Mute::Dial::kThrows, Mute::Dial::kReturns}) {
    engine.dial_ = how;
    engine.dialled = false;
    const auto opened = test::run_cancelled(loop, open(), [&] { return engine.dialled; });
    EXPECT_TRUE(engine.sandboxes.empty()) << "it would keep the name";
    if (opened) EXPECT_THAT(*opened, fails(Code::kCancelled));
  }
}

TEST_F(SandboxTest, one_that_is_cancelled_while_it_is_created_is_removed) {
  engine.creation = 20ms;
  const auto opened = test::run_cancelled(loop, open(), [&] { return engine.created; });
  EXPECT_TRUE(engine.sandboxes.empty());
  EXPECT_FALSE(engine.dialled);
  if (opened) EXPECT_THAT(*opened, fails(Code::kCancelled));
}

TEST_F(SandboxTest, one_that_does_not_answer_is_removed_and_says_what_became_of_it) {
  engine.dial_ = Mute::Dial::kFails;
  EXPECT_THAT(test::run_task(loop, open()), fails(Code::kUnavailable, "ended with exit code 3"));
  EXPECT_TRUE(engine.sandboxes.empty());
}

TEST_F(SandboxTest, one_that_was_killed_names_the_place_where_the_reason_stands) {
  engine.dial_ = Mute::Dial::kFails;
  engine.exit_code = 137;
  EXPECT_THAT(test::run_task(loop, open()),
              fails(Code::kUnavailable, "ended with exit code 137: its first process was killed"));
}

// What cannot be adopted is removed; it is not the one whose creation failed then.
TEST_F(SandboxTest, a_creation_that_is_refused_after_an_adoption_that_failed_says_why) {
  engine.dial_ = Mute::Dial::kFails;
  engine.refusal = Error(Code::kInvalidArgument, "no such image");
  EXPECT_THAT(test::run_task(loop, open(false)), fails(Code::kInvalidArgument, "no such image"));
  engine.sandboxes.insert("mcpbox-aaaaaaaa-install-1");
  EXPECT_THAT(test::run_task(loop, open(false)), fails(Code::kInvalidArgument, "no such image"));
  EXPECT_TRUE(engine.dialled);
  EXPECT_TRUE(engine.sandboxes.empty());
}

// PID 1 says what is mounted; engines that take paths resolve them anew.
struct JudgedMountTest : SandboxTest {
  struct Speaking final : Mute {
    test::FakeTree tree;
    std::map<std::string, Supervisor::FoundFile> shown;
    int dials = 0;
    Result<GroupOfServers> group = fail(Code::kUnsupported, "there are none here");
    bool takes_group = true;
    std::vector<std::string> requests;  // what PID 1 was asked for
    Task<Result<std::unique_ptr<Supervisor>>> dial(SandboxState, std::chrono::milliseconds) override {
      ++dials;
      auto supervisor = std::make_unique<test::FakeSupervisor>(tree);
      supervisor->shown = shown;
      supervisor->before = [this](const std::string& name) -> Task<Result<void>> {
        requests.push_back(name);
        if (name == "take_group" && !takes_group) co_return fail(Code::kPermissionDenied, "it may not");
        co_return Result<void>{};
      };
      co_return supervisor;
    }
    Task<Result<GroupOfServers>> group_of_servers(SandboxState) override { co_return std::move(group); }
  } speaking;

  // Why servers have no control groups there.
  Task<Result<std::string>> open_with_group(bool alone) {
    SandboxOptions options;
    options.instance = std::string(32, 'a');
    options.name = "shared";
    options.ephemeral = true;
    options.alone = alone;
    auto opened = co_await Sandbox::open(speaking, std::move(options));
    if (!opened) co_return fail(std::move(opened).error());
    co_return (*opened)->no_groups();
  }

  Task<Result<bool>> open_over_sub(bool ephemeral = true) {
    SandboxOptions options;
    options.instance = std::string(32, 'a');
    options.name = "files";
    options.ephemeral = ephemeral;
    options.profile.mounts = {{Mount::Kind::kBind, "/home/u/w/sub", "/home/u/w/sub", true, 0, 0755, sys::FileId{5, 77}},
                              {Mount::Kind::kScratch, "", "/scratch", false}};
    auto opened = co_await Sandbox::open(speaking, std::move(options));
    if (!opened) co_return fail(std::move(opened).error());
    co_return (*opened)->adopted();
  }
};

TEST_F(JudgedMountTest, a_sandbox_that_shows_the_judged_folder_is_opened) {
  speaking.shown["/home/u/w/sub"] = {{5, 77}, 0};
  EXPECT_TRUE(test::run_task(loop, open_over_sub()));
  EXPECT_EQ(speaking.sandboxes.size(), 1u);
}

TEST_F(JudgedMountTest, one_that_shows_another_folder_is_ended_with_a_message) {
  for (const Supervisor::FoundFile& found : {Supervisor::FoundFile{{5, 78}, 0}, Supervisor::FoundFile{{6, 77}, 0}}) {
    speaking.shown["/home/u/w/sub"] = found;
    EXPECT_THAT(test::run_task(loop, open_over_sub()),
                fails(Code::kAborted, "'/home/u/w/sub' is not the folder any more that was checked"));
    EXPECT_TRUE(speaking.sandboxes.empty());
  }
}

TEST_F(JudgedMountTest, one_that_cannot_say_what_it_shows_is_ended) {
  for (const int error : {ELOOP, EACCES, ENOENT}) {
    speaking.shown["/home/u/w/sub"] = {{5, 77}, error};
    EXPECT_THAT(test::run_task(loop, open_over_sub()), fails(Code::kFailedPrecondition, "/home/u/w/sub"));
    EXPECT_TRUE(speaking.sandboxes.empty());
  }
}

TEST_F(JudgedMountTest, pid_1_is_given_a_control_group_where_the_engine_has_one) {
  speaking.group = GroupOfServers{UniqueFd(::open("/", O_PATH | O_CLOEXEC)), {}, 2000};
  EXPECT_EQ(test::run_task(loop, open_with_group(false)).value_or("not opened"), "");
  EXPECT_EQ(speaking.requests, std::vector<std::string>{"take_group"});
}

TEST_F(JudgedMountTest, no_control_group_is_given_where_there_is_none_to_give_or_one_server_is_alone) {
  EXPECT_EQ(test::run_task(loop, open_with_group(false)).value_or("not opened"), "there are none here");
  speaking.group = GroupOfServers();
  EXPECT_EQ(test::run_task(loop, open_with_group(false)).value_or("not opened"), "") << "it has its own";
  speaking.group = GroupOfServers{UniqueFd(::open("/", O_PATH | O_CLOEXEC)), {}, 2000};
  EXPECT_EQ(test::run_task(loop, open_with_group(true)).value_or("not opened"), "");
  EXPECT_TRUE(speaking.requests.empty());
}

TEST_F(JudgedMountTest, a_sandbox_whose_pid_1_cannot_use_the_control_group_is_opened_without) {
  speaking.group = GroupOfServers{UniqueFd(::open("/", O_PATH | O_CLOEXEC)), {}, 2000};
  speaking.takes_group = false;
  EXPECT_EQ(test::run_task(loop, open_with_group(false)).value_or("not opened"), "it may not");
}

// A daemon that ended between making and asking leaves one that nobody has looked at.
TEST_F(JudgedMountTest, one_that_runs_already_is_asked_before_it_is_adopted) {
  speaking.shown["/home/u/w/sub"] = {{5, 77}, 0};
  speaking.refusal = Error(Code::kInvalidArgument, "no");
  EXPECT_FALSE(test::run_task(loop, open_over_sub(false)));
  speaking.sandboxes.insert("mcpbox-aaaaaaaa-files");
  EXPECT_TRUE(test::run_task(loop, open_over_sub(false)).value_or(false));
  speaking.shown["/home/u/w/sub"] = {{5, 78}, 0};
  EXPECT_THAT(test::run_task(loop, open_over_sub(false)), fails(Code::kInvalidArgument, "no")) << "a new one is made";
  EXPECT_TRUE(speaking.sandboxes.empty());
}

}  // namespace
}  // namespace mcpbox::box
