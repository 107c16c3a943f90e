#include "net/uninterrupted.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "net/wait.h"
#include "support/run_task.h"

namespace mcpbox::net {
namespace {

using namespace std::chrono_literals;
namespace this_coro = boost::asio::this_coro;

struct Uninterrupted : testing::Test {
  boost::asio::io_context loop;
  std::string did;  // what happened, a letter each

  Task<int> section(std::chrono::milliseconds time = 20ms) {
    did += 'a';
    co_await sleep_for(time);
    did += 'b';
    co_return 7;
  }
  Task<Result<int>> steps(Result<int> outcome, std::chrono::milliseconds time = 1ms) {
    did += 'a';
    co_await sleep_for(time);
    did += 'b';
    co_return outcome;
  }
  Task<void> undo() {
    did += 'u';
    co_await sleep_for(5ms);
    did += 'v';
  }
  auto undoing() {
    return [this](const Error&) { return undo(); };
  }
  auto begun() {
    return [this] { return !did.empty(); };
  }
};

TEST_F(Uninterrupted, returns_what_the_section_did) {
  auto body = [&]() -> Task<int> { co_return co_await uninterrupted(section()) + 1; };
  EXPECT_EQ(test::run_task(loop, body()), 8);
}

TEST_F(Uninterrupted, a_cancellation_waits_for_the_end_and_is_seen_then) {
  bool seen = false;
  auto body = [&]() -> Task<int> {
    const int out = co_await uninterrupted(section());
    seen = (co_await this_coro::cancellation_state).cancelled() != boost::asio::cancellation_type::none;
    co_await sleep_for(1h);
    co_return out;
  };
  EXPECT_FALSE(test::run_cancelled(loop, body(), begun()).has_value());
  EXPECT_EQ(did, "ab");
  EXPECT_TRUE(seen);
}

TEST_F(Uninterrupted, a_section_in_a_section_does_not_open_the_outer_one) {
  auto outer = [&]() -> Task<int> {
    (void)co_await uninterrupted(section());
    co_return co_await section();
  };
  auto body = [&]() -> Task<int> {
    (void)co_await uninterrupted(outer());
    co_return (co_await this_coro::cancellation_state).cancelled() != boost::asio::cancellation_type::none;
  };
  EXPECT_EQ(test::run_cancelled(loop, body(), begun()), 1);
  EXPECT_EQ(did, "abab");
}

TEST_F(Uninterrupted, after_it_waits_can_be_cancelled_again) {
  auto body = [&]() -> Task<int> {
    (void)co_await uninterrupted(section(1ms));
    co_await sleep_for(1h);
    co_return 1;
  };
  EXPECT_FALSE(test::run_cancelled(loop, body(), [&] { return did == "ab"; }).has_value());
}

TEST_F(Uninterrupted, an_exception_comes_out) {
  auto section = []() -> Task<int> {
    co_await sleep_for(1ms);
    throw std::runtime_error("broken");
  };
  auto body = [&]() -> Task<int> { co_return co_await uninterrupted(section()); };
  EXPECT_THROW(test::run_task(loop, body()), std::runtime_error);
}

TEST_F(Uninterrupted, what_is_done_is_not_undone) {
  auto body = [&]() -> Task<int> { co_return (co_await undone_unless_done(steps(3), undoing())).value_or(0); };
  EXPECT_EQ(test::run_task(loop, body()), 3);
  EXPECT_EQ(did, "ab");
}

TEST_F(Uninterrupted, what_failed_is_undone_and_its_error_stays) {
  auto body = [&]() -> Task<std::string> {
    auto out = co_await undone_unless_done(steps(fail(Code::kNotFound, "nothing there")), undoing());
    co_return out ? "done" : out.error().message();
  };
  EXPECT_EQ(test::run_task(loop, body()), "nothing there");
  EXPECT_EQ(did, "abuv");
}

TEST_F(Uninterrupted, what_is_cancelled_is_undone_to_the_end) {
  bool seen = false;
  auto body = [&]() -> Task<bool> {
    auto out = co_await undone_unless_done(steps(3, 1h), undoing());
    seen = (co_await this_coro::cancellation_state).cancelled() != boost::asio::cancellation_type::none;
    co_return !out && out.error().code() == Code::kCancelled;
  };
  EXPECT_EQ(test::run_cancelled(loop, body(), begun()), true);
  EXPECT_EQ(did, "auv");
  EXPECT_TRUE(seen) << "the caller's next wait would not end";
}

TEST_F(Uninterrupted, what_was_done_while_it_was_cancelled_is_undone) {
  auto body = [&]() -> Task<bool> {
    auto inner = [&]() -> Task<Result<int>> { co_return co_await uninterrupted(section()); };
    auto out = co_await undone_unless_done(inner(), undoing());
    co_return !out && out.error().code() == Code::kCancelled;
  };
  EXPECT_EQ(test::run_cancelled(loop, body(), begun()), true);
  EXPECT_EQ(did, "abuv");
}

TEST_F(Uninterrupted, what_threw_is_undone_and_throws) {
  auto broken = []() -> Task<Result<int>> {
    co_await sleep_for(1ms);
    throw std::runtime_error("broken");
  };
  auto body = [&]() -> Task<int> { co_return (co_await undone_unless_done(broken(), undoing())).value_or(0); };
  EXPECT_THROW(test::run_task(loop, body()), std::runtime_error);
  EXPECT_EQ(did, "uv");
}

}  // namespace
}  // namespace mcpbox::net
