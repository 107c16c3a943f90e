// What every engine promises (box/engine.h).
#include "contract.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <chrono>
#include <filesystem>

#include "net/task_group.h"
#include "support/result_matcher.h"

namespace mcpbox::box {
namespace {

using Clock = std::chrono::steady_clock;

struct EngineContract : Contract {
  // Runs a program of the sandbox to its end.
  ProcessExit outcome(Sandbox& session, ProcessSpec spec, int signal_number = 0) {
    return run([](Sandbox& in, ProcessSpec what, int number) -> Task<ProcessExit> {
      net::Signal changed(co_await boost::asio::this_coro::executor);
      std::optional<ProcessExit> exit;
      in.supervisor().on_exit([&](const std::string&, const ProcessExit& how) {
        exit = how;
        changed.notify();
      });
      const std::string id = what.id;
      auto spawned = co_await in.supervisor().spawn(std::move(what));
      EXPECT_THAT(spawned, test::succeeds());
      if (spawned && number != 0) EXPECT_TRUE(co_await in.supervisor().signal(id, number));
      while (spawned && !exit) co_await changed.wait();
      in.supervisor().on_exit({});
      (void)co_await in.supervisor().forget(id);
      co_return exit.value_or(ProcessExit{});
    }(session, std::move(spec), signal_number));
  }
  bool none_left() {
    const auto until = Clock::now() + std::chrono::seconds(30);
    while (!names(instance).empty() && Clock::now() < until) {
      run([]() -> Task<bool> {
        co_await net::sleep_for(std::chrono::milliseconds(10));
        co_return true;
      }());
    }
    return names(instance).empty();
  }
  int keep(Sandbox& session, const std::string& directory) {
    const uid_t uid = info.traits.uids.first + 7;
    EXPECT_THAT(run(session.supervisor().prepare({{{directory, uid, uid, {"own"}}}, {}})), test::succeeds());
    ProcessSpec spec = process("keep", {"keep", directory + "/own/file"});
    spec.confine.read_write = {directory + "/own"};
    return outcome(session, std::move(spec)).code;
  }
};

TEST_F(EngineContract, finds_a_sandbox_by_its_labels_and_by_its_id) {
  auto session = open(options("one"));
  ASSERT_TRUE(session);
  const SandboxState& made = session->state();
  EXPECT_TRUE(made.running);
  auto state = run(engine->inspect(made.id));
  ASSERT_THAT(state, test::succeeds());
  EXPECT_EQ(state->name, Sandbox::sandbox_name(session->options()));
  EXPECT_TRUE(state->running);
  EXPECT_EQ(state->labels["io.mcpbox.managed"], "1");
  EXPECT_EQ(state->labels["io.mcpbox.session"], "one");
  EXPECT_EQ(names(instance), std::vector{state->name});
  Labels both = instance_labels(instance);
  both["io.mcpbox.session"] = "another";
  EXPECT_TRUE(run(engine->list(both))->empty());
}

TEST_F(EngineContract, keeps_two_instances_apart) {
  auto mine = open(options("one"));
  SandboxOptions theirs = options("one");
  theirs.instance = other;
  auto yours = open(theirs);
  ASSERT_TRUE(mine && yours);
  EXPECT_EQ(names(instance).size(), 1u);
  EXPECT_EQ(names(other).size(), 1u);
  EXPECT_NE(names(instance), names(other));
  ASSERT_THAT(run(mine->close()), test::succeeds());
  EXPECT_TRUE(names(instance).empty());
  EXPECT_EQ(names(other).size(), 1u);
}

TEST_F(EngineContract, removes_a_sandbox_for_good_and_takes_its_absence_for_success) {
  auto session = open(options("one"));
  ASSERT_TRUE(session);
  const std::string id = session->state().id;
  ASSERT_THAT(run(engine->remove(id)), test::succeeds());
  EXPECT_EQ(run(engine->inspect(id)).error().code(), Code::kNotFound);
  EXPECT_TRUE(names(instance).empty());
  EXPECT_THAT(run(engine->remove(id)), test::succeeds());
}

TEST_F(EngineContract, refuses_a_second_sandbox_of_the_same_name) {
  SandboxOptions wanted = options("one");
  auto session = open(wanted);
  ASSERT_TRUE(session);
  SandboxSpec again;
  again.name = Sandbox::sandbox_name(wanted);
  again.profile = wanted.profile;
  again.labels = instance_labels(instance);
  again.init_argv = {"/opt/contract/probe", "--control", "/none"};
  auto made = run(engine->create(again));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code(), Code::kAlreadyExists);
}

// As several `mcpbox run` do that install the same environment.
TEST_F(EngineContract, gives_a_name_that_several_want_at_once_to_one_of_them) {
  auto wanted = options("one");
  wanted.ephemeral = true;
  auto race = [&]() -> Task<int> {
    net::TaskGroup racing(loop.get_executor(), "race");
    int won = 0;
    const auto open_one = [](Engine& on, SandboxOptions what, int& winners) -> Task<void> {
      auto opened = co_await Sandbox::open(on, std::move(what));
      if (!opened) {
        EXPECT_EQ(opened.error().code(), Code::kAlreadyExists) << opened.error().message();
        co_return;
      }
      ++winners;
      co_await net::sleep_for(std::chrono::milliseconds(500));
      (void)co_await (*opened)->close();
    };
    for (int i = 0; i < 4; ++i) racing.spawn("open", open_one(*engine, wanted, won));
    co_await racing.join();
    co_return won;
  };
  for (int round = 0; round < 3; ++round) EXPECT_EQ(run(race()), 1);
  EXPECT_TRUE(none_left());
  EXPECT_TRUE(std::filesystem::is_empty(folder.path("run")));
}

TEST_F(EngineContract, leaves_nothing_of_a_sandbox_whose_opening_is_cancelled) {
  for (const unsigned after : {1u, 2u, 4u, 8u, 16u}) {
    SCOPED_TRACE(after);
    auto wanted = options("short");
    wanted.ephemeral = true;
    auto opening = [&]() -> Task<Result<bool>> {
      auto opened = co_await Sandbox::open(*engine, std::move(wanted));
      if (!opened) co_return fail(std::move(opened).error());
      co_return true;
    };
    unsigned handled = 0;
    const auto opened = test::run_cancelled(loop, opening(), [&] { return ++handled > after; });
    if (opened && !*opened) EXPECT_EQ(opened->error().code(), Code::kCancelled) << opened->error().message();
    // One that was connected before ends by itself.
    EXPECT_TRUE(none_left());
    EXPECT_TRUE(std::filesystem::is_empty(folder.path("run")));
  }
}

TEST_F(EngineContract, keeps_a_volume_and_lets_scratch_go) {
  SandboxOptions wanted = options("one");
  wanted.cache_volume = "mcpbox-contract-" + instance.substr(0, 8);
  wanted.cache_writable = true;
  for (const int kept : {0, 7}) {
    auto session = open(wanted);
    ASSERT_TRUE(session);
    EXPECT_EQ(keep(*session, "/cache/tree"), kept);
    EXPECT_EQ(keep(*session, "/workspace/tree"), 0);
    ASSERT_THAT(run(session->close()), test::succeeds());
  }
  auto volumes = run(engine->list_volumes(instance_labels(instance)));
  ASSERT_TRUE(volumes);
  EXPECT_EQ(*volumes, std::vector{wanted.cache_volume});
  EXPECT_THAT(run(engine->remove_volume(wanted.cache_volume)), test::succeeds());
  EXPECT_TRUE(run(engine->list_volumes(instance_labels(instance)))->empty());
  EXPECT_THAT(run(engine->remove_volume(wanted.cache_volume)), test::succeeds());
}

TEST_F(EngineContract, runs_processes_and_says_how_they_ended) {
  auto session = open(options("one"));
  ASSERT_TRUE(session);
  EXPECT_EQ(outcome(*session, process("three", {"exit", "3"})).code, 3);
  const ProcessExit killed = outcome(*session, process("killed", {"wait"}), SIGKILL);
  EXPECT_EQ(killed.signal, SIGKILL);
  EXPECT_FALSE(killed.killed_for_memory);
}

TEST_F(EngineContract, hands_a_running_sandbox_to_the_next_controller) {
  auto first = open(options("one"));
  ASSERT_TRUE(first);
  const std::string id = first->state().id;
  ASSERT_TRUE(run(first->supervisor().spawn(process("server", {"wait"}))));
  first.reset();
  auto second = open(options("one"));
  ASSERT_TRUE(second);
  EXPECT_TRUE(second->adopted());
  EXPECT_EQ(second->state().id, id);
  auto processes = run(second->supervisor().list());
  ASSERT_TRUE(processes);
  ASSERT_EQ(processes->size(), 1u);
  EXPECT_TRUE(processes->front().running);
}

TEST_F(EngineContract, an_ephemeral_sandbox_goes_with_its_controller) {
  SandboxOptions wanted = options("one");
  wanted.ephemeral = true;
  auto session = open(wanted);
  ASSERT_TRUE(session);
  EXPECT_EQ(names(instance).size(), 1u);
  session.reset();
  EXPECT_TRUE(none_left());
}

// Asked all the time while it ends: there is no moment at which it runs no more and nothing is known.
TEST_F(EngineContract, says_how_a_sandbox_ended) {
  for (int round = 0; round < 8; ++round) {
    auto session = open(options("one"));
    ASSERT_TRUE(session);
    ASSERT_THAT(run(session->supervisor().shutdown()), test::succeeds());
    const auto until = Clock::now() + std::chrono::seconds(20);
    auto state = run(engine->inspect(session->state().id));
    while (state && state->running && Clock::now() < until) state = run(engine->inspect(session->state().id));
    ASSERT_THAT(state, test::succeeds());
    EXPECT_FALSE(state->running);
    EXPECT_EQ(state->exit_code, 0);
    ASSERT_THAT(run(session->close()), test::succeeds());
  }
}

// An engine takes a moment to remove what asked for that; the name is free all the same.
TEST_F(EngineContract, makes_a_sandbox_of_a_name_whose_last_one_has_just_ended) {
  auto what = options("again");
  what.ephemeral = true;
  for (int round = 0; round < 5; ++round) {
    auto session = open(what);
    ASSERT_TRUE(session);
    ASSERT_THAT(run(session->supervisor().shutdown()), test::succeeds());
    auto state = run(engine->inspect(session->state().id));
    while (state && state->running) state = run(engine->inspect(session->state().id));
  }
}

}  // namespace
}  // namespace mcpbox::box
