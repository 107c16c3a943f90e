#include "channel/pipe_channel.h"

#include <gmock/gmock.h>
#include <signal.h>

#include <memory>
#include <thread>

#include "net/wait.h"
#include "support/pipe_pair.h"
#include "support/run_task.h"

namespace mcpbox::channel {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct PipeChannelTest : testing::Test {
  boost::asio::io_context loop;
  test::PipePair down, up;  // down: we write; up: the peer writes
  std::unique_ptr<PipeChannel> channel;

  void SetUp() override { ::signal(SIGPIPE, SIG_IGN); }
  void open(std::size_t max_message = PipeChannel::kMaxMessage) {
    channel =
        std::make_unique<PipeChannel>(loop.get_executor(), std::move(down.write), std::move(up.read), max_message);
  }
  void peer_writes(std::string_view bytes) {
    ASSERT_EQ(::write(up.write.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  // What comes, in words, until the end.
  std::vector<std::string> all() {
    return test::run_task(loop, [](PipeChannel& from) -> Task<std::vector<std::string>> {
      std::vector<std::string> out;
      for (;;) {
        auto got = co_await from.receive();
        if (const auto* message = std::get_if<Message>(&got)) out.emplace_back(message->text);
        if (const auto* dropped = std::get_if<TooLong>(&got)) {
          out.push_back("too long: " + dropped->head + "…" + dropped->tail + " " + std::to_string(dropped->length));
        }
        if (std::holds_alternative<Closed>(got)) co_return out;
      }
    }(*channel));
  }
};

TEST_F(PipeChannelTest, tells_of_blank_lines_by_the_thousand) {
  open();
  peer_writes(std::string(3000, '\n') + "{}\n" + std::string(100, '\n'));
  up.write.reset();
  std::size_t blank = 0;
  unsigned told = 0;
  test::run_task(loop, [&](PipeChannel& from) -> Task<int> {
    for (;;) {
      auto got = co_await from.receive();
      if (const auto* lines = std::get_if<Blank>(&got)) blank += lines->lines, ++told;
      if (std::holds_alternative<Closed>(got)) co_return 0;
    }
  }(*channel));
  EXPECT_EQ(blank, 3100u);
  EXPECT_EQ(told, 1u);
}

TEST_F(PipeChannelTest, hands_out_each_line_however_the_bytes_are_cut) {
  const std::string text = "{\"a\":1}\r\n\n{\"b\":\"\xC3\xA4\"}\n{\"c\":3}";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    down = test::PipePair();
    up = test::PipePair();
    open();
    std::thread peer([&] {
      peer_writes(text.substr(0, cut));
      std::this_thread::yield();
      peer_writes(text.substr(cut));
      up.write.reset();
    });
    EXPECT_THAT(all(), ElementsAre("{\"a\":1}", "{\"b\":\"\xC3\xA4\"}", "{\"c\":3}")) << cut;
    peer.join();
  }
}

TEST_F(PipeChannelTest, drops_a_message_over_the_limit_and_goes_on_behind_it) {
  open(8);
  peer_writes("12345678\n123456789\nx\n");
  up.write.reset();
  EXPECT_THAT(all(), ElementsAre("12345678", "too long: 123456789…123456789 9", "x"));
}

TEST_F(PipeChannelTest, says_closed_again_and_again_after_the_end) {
  open();
  up.write.reset();
  EXPECT_TRUE(all().empty());
  EXPECT_TRUE(all().empty());
}

TEST_F(PipeChannelTest, sends_a_line_and_the_end_of_input) {
  open();
  EXPECT_TRUE(test::run_task(loop, channel->send("{\"x\":1}")));
  channel->close_write();
  char bytes[32];
  EXPECT_EQ(::read(down.read.get(), bytes, sizeof bytes), 8);
  EXPECT_EQ(std::string_view(bytes, 8), "{\"x\":1}\n");
  EXPECT_EQ(::read(down.read.get(), bytes, sizeof bytes), 0);
  auto refused = test::run_task(loop, channel->send("{}"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kUnavailable);
}

TEST_F(PipeChannelTest, fails_to_send_to_a_peer_that_closed_its_input_and_still_receives) {
  open();
  down.read.reset();
  EXPECT_FALSE(test::run_task(loop, channel->send("{}")));
  peer_writes("late\n");
  up.write.reset();
  EXPECT_THAT(all(), ElementsAre("late"));
}

TEST_F(PipeChannelTest, a_send_waits_for_a_peer_that_does_not_read_and_ends_with_close_write) {
  open();
  bool sending = false, ended = false;
  auto send = [](PipeChannel& to, bool& begun, bool& done) -> Task<int> {
    begun = true;
    const std::string big(1u << 20, 'x');
    auto sent = co_await to.send(big);
    EXPECT_FALSE(sent);
    done = true;
    co_return 0;
  };
  boost::asio::co_spawn(loop, send(*channel, sending, ended), [](std::exception_ptr, int) {});
  loop.run_for(std::chrono::milliseconds(50));
  EXPECT_TRUE(sending);
  EXPECT_FALSE(ended);
  channel->close_write();
  loop.restart();
  loop.run_for(std::chrono::seconds(20));
  EXPECT_TRUE(ended);
}

TEST_F(PipeChannelTest, a_cancelled_receive_loses_nothing) {
  open();
  bool waiting = false;
  auto receive = [](PipeChannel& from, bool& begun) -> Task<int> {
    begun = true;
    (void)co_await from.receive();
    co_return 0;
  };
  (void)test::run_cancelled(loop, receive(*channel, waiting), [&] { return waiting; });
  peer_writes("kept\n");
  up.write.reset();
  EXPECT_THAT(all(), ElementsAre("kept"));
}

TEST_F(PipeChannelTest, close_ends_a_receive_that_waits) {
  open();
  boost::asio::co_spawn(
      loop,
      [](PipeChannel& one) -> Task<int> {
        co_await net::sleep_for(std::chrono::milliseconds(10));
        co_await one.close();
        co_return 0;
      }(*channel),
      [](std::exception_ptr, int) {});
  EXPECT_TRUE(all().empty());
}

}  // namespace
}  // namespace mcpbox::channel
