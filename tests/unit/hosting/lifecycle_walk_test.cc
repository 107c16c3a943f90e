// Every state of the life cycle that can be reached meets every event, fitting or not, in a small model of the world.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>

#include "hosting/lifecycle.h"

namespace mcpbox::hosting {
namespace {

using std::chrono::seconds;
using Kind = Lifecycle::Action::Kind;
using provision::Phase;

// What the owner of a life cycle has running because the actions said so, and what was asked of it.
struct World {
  Lifecycle life;
  Lifecycle::Clock::time_point now{seconds(1000)};
  bool begun = false;
  bool starting = false;
  bool cancelled = false;
  bool connection = false;
  bool ending = false;
  bool over = false;
  std::string path;  // how it came here, for messages

  // Two worlds with the same key go on in the same way.
  std::string key() const {
    return fmt::format("{} {} {}{}{}{}{}{} {}{}{} {} {}", name_of(life.state()), name_of(life.phase()), begun, starting,
                       cancelled, connection, ending, over, life.settled(), life.serving(), life.fresh(),
                       life.error() ? life.error()->message() : "-", life.budget().used());
  }
};

struct Named {
  const char* name;
  Lifecycle::Event event;
};

std::vector<Named> events() {
  std::vector<Named> all{
      {"stop", Lifecycle::StopAsked{}},
      {"restart", Lifecycle::RestartAsked{}},
      {"fresh", Lifecycle::RestartAsked{true}},
      {"shutdown", Lifecycle::ShutDownAsked{}},
      {"begin", Lifecycle::Begin{}},
      {"started", Lifecycle::StartEnded{}},
      {"failed", Lifecycle::StartEnded{fail(Code::kUnavailable, "failed")}},
      {"hopeless", Lifecycle::StartEnded{fail(Code::kInvalidArgument, "hopeless")}},
      {"cancelled", Lifecycle::StartEnded{fail(Code::kCancelled, "cancelled")}},
      {"connected", Lifecycle::Connected{}},
      {"died", Lifecycle::Broke{Error(Code::kUnavailable, "died")}},
      {"refused", Lifecycle::Broke{Error(Code::kFailedPrecondition, "refused")}},
      {"ended", Lifecycle::Ended{}},
      {"tick", Lifecycle::Tick{}},
  };
  for (const Phase phase :
       {Phase::kSessionCreate, Phase::kStage, Phase::kDepInstall, Phase::kProcessStart, Phase::kMcpInit}) {
    all.push_back({name_of(phase).data(), Lifecycle::PhaseReached{phase}});
  }
  return all;
}

// Could the owner send this now? What it could not is sent all the same, and must change nothing.
bool fits(const World& world, const Lifecycle::Event& event) {
  if (std::holds_alternative<Lifecycle::Begin>(event)) return !world.begun;
  if (std::holds_alternative<Lifecycle::StartEnded>(event)) return world.starting;
  if (std::holds_alternative<Lifecycle::PhaseReached>(event)) return world.starting;
  if (std::holds_alternative<Lifecycle::Connected>(event)) {
    return world.connection && !world.ending && !world.life.serving();
  }
  if (std::holds_alternative<Lifecycle::Broke>(event)) return world.connection && !world.ending;
  if (std::holds_alternative<Lifecycle::Ended>(event)) return world.ending;
  if (std::holds_alternative<Lifecycle::Tick>(event)) return world.life.wake() && *world.life.wake() <= world.now;
  return true;  // a request
}

// Tells the world the event and carries the answer out. What must hold in every world is checked here.
void step(World& world, const Named& named) {
  const bool fitting = fits(world, named.event);
  const std::string before = world.key();
  const auto action = world.life.on(named.event, world.now);
  world.path += std::string(" ") + named.name;
  if (!fitting) {
    EXPECT_EQ(action.kind, Kind::kNone) << world.path;
    EXPECT_EQ(world.key(), before) << world.path << ": old news changed something";
  }
  if (fitting && std::holds_alternative<Lifecycle::Begin>(named.event)) world.begun = true;
  if (fitting && std::holds_alternative<Lifecycle::StartEnded>(named.event)) {
    world.connection = std::get<Lifecycle::StartEnded>(named.event).outcome.has_value();
    world.starting = world.cancelled = false;
  }
  if (fitting && std::holds_alternative<Lifecycle::Ended>(named.event)) world.connection = world.ending = false;

  switch (action.kind) {
    case Kind::kNone:
      break;
    case Kind::kStart:
      EXPECT_TRUE(world.begun && !world.starting && !world.connection && !world.over) << world.path;
      world.starting = true;
      break;
    case Kind::kCancelStart:
      EXPECT_TRUE(world.starting && !world.cancelled) << world.path;
      world.cancelled = true;
      break;
    case Kind::kEnd:
      EXPECT_TRUE(world.connection && !world.ending) << world.path;
      world.ending = true;
      break;
    case Kind::kOver:
      EXPECT_TRUE(!world.starting && !world.connection && !world.over) << world.path << ": something is left";
      world.over = true;
      break;
  }
  const Lifecycle& life = world.life;
  EXPECT_EQ(life.over(), world.over) << world.path;
  if (life.serving()) EXPECT_TRUE(world.connection && !world.ending) << world.path;
  if (life.settled()) EXPECT_TRUE(life.serving() || !(world.starting || world.connection)) << world.path;
  EXPECT_TRUE(life.settled() || world.starting || world.connection || life.wake() || !world.begun)
      << world.path << ": nothing is going on, and nobody would wake it";
  if (life.wake()) EXPECT_EQ(life.state(), ServerState::kReconnecting) << world.path;
  if (life.state() == ServerState::kError || life.state() == ServerState::kReconnecting) {
    EXPECT_TRUE(life.error()) << world.path << ": it does not say why";
  }
  if (life.state() == ServerState::kStopped) EXPECT_FALSE(world.connection || world.starting) << world.path;
}

// What the owner does without being asked for anything: it answers, as slowly as it likes.
void let_it_end(World& world) {
  for (int i = 0; i < 4; ++i) {
    if (world.starting && world.cancelled)
      step(world, {"(cancelled)", Lifecycle::StartEnded{fail(Code::kCancelled, "")}});
    if (world.ending) step(world, {"(ended)", Lifecycle::Ended{}});
    if (!world.begun) step(world, {"(begin)", Lifecycle::Begin{}});
  }
}

// Every world that can be reached.
std::vector<World> reachable() {
  std::map<std::string, World> seen;
  std::deque<World> open(1);
  const std::vector<Named> all = events();
  while (!open.empty() && !testing::Test::HasFailure()) {
    World world = std::move(open.front());
    open.pop_front();
    if (!seen.emplace(world.key(), world).second) continue;
    for (const Named& named : all) {
      World next = world;
      step(next, named);
      open.push_back(std::move(next));
    }
    if (world.life.wake()) {
      World next = world;
      next.now = *world.life.wake();
      step(next, {"(time passes) tick", Lifecycle::Tick{}});
      open.push_back(std::move(next));
    }
  }
  std::vector<World> worlds;
  for (auto& [key, world] : seen) worlds.push_back(std::move(world));
  return worlds;
}

TEST(LifecycleWalk, every_state_takes_every_event_and_keeps_one_attempt_at_a_time) {
  const std::vector<World> worlds = reachable();
  std::set<ServerState> states;
  std::set<std::pair<ServerState, Phase>> places;
  for (const World& world : worlds) {
    states.insert(world.life.state());
    places.insert({world.life.state(), world.life.phase()});
  }
  EXPECT_EQ(states.size(), 6u);
  // stopped; preparing and connecting with three phases each; connected; reconnecting and error with each phase that
  // fails, and connected while the connection that broke ends.
  EXPECT_EQ(places.size(), 1u + 3u + 3u + 2u + 7u + 7u);
  EXPECT_GT(worlds.size(), 100u);
  EXPECT_LT(worlds.size(), 5000u);
}

TEST(LifecycleWalk, a_stop_a_restart_and_a_shut_down_are_carried_out_from_every_state) {
  for (const World& world : reachable()) {
    if (world.over) continue;
    World stopped = world, restarted = world, shut_down = world;
    const bool final = [&] {
      World probe = world;
      step(probe, {"restart?", Lifecycle::RestartAsked{}});
      let_it_end(probe);
      return probe.over;
    }();
    step(shut_down, {"shutdown!", Lifecycle::ShutDownAsked{}});
    let_it_end(shut_down);
    EXPECT_TRUE(shut_down.over) << shut_down.path;
    if (final) continue;  // a shut-down was asked for before
    step(stopped, {"stop!", Lifecycle::StopAsked{}});
    let_it_end(stopped);
    EXPECT_EQ(stopped.life.state(), ServerState::kStopped) << stopped.path;
    EXPECT_TRUE(stopped.life.settled()) << stopped.path;
    step(restarted, {"restart!", Lifecycle::RestartAsked{}});
    let_it_end(restarted);
    EXPECT_TRUE(restarted.starting && !restarted.cancelled) << restarted.path;
    // And comes up.
    step(restarted, {"(started)", Lifecycle::StartEnded{}});
    step(restarted, {"(connected)", Lifecycle::Connected{}});
    EXPECT_TRUE(restarted.life.serving()) << restarted.path;
    EXPECT_TRUE(restarted.life.settled()) << restarted.path;
    EXPECT_FALSE(restarted.life.error()) << restarted.path;
  }
}

}  // namespace
}  // namespace mcpbox::hosting
