// The builder of native sandboxes, with a script in the place of mcpbox-init.
#include <gmock/gmock.h>

#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <filesystem>

#include "box/native/builder.h"
#include "box/wire/build_spec.h"
#include "support/result_matcher.h"
#include "support/run_task.h"
#include "support/temp_tree.h"

namespace mcpbox::box {
namespace {

using test::fails;
using test::succeeds;

struct NativeBuilder : testing::Test {
  boost::asio::io_context loop;
  test::TempTree tree;

  // Answers that the sandbox is made, after a moment.
  std::string init() {
    wire::BuildReply reply;
    reply.made = true;
    wire::Encoder encoder;
    encoder(reply);
    tree.file("reply", encoder.take());
    tree.file("init",
              "#!/bin/sh\ncat <&3 >/dev/null\n: >'" + tree.path("begun") + "'\nsleep 0.2\n: >'" + tree.path("made") +
                  "'\ncat '" + tree.path("reply") + "' >&4\n",
              0755);
    return tree.path("init");
  }
  bool has(const char* name) { return std::filesystem::exists(tree.path(name)); }
};

TEST_F(NativeBuilder, ends_with_the_answer) {
  EXPECT_THAT(test::run_task(loop, run_builder(init(), {})), succeeds());
  EXPECT_TRUE(has("made"));
}

TEST_F(NativeBuilder, has_as_long_as_it_is_given_and_says_what_it_did_not_do) {
  tree.file("slow", "#!/bin/sh\nexec sleep 100\n", 0755);
  wire::BuildSpec removal;
  removal.sweep = {"/state/native/volumes/mcpbox-1-cache"};
  const auto removed = test::run_task(loop, run_builder(tree.path("slow"), removal, std::chrono::seconds(1)));
  EXPECT_THAT(removed, fails(Code::kTimeout, "did not remove /state/native/volumes/mcpbox-1-cache within 1 s"));
  const auto made = test::run_task(loop, run_builder(tree.path("slow"), {}, std::chrono::seconds(1)));
  EXPECT_THAT(made, fails(Code::kTimeout, "did not make the sandbox within 1 s"));
  EXPECT_GE(kSweepLimit, std::chrono::minutes(10));
}

TEST_F(NativeBuilder, a_removal_that_fails_is_called_one) {
  wire::BuildReply reply;
  reply.error = wire::make_error(Code::kInternal, "look at the tree", "no");
  wire::Encoder encoder;
  encoder(reply);
  tree.file("reply", encoder.take());
  tree.file("init", "#!/bin/sh\ncat <&3 >/dev/null\ncat '" + tree.path("reply") + "' >&4\n", 0755);
  wire::BuildSpec removal;
  removal.sweep = {"/x"};
  EXPECT_THAT(test::run_task(loop, run_builder(tree.path("init"), removal)),
              fails(Code::kInternal, "could not remove /x"));
}

// `mcpbox stop` while a sandbox is built must not be lost: TaskGroup::stop cancels once.
TEST_F(NativeBuilder, a_cancellation_waits_for_the_builder_and_is_seen_then) {
  std::optional<bool> cancelled;
  auto body = [&]() -> Task<bool> {
    const auto built = co_await run_builder(init(), {});
    const auto state = co_await boost::asio::this_coro::cancellation_state;
    cancelled = state.cancelled() != boost::asio::cancellation_type::none;
    co_return built.has_value();
  };
  EXPECT_EQ(test::run_cancelled(loop, body(), [&] { return has("begun"); }), true);
  EXPECT_TRUE(has("made"));
  EXPECT_EQ(cancelled, true) << "the start would go on";
}

}  // namespace
}  // namespace mcpbox::box
