// Starts of a server against a fake connector: each phase fails, hangs, is cancelled, or comes too late for that.
#include "hosting/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server_house.h"
#include "support/result_matcher.h"

namespace mcpbox::hosting {
namespace {

using provision::Phase;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Script;
using testing::HasSubstr;

constexpr Phase kSteps[] = {Phase::kSessionCreate, Phase::kDepInstall, Phase::kStage, Phase::kProcessStart};

Script failing(Phase at, Code code = Code::kUnavailable) {
  Script script;
  script.at = at;
  script.fails = Error(code, "it did not work");
  return script;
}

enum class Asked { kStop, kRestart, kShutDown };
constexpr Asked kAsked[] = {Asked::kStop, Asked::kRestart, Asked::kShutDown};

void ask(Server& server, Asked asked) {
  if (asked == Asked::kStop) server.request_stop();
  if (asked == Asked::kRestart) server.request_restart(false);
  if (asked == Asked::kShutDown) server.request_shut_down();
}

TEST(Server, connects_answers_calls_and_shows_what_there_is) {
  Script script;
  script.environment = "abc";
  House house({script});
  house.live([&]() -> Task<void> {
    EXPECT_TRUE(co_await house.is(ServerState::kConnected));
    EXPECT_EQ(co_await house.call(), R"({"content":[]})");
    EXPECT_TRUE(house.server->list_text(mcp::kToolCatalog));
    EXPECT_THAT(house.server->list_text(mcp::kPromptCatalog), test::fails(Code::kUnsupported, "prompts"));
    const ServerView view = house.server->view();
    EXPECT_EQ(view.server_name, "fake");
    EXPECT_EQ(view.server_version, "7");
    EXPECT_EQ(view.protocol_version, "2025-06-18");
    EXPECT_EQ(view.tool_count, 1u);
    EXPECT_EQ(view.sandbox, "sandbox-1");
    EXPECT_EQ(view.process, "one-1234");
    EXPECT_EQ(view.pid, 42);
    EXPECT_EQ(view.uid, 1000u);
    EXPECT_EQ(view.restarts, 0u);
    EXPECT_EQ(view.phases.size(), 5u);
    EXPECT_EQ(view.phases.back().phase, Phase::kMcpInit);
    house.server->request_stop();
    co_await house.settle();
    EXPECT_EQ(house.server->view().environment, "abc") << "that it used last";
    EXPECT_EQ(house.server->view().pid, 0);
  });
}

TEST(Server, a_server_whose_pipes_cannot_be_watched_is_stopped_and_tried_again) {
  Script script;
  script.no_channel = true;
  script.leaves = Script::Leaves::kAtSigterm;
  House house({script, Script{}});
  house.live([&]() -> Task<void> {
    EXPECT_TRUE(co_await house.is(ServerState::kConnected));
    EXPECT_EQ(house.starts.begun, 2u);
    EXPECT_EQ(house.starts.left(), 1u);
    EXPECT_EQ(house.starts.processes.front()->ended_by, "SIGTERM") << "stop() was awaited";
    EXPECT_THAT(house.log(), HasSubstr("no descriptor is left"));
  });
}

TEST(Server, a_start_that_fails_in_any_phase_is_tried_again_and_given_up_with_its_phase_and_reason) {
  for (const Phase phase : kSteps) {
    House waiting({failing(phase)}, without_retry());
    waiting.live([&]() -> Task<void> {
      EXPECT_TRUE(co_await waiting.is(ServerState::kReconnecting));
      EXPECT_EQ(waiting.server->view().phase, phase);
      EXPECT_THAT(co_await waiting.call(),
                  HasSubstr("server 'one' is reconnecting (" + std::string(name_of(phase)) + "): it did not work"));
    });
    House house({failing(phase)});
    house.live([&]() -> Task<void> {
      co_await house.settle();
      EXPECT_EQ(house.server->view().state, ServerState::kError);
      EXPECT_EQ(house.server->view().phase, phase);
      const std::string said = "given up after 3 retries, `mcpbox restart one` starts it again: it did not work";
      EXPECT_EQ(house.server->view().error, said);
      EXPECT_THAT(house.log(), HasSubstr(said));
      EXPECT_THAT(house.log(), HasSubstr("(retry 3 of 3)"));
      EXPECT_THAT(co_await house.call(),
                  HasSubstr("server 'one' is not running (" + std::string(name_of(phase)) + "): " + said));
      EXPECT_EQ(house.starts.begun, 4u);
      EXPECT_EQ(house.server->view().restarts, 0u);
    });
  }
}

TEST(Server, an_exception_in_a_start_is_a_failure_like_others) {
  Script script;
  script.at = Phase::kStage;
  script.throws = true;
  House house({script, Script{}}, without_retry());
  house.live([&]() -> Task<void> {
    EXPECT_TRUE(co_await house.is(ServerState::kReconnecting));
    EXPECT_THAT(house.server->view().error, HasSubstr("starting ended without a result"));
    house.server->request_restart(false);
    co_await house.settle();
    EXPECT_EQ(house.server->view().state, ServerState::kConnected);
  });
}

TEST(Server, what_cannot_get_better_is_tried_once_and_again_when_somebody_asks) {
  for (const Phase phase : kSteps) {
    House house({failing(phase, Code::kFailedPrecondition), Script{}});
    house.live([&]() -> Task<void> {
      EXPECT_TRUE(co_await house.is(ServerState::kError));
      EXPECT_EQ(house.server->view().phase, phase);
      EXPECT_EQ(house.starts.begun, 1u);
      const std::string said =
          "not tried again, because waiting does not help; once it is mended, `mcpbox restart one` starts it: it did";
      EXPECT_THAT(house.server->view().error, HasSubstr(said));
      EXPECT_THAT(house.log(), HasSubstr(said));
      EXPECT_THAT(co_await house.call(), HasSubstr(said));
      house.server->request_restart(true);
      co_await house.settle();
      EXPECT_EQ(house.server->view().state, ServerState::kConnected);
      EXPECT_EQ(house.server->view().error, "");
      EXPECT_EQ(house.starts.fresh, (std::vector<bool>{false, true}));
    });
  }
}

TEST(Server, a_request_in_any_phase_of_a_start_cancels_it) {
  for (const Phase phase : kSteps) {
    for (const Asked asked : kAsked) {
      for (const bool too_late : {false, true}) {
        Script script;
        script.at = phase;
        script.hangs = true;
        script.too_late_to_cancel = too_late;
        House house({script, Script{}});
        house.live([&]() -> Task<void> {
          EXPECT_TRUE(co_await house.until([&](const ServerView& view) { return view.phase == phase; }));
          co_await net::sleep_for(milliseconds(1));
          ask(*house.server, asked);
          if (too_late) {
            co_await net::sleep_for(milliseconds(1));
            house.starts.release = true;
            house.starts.released.notify();
          }
          co_await house.settle();
          EXPECT_EQ(house.starts.begun, asked == Asked::kRestart ? 2u : 1u);
          EXPECT_EQ(house.server->view().state,
                    asked == Asked::kRestart ? ServerState::kConnected : ServerState::kStopped);
          EXPECT_EQ(house.server->view().error, "");
          EXPECT_EQ(house.starts.left(), asked == Asked::kRestart ? 1u : 0u);
        });
      }
    }
  }
}

TEST(Server, a_request_before_a_start_took_its_first_step_leaves_nothing) {
  for (const Asked asked : kAsked) {
    House house;
    ask(*house.server, asked);
    house.live([&]() -> Task<void> {
      co_await house.settle();
      ask(*house.server, Asked::kRestart);
      ask(*house.server, asked);
      co_await house.settle();
      EXPECT_EQ(house.server->view().state, asked == Asked::kRestart ? ServerState::kConnected : ServerState::kStopped);
      EXPECT_EQ(house.starts.left(), asked == Asked::kRestart ? 1u : 0u);
    });
  }
}

TEST(Server, a_request_ends_a_wait_for_the_next_attempt) {
  for (const Asked asked : kAsked) {
    ServerTiming patient = fast();
    patient.first_retry = seconds(100);
    House house({failing(Phase::kStage), Script{}}, patient);
    house.live([&]() -> Task<void> {
      EXPECT_TRUE(co_await house.is(ServerState::kReconnecting));
      ask(*house.server, asked);
      co_await house.settle();
      EXPECT_EQ(house.server->view().state, asked == Asked::kRestart ? ServerState::kConnected : ServerState::kStopped);
    });
  }
}

}  // namespace
}  // namespace mcpbox::hosting
