// Who gets the look-ups that run and the queue of the resolver when somebody wants them all.
#include "egress/proxy/resolver.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <utility>

#include "net/wait.h"
#include "support/run_task.h"

namespace mcpbox::egress {
namespace {

using testing::ElementsAre;

// Names that begin with "silent" have no answer before let_go().
struct ResolverTest : testing::Test {
  boost::asio::io_context loop;
  ResolverOptions options;
  net::Signal go{loop.get_executor()};
  std::vector<std::string> begun, ended;  // look-ups
  std::unique_ptr<Resolver> resolver;
  unsigned answers = 0;

  ResolverTest() {
    options.lookup = [this](std::string name) -> Task<Result<std::vector<IpAddress>>> {
      begun.push_back(name);
      struct End {
        std::vector<std::string>& list;
        std::string name;
        ~End() { list.push_back(name); }
      } end{ended, name};
      if (name.starts_with("silent")) co_await go.wait();
      co_return std::vector{*IpAddress::parse("192.0.2.1")};
    };
  }
  ~ResolverTest() override {
    resolver.reset();
    settle();
  }
  void settle() {
    loop.restart();
    loop.poll();
  }
  void let_go() {
    go.notify();
    settle();
  }
  Result<std::vector<IpAddress>> ask(const std::string& name, const std::string& asker) {
    return test::run_task(loop, resolver->resolve(name, asker), std::chrono::seconds(20));
  }
  void make() { resolver = std::make_unique<Resolver>(loop.get_executor(), options); }
  // Without waiting for the answer.
  void begin(const std::string& name, const std::string& asker) {
    boost::asio::co_spawn(loop, resolver->resolve(name, asker), [this](std::exception_ptr, auto) { ++answers; });
    settle();
  }
};

TEST_F(ResolverTest, remembered_answers_take_nobodys_place) {
  options.max_pending = 4;
  options.max_remembered = 8;
  make();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(ask("n" + std::to_string(i), "one")) << i;
  EXPECT_EQ(begun.size(), 100u);
  ASSERT_TRUE(ask("n99", "other"));
  EXPECT_EQ(begun.size(), 100u);
  ASSERT_TRUE(ask("n0", "other"));  // the oldest is forgotten
  EXPECT_EQ(begun.size(), 101u);
}

TEST_F(ResolverTest, one_asker_of_names_that_nobody_answers_leaves_places_to_others) {
  make();
  for (int i = 0; i < 20; ++i) begin("silent" + std::to_string(i), "one");
  EXPECT_EQ(begun.size(), options.max_running_of_one);
  EXPECT_TRUE(ask("a", "other"));
  for (int i = 0; i < 5; ++i) let_go();
  EXPECT_EQ(answers, 20u);
}

TEST_F(ResolverTest, one_asker_fills_no_more_than_its_share_of_the_queue) {
  options.max_pending_of_one = 5;
  make();
  for (int i = 0; i < 5; ++i) begin("silent" + std::to_string(i), "one");
  EXPECT_EQ(ask("a", "one").error().code(), Code::kResourceExhausted);
  EXPECT_TRUE(ask("a", "other"));
  EXPECT_TRUE(ask("a", "one"));  // remembered
}

// With every place of the look-ups and of the queue taken.
TEST_F(ResolverTest, Attack_names_of_many_hostile_servers_keep_nobody_from_looking_up_one) {
  options.max_pending = 64;
  options.max_running = 8;
  make();
  for (int server = 0; server < 7; ++server) {
    for (int i = 0; i < 40; ++i) begin(fmt::format("silent{}-{}", server, i), fmt::format("hostile{}", server));
  }
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(ask(fmt::format("a{}", i), "other")) << i;
}

TEST_F(ResolverTest, a_name_that_gave_its_place_away_is_looked_up_again) {
  options.max_running = 2;
  make();
  begin("silent1", "one");
  begin("silent2", "one");
  begin("silent3", "other");
  EXPECT_THAT(begun, ElementsAre("silent1", "silent2", "silent3"));
  EXPECT_THAT(ended, ElementsAre("silent1")) << "the oldest of who has two";
  let_go();
  EXPECT_EQ(answers, 2u);
  EXPECT_THAT(begun, ElementsAre("silent1", "silent2", "silent3", "silent1"));
  let_go();
  EXPECT_EQ(answers, 3u);
}

TEST_F(ResolverTest, a_name_that_waits_for_one_asker_is_looked_up_for_another) {
  options.max_running_of_one = 2;
  make();
  begin("silent1", "one");
  begin("silent2", "one");
  begin("a", "one");
  EXPECT_EQ(begun.size(), 2u);
  EXPECT_TRUE(ask("a", "other"));
}

TEST_F(ResolverTest, a_free_place_goes_to_who_has_none) {
  options.max_running = 2;
  make();
  begin("silent1", "one");
  begin("silent2", "two");
  begin("silent3", "one");
  begin("silent4", "two");
  begin("a", "other");
  EXPECT_EQ(begun.size(), 2u);
  for (int i = 0; i < 3; ++i) let_go();
  ASSERT_EQ(begun.size(), 5u);
  EXPECT_EQ(begun[2], "a");
}

TEST_F(ResolverTest, a_look_up_that_nobody_waits_for_any_more_is_given_up) {
  options.timeout = std::chrono::milliseconds(20);
  options.max_pending_of_one = 4;
  options.max_running_of_one = 2;
  make();
  for (int i = 0; i < 4; ++i) begin("silent" + std::to_string(i), "one");
  loop.restart();
  loop.run_for(std::chrono::seconds(20));
  EXPECT_EQ(answers, 4u);
  EXPECT_EQ(ended, begun);
  EXPECT_EQ(ask("silent9", "one").error().code(), Code::kTimeout);  // there is room in its queue again
}

TEST_F(ResolverTest, ends_its_look_ups_with_itself) {
  make();
  begin("silent1", "one");
  resolver.reset();
  settle();
  EXPECT_THAT(ended, ElementsAre("silent1"));
}

}  // namespace
}  // namespace mcpbox::egress
