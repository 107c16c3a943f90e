// Who gets the threads and the queue of the resolver when somebody wants them all.
#include "egress/proxy/resolver.h"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <future>
#include <memory>
#include <mutex>
#include <utility>

#include "support/run_task.h"

namespace mcpbox::egress {
namespace {

struct ResolverTest : testing::Test {
  boost::asio::io_context loop;
  ResolverOptions options;
  std::promise<void> go;  // what "silent" names wait for
  std::atomic<unsigned> silent{0};
  std::atomic<unsigned> looked_up{0};
  std::unique_ptr<Resolver> resolver;
  unsigned answers = 0;

  ResolverTest() {
    options.lookup = [this, wait = go.get_future().share()](const std::string& name) -> Result<std::vector<IpAddress>> {
      ++looked_up;
      if (name.starts_with("silent")) {
        ++silent;
        wait.wait();
      }
      return std::vector{*IpAddress::parse("192.0.2.1")};
    };
  }
  ~ResolverTest() override {
    let_go();
    resolver.reset();
  }
  void let_go() {
    if (!std::exchange(gone_, true)) go.set_value();
  }
  Result<std::vector<IpAddress>> ask(const std::string& name, const std::string& asker) {
    return test::run_task(loop, resolver->resolve(name, asker), std::chrono::seconds(20));
  }
  void make() { resolver = std::make_unique<Resolver>(loop.get_executor(), options); }
  // Without waiting for the answer.
  void begin(const std::string& name, const std::string& asker) {
    boost::asio::co_spawn(loop, resolver->resolve(name, asker), [this](std::exception_ptr, auto) { ++answers; });
    loop.restart();
    loop.run_for(std::chrono::milliseconds(1));
  }

 private:
  bool gone_ = false;
};

TEST_F(ResolverTest, remembered_answers_take_nobodys_place) {
  options.max_pending = 4;
  options.max_remembered = 8;
  make();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(ask("n" + std::to_string(i), "one")) << i;
  EXPECT_EQ(looked_up, 100u);
  ASSERT_TRUE(ask("n99", "other"));
  EXPECT_EQ(looked_up, 100u);
  ASSERT_TRUE(ask("n0", "other"));  // the oldest is forgotten
  EXPECT_EQ(looked_up, 101u);
}

TEST_F(ResolverTest, one_asker_of_names_that_nobody_answers_leaves_threads_to_others) {
  make();
  for (int i = 0; i < 20; ++i) begin("silent" + std::to_string(i), "one");
  EXPECT_TRUE(ask("a", "other"));
  EXPECT_EQ(silent, 2u);
  let_go();
  loop.restart();
  loop.run_for(std::chrono::seconds(5));
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

TEST_F(ResolverTest, a_name_that_waits_for_one_asker_is_looked_up_for_another) {
  make();
  begin("silent1", "one");
  begin("silent2", "one");
  begin("a", "one");
  EXPECT_EQ(looked_up, 2u);
  EXPECT_TRUE(ask("a", "other"));
}

TEST_F(ResolverTest, a_free_thread_goes_to_who_has_none) {
  options.threads = 2;
  std::mutex mutex;
  std::vector<std::string> order;
  options.lookup = [&, inner = options.lookup](const std::string& name) {
    {
      const std::lock_guard lock(mutex);
      order.push_back(name);
    }
    return inner(name);
  };
  make();
  begin("silent1", "one");
  begin("silent2", "two");
  begin("silent3", "one");
  begin("silent4", "two");
  begin("a", "other");
  EXPECT_EQ(looked_up, 2u);
  let_go();
  loop.restart();
  loop.run_for(std::chrono::seconds(5));
  ASSERT_EQ(order.size(), 5u);
  EXPECT_EQ(order[2], "a");
}

TEST_F(ResolverTest, a_name_that_nobody_waits_for_any_more_is_not_looked_up) {
  options.timeout = std::chrono::milliseconds(20);
  options.max_pending_of_one = 4;
  make();
  for (int i = 0; i < 4; ++i) begin("silent" + std::to_string(i), "one");
  loop.restart();
  loop.run_for(std::chrono::seconds(1));
  EXPECT_EQ(answers, 4u);
  EXPECT_EQ(silent, 2u);
  EXPECT_EQ(ask("silent9", "one").error().code(), Code::kTimeout);  // there is room in its queue again
}

}  // namespace
}  // namespace mcpbox::egress
