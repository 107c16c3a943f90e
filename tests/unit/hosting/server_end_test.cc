// How a server ends against a fake connector: by itself, by its sandbox, when it is asked, at each step.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hosting/server.h"
#include "server_house.h"

namespace mcpbox::hosting {
namespace {

using provision::Phase;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Script;
using testing::HasSubstr;

TEST(Server, a_server_that_dies_fails_the_call_once_and_comes_back) {
  House house({}, without_retry());
  house.live([&]() -> Task<void> {
    EXPECT_TRUE(co_await house.is(ServerState::kConnected));
    house.process().answers_calls = false;
    std::string reply;
    house.tasks.spawn("call", House::call_into(house, reply));
    while (house.starts.calls() == 0) co_await net::sleep_for(milliseconds(0));
    house.server->log().stderr_bytes("about to crash\n");
    house.process().exit(9);
    EXPECT_TRUE(co_await house.is(ServerState::kReconnecting));
    EXPECT_EQ(house.server->view().phase, Phase::kRuntime);
    EXPECT_THAT(reply, HasSubstr("server 'one', tool 'echo': the server ended: exit code 9"));
    EXPECT_THAT(reply, HasSubstr("about to crash"));
    house.server->request_restart(false);
    co_await house.settle();
    EXPECT_EQ(house.server->view().state, ServerState::kConnected);
    EXPECT_EQ(house.server->view().restarts, 1u);
    EXPECT_EQ(house.starts.calls(), 1u) << "the call was executed again";
    EXPECT_EQ(co_await house.call(), R"({"content":[]})");
  });
}

TEST(Server, a_server_that_keeps_dying_is_given_up) {
  for (const auto initialize : {Script::Initialize::kDies, Script::Initialize::kRefuses}) {
    Script script;
    script.initialize = initialize;
    House house({script});
    house.live([&]() -> Task<void> {
      EXPECT_TRUE(co_await house.is(ServerState::kError));
      EXPECT_EQ(house.server->view().phase, Phase::kMcpInit);
      EXPECT_THAT(house.server->view().error,
                  HasSubstr(initialize == Script::Initialize::kDies ? "exit code 3" : "not with you"));
      EXPECT_EQ(house.starts.left(), 0u);
    });
  }
}

TEST(Server, a_server_whose_next_start_would_end_the_same_way_is_given_up_at_once) {
  Script script;
  script.initialize = Script::Initialize::kDies;
  script.remains = true;
  House house({script});
  house.live([&]() -> Task<void> {
    EXPECT_TRUE(co_await house.is(ServerState::kError));
    EXPECT_EQ(house.starts.processes.size(), 1u);
    EXPECT_THAT(house.server->view().error, HasSubstr("exit code 3"));
  });
}

TEST(Server, a_server_that_had_come_is_tried_again_whatever_it_left) {
  Script script;
  script.remains = true;
  House house({script}, without_retry());
  house.live([&]() -> Task<void> {
    EXPECT_TRUE(co_await house.is(ServerState::kConnected));
    house.process().exit(9);
    EXPECT_TRUE(co_await house.is(ServerState::kReconnecting));
  });
}

TEST(Server, a_server_that_does_not_answer_initialize_is_ended_and_reported) {
  Script script;
  script.initialize = Script::Initialize::kIsSilent;
  ServerTiming timing = without_retry();
  timing.initialize = milliseconds(5);
  House house({script}, timing);
  house.live([&]() -> Task<void> {
    EXPECT_TRUE(co_await house.is(ServerState::kReconnecting));
    EXPECT_EQ(house.server->view().phase, Phase::kMcpInit);
    EXPECT_THAT(house.server->view().error, HasSubstr("initialize"));
    EXPECT_EQ(house.starts.processes.front()->ended_by, "end of input");
  });
}

TEST(Server, a_server_that_closes_its_output_and_lives_on_is_replaced) {
  House house({}, without_retry());
  house.live([&]() -> Task<void> {
    EXPECT_TRUE(co_await house.is(ServerState::kConnected));
    house.process().answers_calls = false;
    std::string reply;
    house.tasks.spawn("call", House::call_into(house, reply));
    while (house.starts.calls() == 0) co_await net::sleep_for(milliseconds(0));
    house.process().close_output();
    EXPECT_TRUE(co_await house.is(ServerState::kReconnecting));
    EXPECT_THAT(reply, HasSubstr("closed its stdout and goes on running"));
    EXPECT_EQ(house.starts.left(), 0u);
    house.server->request_restart(false);
    co_await house.settle();
    EXPECT_EQ(house.server->view().state, ServerState::kConnected);
  });
}

TEST(Server, an_exit_that_comes_after_the_end_of_the_output_tells_more_than_that) {
  ServerTiming patient = without_retry();
  patient.patience.no_output = seconds(10);
  House house({Script{}}, patient);
  house.live([&]() -> Task<void> {
    EXPECT_TRUE(co_await house.is(ServerState::kConnected));
    house.process().close_output();
    co_await net::sleep_for(milliseconds(2));
    EXPECT_EQ(house.server->view().state, ServerState::kConnected);
    house.process().exit(4);
    EXPECT_TRUE(co_await house.is(ServerState::kReconnecting));
    EXPECT_THAT(house.server->view().error, HasSubstr("exit code 4"));
  });
}

TEST(Server, an_exit_is_noticed_also_where_a_child_holds_the_output_open) {
  House house({}, without_retry());
  house.live([&]() -> Task<void> {
    EXPECT_TRUE(co_await house.is(ServerState::kConnected));
    house.process().leaves_a_child = true;
    house.process().exit(5);
    EXPECT_TRUE(co_await house.is(ServerState::kReconnecting));
    EXPECT_THAT(house.server->view().error, HasSubstr("exit code 5"));
  });
}

TEST(Server, a_call_fails_as_soon_as_its_server_is_broken_and_not_when_that_is_gone) {
  Script script;
  script.leaves = Script::Leaves::kAtSigkill;
  ServerTiming patient = fast();
  patient.grace.after_sigterm = milliseconds(500);
  House house({script, Script{}}, patient);
  house.live([&]() -> Task<void> {
    EXPECT_TRUE(co_await house.is(ServerState::kConnected));
    house.process().answers_calls = false;
    std::string reply;
    house.tasks.spawn("call", House::call_into(house, reply));
    while (house.starts.calls() == 0) co_await net::sleep_for(milliseconds(0));
    house.process().close_output();
    while (reply.empty() && !house.process().ended) co_await net::sleep_for(milliseconds(1));
    EXPECT_THAT(reply, HasSubstr("closed its stdout"));
    EXPECT_FALSE(house.process().ended);
    co_await house.settle();
  });
}

TEST(Server, a_lost_sandbox_is_reported_in_its_own_words) {
  House house({}, without_retry());
  house.live([&]() -> Task<void> {
    EXPECT_TRUE(co_await house.is(ServerState::kConnected));
    house.process().end(End::Kind::kSandboxLost, "the sandbox was removed from outside");
    EXPECT_TRUE(co_await house.is(ServerState::kReconnecting));
    EXPECT_EQ(house.server->view().error, "the sandbox was removed from outside");
    EXPECT_THAT(house.log(), HasSubstr("removed from outside"));
    house.server->request_restart(false);
    co_await house.settle();
    EXPECT_EQ(house.server->view().state, ServerState::kConnected);
  });
}

TEST(Server, the_loss_of_a_sandbox_that_takes_a_while_to_find_out_is_waited_for) {
  House house({}, without_retry());
  house.live([&]() -> Task<void> {
    EXPECT_TRUE(co_await house.is(ServerState::kConnected));
    house.process().ending = true;
    house.process().close_output();
    co_await net::sleep_for(milliseconds(50));  // ten times what a silent server is given
    EXPECT_EQ(house.server->view().state, ServerState::kConnected);
    house.process().end(End::Kind::kSandboxLost, "the sandbox ended with exit code 137");
    EXPECT_TRUE(co_await house.is(ServerState::kReconnecting));
    EXPECT_EQ(house.server->view().error, "the sandbox ended with exit code 137");
  });
}

TEST(Server, a_stop_goes_from_end_of_input_to_sigterm_to_sigkill) {
  const std::pair<Script::Leaves, std::string> ways[] = {{Script::Leaves::kAtEndOfInput, "end of input"},
                                                         {Script::Leaves::kAtSigterm, "SIGTERM"},
                                                         {Script::Leaves::kAtSigkill, "SIGKILL"}};
  for (const auto& [leaves, how] : ways) {
    Script script;
    script.leaves = leaves;
    House house({script});
    house.live([&]() -> Task<void> {
      EXPECT_TRUE(co_await house.is(ServerState::kConnected));
      house.process().answers_calls = false;
      std::string reply;
      house.tasks.spawn("call", House::call_into(house, reply));
      while (house.starts.calls() == 0) co_await net::sleep_for(milliseconds(0));
      house.server->request_stop();
      EXPECT_THAT(co_await house.call(), HasSubstr("server 'one' is being stopped"));
      co_await house.settle();
      EXPECT_EQ(house.process().ended_by, how);
      EXPECT_THAT(reply, HasSubstr("server 'one' was stopped"));
      EXPECT_THAT(co_await house.call(), HasSubstr("server 'one' is stopped"));
      EXPECT_FALSE(house.server->list_text(mcp::kToolCatalog));
    });
  }
}

TEST(Server, a_call_that_is_answered_in_the_grace_of_a_stop_succeeds) {
  Script script;
  script.leaves = Script::Leaves::kAtSigterm;
  ServerTiming patient = fast();
  patient.grace.after_end_of_input = seconds(5);
  House house({script}, patient);
  house.live([&]() -> Task<void> {
    EXPECT_TRUE(co_await house.is(ServerState::kConnected));
    house.process().answers_calls = false;
    std::string reply;
    house.tasks.spawn("call", House::call_into(house, reply));
    while (house.starts.calls() == 0) co_await net::sleep_for(milliseconds(0));
    house.server->request_stop();
    co_await net::sleep_for(milliseconds(1));
    house.process().answer(house.process().calls.front(), R"({"just":"in time"})");
    while (reply.empty()) co_await net::sleep_for(milliseconds(1));
    EXPECT_EQ(reply, R"({"just":"in time"})");
    house.process().exit(0);
    co_await house.settle();
  });
}

// One start, one session with a call, and its end; at each step of which something happens.
TEST(Server, whatever_happens_at_whatever_step_it_ends_where_it_should_and_leaves_nothing) {
  const auto scenario = [](House& house) {
    house.live([&]() -> Task<void> {
      co_await house.settle();
      (void)co_await house.call();
      co_await house.settle();
    });
  };
  unsigned steps = 0;
  {
    House house;
    scenario(house);
    steps = house.starts.steps;
    ASSERT_GE(steps, 10u);
  }
  enum class What { kDies, kCloses, kLost, kStop, kRestart, kShutDown };
  for (const What what : {What::kDies, What::kCloses, What::kLost, What::kStop, What::kRestart, What::kShutDown}) {
    for (unsigned at = 0; at < steps; ++at) {
      House house;
      bool happened = false, process_there = false;
      house.starts.disturb = [&](unsigned step) {
        if (step != at) return;
        happened = true;
        process_there = !house.starts.processes.empty();
        if (what == What::kStop) house.server->request_stop();
        if (what == What::kRestart) house.server->request_restart(false);
        if (what == What::kShutDown) house.server->request_shut_down();
        if (!process_there) return;
        if (what == What::kDies) house.process().exit(1);
        if (what == What::kCloses) house.process().close_output();
        if (what == What::kLost) house.process().end(End::Kind::kSandboxLost, "the sandbox is gone");
      };
      house.live([&]() -> Task<void> {
        co_await house.settle();
        (void)co_await house.call();
        if (process_there && what <= What::kLost) {
          // It was noticed, or is about to be; then it comes back.
          EXPECT_TRUE(co_await house.until([](const ServerView& view) {
            return view.restarts == 1 && view.state == ServerState::kConnected;
          })) << static_cast<int>(what)
              << " at " << at;
        }
        co_await house.settle();
        const ServerState end = house.server->view().state;
        if (!happened) co_return;  // a step of the end itself, this time
        const bool stopped = what == What::kStop || what == What::kShutDown;
        EXPECT_EQ(end, stopped ? ServerState::kStopped : ServerState::kConnected)
            << static_cast<int>(what) << " at " << at;
      });
      EXPECT_LE(house.starts.calls(), 1u) << "a call was executed again";
    }
  }
}

}  // namespace
}  // namespace mcpbox::hosting
