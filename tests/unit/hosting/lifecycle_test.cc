// The stories that users know, one by one, in simulated time; lifecycle_walk_test.cc visits every state.
#include "hosting/lifecycle.h"

#include <gtest/gtest.h>

#include <functional>

namespace mcpbox::hosting {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Kind = Lifecycle::Action::Kind;
using provision::Phase;

struct LifecycleTest : testing::Test {
  Lifecycle life;
  Lifecycle::Clock::time_point now{seconds(1000)};

  Kind tell(Lifecycle::Event event) { return life.on(event, now).kind; }
  void begin() { ASSERT_EQ(tell(Lifecycle::Begin{}), Kind::kStart); }
  void connect() {
    ASSERT_EQ(tell(Lifecycle::StartEnded{}), Kind::kNone);
    ASSERT_EQ(tell(Lifecycle::Connected{}), Kind::kNone);
    ASSERT_EQ(life.state(), ServerState::kConnected);
  }
  Kind fail_start(Code code = Code::kUnavailable, std::string why = "no luck") {
    return tell(Lifecycle::StartEnded{fail(code, std::move(why))});
  }
  Kind lose(std::string why = "it died") { return tell(Lifecycle::Broke{Error(Code::kUnavailable, std::move(why))}); }
  // The end of the wait, and nothing before it.
  void retry(seconds after) {
    ASSERT_EQ(life.state(), ServerState::kReconnecting);
    ASSERT_EQ(life.wake(), now + after);
    now += after - milliseconds(1);
    ASSERT_EQ(tell(Lifecycle::Tick{}), Kind::kNone);
    now += milliseconds(1);
    ASSERT_EQ(tell(Lifecycle::Tick{}), Kind::kStart);
  }
};

TEST_F(LifecycleTest, shows_every_phase_of_a_start_and_how_long_it_took) {
  EXPECT_EQ(life.state(), ServerState::kStopped);
  EXPECT_FALSE(life.settled()) << "it is about to start";
  begin();
  EXPECT_EQ(life.state(), ServerState::kPreparing);
  EXPECT_EQ(life.phase(), Phase::kNone) << "what a start does first is the connector's to say";
  (void)tell(Lifecycle::PhaseReached{Phase::kSessionCreate});
  EXPECT_EQ(life.phase(), Phase::kSessionCreate);
  const std::pair<Phase, ServerState> steps[] = {{Phase::kDepInstall, ServerState::kPreparing},
                                                 {Phase::kStage, ServerState::kPreparing},
                                                 {Phase::kProcessStart, ServerState::kConnecting}};
  for (const auto& [phase, state] : steps) {
    now += milliseconds(5);
    EXPECT_EQ(tell(Lifecycle::PhaseReached{phase}), Kind::kNone);
    EXPECT_EQ(life.phase(), phase);
    EXPECT_EQ(life.state(), state);
  }
  EXPECT_EQ(life.starts(), 0u);
  now += milliseconds(7);
  EXPECT_EQ(tell(Lifecycle::StartEnded{}), Kind::kNone);
  EXPECT_EQ(life.phase(), Phase::kMcpInit);
  EXPECT_EQ(life.starts(), 1u);
  EXPECT_FALSE(life.serving());
  now += milliseconds(11);
  EXPECT_EQ(tell(Lifecycle::Connected{}), Kind::kNone);
  EXPECT_EQ(life.phase(), Phase::kNone);
  EXPECT_TRUE(life.serving());
  EXPECT_TRUE(life.settled());
  EXPECT_EQ(life.connected_since(), now);
  std::vector<std::pair<Phase, long>> took;
  for (const PhaseTime& each : life.phases()) took.emplace_back(each.phase, each.duration.count());
  EXPECT_EQ(took, (std::vector<std::pair<Phase, long>>{{Phase::kSessionCreate, 5},
                                                       {Phase::kDepInstall, 5},
                                                       {Phase::kStage, 5},
                                                       {Phase::kProcessStart, 7},
                                                       {Phase::kMcpInit, 11}}));
}

TEST_F(LifecycleTest, a_start_that_fails_is_tried_after_2_4_and_8_seconds_and_then_not_any_more) {
  begin();
  for (const seconds delay : {seconds(2), seconds(4), seconds(8)}) {
    (void)tell(Lifecycle::PhaseReached{Phase::kStage});
    EXPECT_EQ(fail_start(), Kind::kNone);
    EXPECT_EQ(life.phase(), Phase::kStage) << "where it failed";
    EXPECT_FALSE(life.settled());
    retry(delay);
    EXPECT_EQ(life.error()->message(), "no luck") << "told until a later attempt connects";
  }
  EXPECT_EQ(fail_start(), Kind::kNone);
  EXPECT_EQ(life.state(), ServerState::kError);
  EXPECT_TRUE(life.settled());
  EXPECT_EQ(life.wake(), std::nullopt);
  now += seconds(1000);
  EXPECT_EQ(tell(Lifecycle::Tick{}), Kind::kNone);
}

TEST_F(LifecycleTest, what_cannot_get_better_by_waiting_is_not_tried_again) {
  for (const Code code : {Code::kInvalidArgument, Code::kPermissionDenied, Code::kFailedPrecondition}) {
    life = Lifecycle();
    begin();
    (void)tell(Lifecycle::PhaseReached{Phase::kProcessStart});
    EXPECT_EQ(fail_start(code), Kind::kNone);
    EXPECT_EQ(life.state(), ServerState::kError) << code_name(code);
    EXPECT_EQ(life.phase(), Phase::kProcessStart);
    EXPECT_EQ(tell(Lifecycle::RestartAsked{}), Kind::kStart) << "somebody mended it";
  }
  for (const Code code : {Code::kUnavailable, Code::kTimeout, Code::kInternal, Code::kNotFound, Code::kDataLoss,
                          Code::kResourceExhausted, Code::kAborted, Code::kUnsupported}) {
    life = Lifecycle();
    begin();
    (void)fail_start(code);
    EXPECT_EQ(life.state(), ServerState::kReconnecting) << code_name(code);
  }
}

TEST_F(LifecycleTest, a_refused_initialize_ends_what_was_started_before_it_is_an_error) {
  begin();
  (void)tell(Lifecycle::StartEnded{});
  const auto action = life.on(Lifecycle::Broke{Error(Code::kFailedPrecondition, "speaks another revision")}, now);
  EXPECT_EQ(action.kind, Kind::kEnd);
  EXPECT_EQ(action.why->message(), "speaks another revision");
  EXPECT_EQ(life.state(), ServerState::kConnecting);
  EXPECT_FALSE(life.settled());
  EXPECT_EQ(tell(Lifecycle::Ended{}), Kind::kNone);
  EXPECT_EQ(life.state(), ServerState::kError);
  EXPECT_EQ(life.phase(), Phase::kMcpInit);
}

TEST_F(LifecycleTest, a_server_that_dies_comes_back_and_a_stable_minute_fills_the_budget) {
  begin();
  connect();
  // It crashes soon after each start: the budget runs out.
  for (const seconds delay : {seconds(2), seconds(4), seconds(8)}) {
    now += seconds(59);
    EXPECT_EQ(lose(), Kind::kEnd);
    EXPECT_EQ(life.phase(), Phase::kRuntime);
    EXPECT_FALSE(life.serving()) << "no call is let in while it ends";
    EXPECT_EQ(tell(Lifecycle::Ended{}), Kind::kNone);
    retry(delay);
    connect();
    EXPECT_EQ(life.error(), std::nullopt);
  }
  now += seconds(60);
  EXPECT_EQ(lose(), Kind::kEnd);
  (void)tell(Lifecycle::Ended{});
  retry(seconds(2));
  connect();
  for (const seconds delay : {seconds(4), seconds(8)}) {
    (void)lose();
    (void)tell(Lifecycle::Ended{});
    retry(delay);
    connect();
  }
  (void)lose("once too often");
  (void)tell(Lifecycle::Ended{});
  EXPECT_EQ(life.state(), ServerState::kError);
  EXPECT_EQ(life.phase(), Phase::kRuntime);
  EXPECT_EQ(life.error()->message(), "once too often");
  EXPECT_EQ(life.starts(), 7u);
}

TEST_F(LifecycleTest, an_error_that_cannot_get_better_counts_only_before_it_was_connected) {
  begin();
  connect();
  EXPECT_EQ(tell(Lifecycle::Broke{Error(Code::kFailedPrecondition, "it worked a moment ago")}), Kind::kEnd);
  (void)tell(Lifecycle::Ended{});
  EXPECT_EQ(life.state(), ServerState::kReconnecting);
}

TEST_F(LifecycleTest, a_stop_cancels_a_start_and_ends_what_became_of_it_meanwhile) {
  for (const bool connected_all_the_same : {false, true}) {
    life = Lifecycle();
    begin();
    EXPECT_EQ(tell(Lifecycle::StopAsked{}), Kind::kCancelStart);
    EXPECT_EQ(tell(Lifecycle::StopAsked{}), Kind::kNone) << "once is enough";
    EXPECT_FALSE(life.settled());
    if (connected_all_the_same) {
      const auto action = life.on(Lifecycle::StartEnded{}, now);
      EXPECT_EQ(action.kind, Kind::kEnd);
      EXPECT_EQ(action.why, std::nullopt);
      EXPECT_EQ(tell(Lifecycle::Ended{}), Kind::kNone);
    } else {
      EXPECT_EQ(fail_start(Code::kCancelled), Kind::kNone);
    }
    EXPECT_EQ(life.state(), ServerState::kStopped);
    EXPECT_EQ(life.phase(), Phase::kNone);
    EXPECT_EQ(life.error(), std::nullopt);
    EXPECT_TRUE(life.settled());
  }
}

TEST_F(LifecycleTest, the_newest_of_a_stop_and_a_restart_counts) {
  begin();
  connect();
  EXPECT_EQ(tell(Lifecycle::StopAsked{}), Kind::kEnd);
  EXPECT_EQ(tell(Lifecycle::RestartAsked{}), Kind::kNone);
  EXPECT_EQ(tell(Lifecycle::Ended{}), Kind::kStart);
  EXPECT_EQ(tell(Lifecycle::RestartAsked{}), Kind::kCancelStart);
  EXPECT_EQ(tell(Lifecycle::StopAsked{}), Kind::kNone);
  EXPECT_EQ(fail_start(Code::kCancelled), Kind::kNone);
  EXPECT_EQ(life.state(), ServerState::kStopped);
}

TEST_F(LifecycleTest, a_request_while_a_broken_connection_ends_wins_over_the_retry) {
  begin();
  connect();
  EXPECT_EQ(lose(), Kind::kEnd);
  EXPECT_EQ(tell(Lifecycle::StopAsked{}), Kind::kNone);
  EXPECT_EQ(tell(Lifecycle::Ended{}), Kind::kNone);
  EXPECT_EQ(life.state(), ServerState::kStopped);
  EXPECT_EQ(life.error(), std::nullopt) << "who stops a server does not want to hear that it had died";
}

TEST_F(LifecycleTest, a_restart_fills_the_budget_and_does_not_wait) {
  begin();
  for (int i = 0; i < 3; ++i) {
    (void)fail_start();
    retry(seconds(2 << i));
  }
  (void)fail_start();
  ASSERT_EQ(life.state(), ServerState::kError);
  EXPECT_EQ(tell(Lifecycle::RestartAsked{}), Kind::kStart);
  (void)fail_start();
  EXPECT_EQ(life.wake(), now + seconds(2));
  EXPECT_EQ(tell(Lifecycle::RestartAsked{}), Kind::kStart) << "in the middle of a wait";
}

TEST_F(LifecycleTest, a_fresh_restart_is_not_taken_for_done_by_the_start_that_it_cancels) {
  begin();
  (void)tell(Lifecycle::PhaseReached{Phase::kStage});
  EXPECT_EQ(tell(Lifecycle::RestartAsked{true}), Kind::kCancelStart);
  // It had staged already, as it was told before.
  (void)tell(Lifecycle::PhaseReached{Phase::kProcessStart});
  EXPECT_EQ(tell(Lifecycle::StartEnded{}), Kind::kEnd);
  EXPECT_EQ(tell(Lifecycle::Ended{}), Kind::kStart);
  EXPECT_TRUE(life.fresh());
  (void)tell(Lifecycle::PhaseReached{Phase::kProcessStart});
  EXPECT_FALSE(life.fresh());
}

TEST_F(LifecycleTest, a_fresh_restart_holds_until_a_start_has_staged) {
  begin();
  connect();
  EXPECT_EQ(tell(Lifecycle::RestartAsked{true}), Kind::kEnd);
  EXPECT_EQ(tell(Lifecycle::Ended{}), Kind::kStart);
  EXPECT_TRUE(life.fresh());
  (void)tell(Lifecycle::PhaseReached{Phase::kStage});
  (void)fail_start();
  retry(seconds(2));
  EXPECT_TRUE(life.fresh()) << "the copy was not made";
  EXPECT_EQ(tell(Lifecycle::RestartAsked{false}), Kind::kCancelStart);
  EXPECT_EQ(fail_start(Code::kCancelled), Kind::kStart);
  EXPECT_TRUE(life.fresh()) << "a plain restart does not take it back";
  (void)tell(Lifecycle::PhaseReached{Phase::kStage});
  (void)tell(Lifecycle::PhaseReached{Phase::kProcessStart});
  EXPECT_FALSE(life.fresh());
}

TEST_F(LifecycleTest, a_server_that_is_not_enabled_waits_for_a_restart) {
  EXPECT_EQ(tell(Lifecycle::StopAsked{}), Kind::kNone);
  EXPECT_EQ(tell(Lifecycle::Begin{}), Kind::kNone);
  EXPECT_EQ(life.state(), ServerState::kStopped);
  EXPECT_TRUE(life.settled());
  EXPECT_EQ(tell(Lifecycle::RestartAsked{}), Kind::kStart);
}

TEST_F(LifecycleTest, a_shut_down_is_final_in_every_state) {
  const std::function<Kind()> scenes[] = {
      [&] {
        EXPECT_EQ(tell(Lifecycle::ShutDownAsked{}), Kind::kNone);
        return tell(Lifecycle::Begin{});
      },
      [&] {
        begin();
        EXPECT_EQ(tell(Lifecycle::ShutDownAsked{}), Kind::kCancelStart);
        return fail_start();
      },
      [&] {
        begin();
        connect();
        EXPECT_EQ(tell(Lifecycle::ShutDownAsked{}), Kind::kEnd);
        EXPECT_EQ(tell(Lifecycle::RestartAsked{}), Kind::kNone) << "too late";
        return tell(Lifecycle::Ended{});
      },
      [&] {
        begin();
        (void)fail_start();
        return tell(Lifecycle::ShutDownAsked{});
      },
      [&] {
        begin();
        (void)fail_start(Code::kInvalidArgument);
        return tell(Lifecycle::ShutDownAsked{});
      },
  };
  for (const auto& scene : scenes) {
    life = Lifecycle();
    EXPECT_EQ(scene(), Kind::kOver);
    EXPECT_TRUE(life.over());
    EXPECT_EQ(life.state(), ServerState::kStopped);
    EXPECT_EQ(tell(Lifecycle::RestartAsked{}), Kind::kNone);
    EXPECT_EQ(tell(Lifecycle::Begin{}), Kind::kNone);
  }
}

}  // namespace
}  // namespace mcpbox::hosting
