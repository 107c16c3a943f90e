// The relay over real pipes, with the client and the server in threads.
#include "app/compose/stdio_relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>

#include <atomic>
#include <thread>

#include "support/pipe_pair.h"

namespace mcpbox::app {
namespace {

using testing::HasSubstr;

void put(const UniqueFd& fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t size = ::write(fd.get(), text.data(), text.size());
    if (size <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(size));
  }
}

std::string read_some(const UniqueFd& fd, std::size_t most = 65536) {
  std::string out(most, '\0');
  const ssize_t size = ::read(fd.get(), out.data(), most);
  out.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  return out;
}

std::string read_to_end(const UniqueFd& fd) {
  std::string out;
  for (std::string piece = read_some(fd); !piece.empty(); piece = read_some(fd)) out += piece;
  return out;
}

std::string read_line(const UniqueFd& fd) {
  std::string out;
  char byte;
  while (::read(fd.get(), &byte, 1) == 1) {
    if (byte == '\n') return out;
    out += byte;
  }
  return out;
}

// Reads ahead: for many or long lines.
class Lines {
 public:
  explicit Lines(const UniqueFd& fd) : fd_(fd) {}
  std::string next() {
    for (std::size_t from = 0;;) {
      if (const std::size_t end = buffer_.find('\n', from); end != std::string::npos) {
        std::string line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return line;
      }
      from = buffer_.size();
      const std::string piece = read_some(fd_);
      if (piece.empty()) return {};
      buffer_ += piece;
    }
  }

 private:
  const UniqueFd& fd_;
  std::string buffer_;
};

std::string request(int id) {
  return R"({"jsonrpc":"2.0","id":)" + std::to_string(id) + R"(,"method":"tools/call"})" + "\n";
}
std::string reply(int id, const std::string& text = "ok") {
  return R"({"jsonrpc":"2.0","id":)" + std::to_string(id) + R"(,"result":{"text":")" + text + R"("}})" + "\n";
}

std::size_t resident_bytes() {
  FILE* file = ::fopen("/proc/self/statm", "r");
  unsigned long total = 0, resident = 0;
  const int read = ::fscanf(file, "%lu %lu", &total, &resident);
  ::fclose(file);
  return read == 2 ? resident * 4096 : 0;
}

struct StdioRelayTest : testing::Test {
  // The relay's ends and ours.
  test::PipePair client_in, client_out, log, server_in, server_out, server_err;
  std::atomic<int> closed = 0, gone = 0;
  std::unique_ptr<StdioRelay> relay;
  std::thread thread;
  std::atomic<bool> done = false;

  void SetUp() override { ::signal(SIGPIPE, SIG_IGN); }
  void TearDown() override {
    if (relay) relay->abandon();
    if (thread.joinable()) thread.join();
  }
  RelayEnds ends() {
    RelayEnds out;
    auto in = nonblocking_view(client_in.read.get(), false);
    auto to = nonblocking_view(client_out.write.get(), true);
    auto err = nonblocking_view(log.write.get(), true);
    EXPECT_TRUE(in && to && err);
    out.client_in = std::move(*in);
    out.client_out = std::move(*to);
    out.log = std::move(*err);
    client_in.read.reset();
    client_out.write.reset();
    log.write.reset();
    out.server_in = std::move(server_in.write);
    out.server_out = std::move(server_out.read);
    out.server_err = std::move(server_err.read);
    return out;
  }
  void start() { start(ends()); }
  void start(RelayEnds all) {
    relay = std::make_unique<StdioRelay>(std::move(all), StdioRelay::Events{[this] { ++closed; }, [this] { ++gone; }});
    thread = std::thread([this] {
      relay->run();
      done = true;
    });
  }
  void server_ends() {
    server_in.read.reset();
    server_out.write.reset();
    server_err.write.reset();
  }
};

TEST_F(StdioRelayTest, passes_messages_both_ways_and_keeps_noise_from_the_client) {
  start();
  put(client_in.write, request(1));
  EXPECT_EQ(read_line(server_in.read) + "\n", request(1));
  put(server_out.write, "starting up...\n" + reply(1));
  EXPECT_EQ(read_line(client_out.read) + "\n", reply(1));
  EXPECT_EQ(read_line(log.read), "starting up...");
  put(server_err.write, "warning\n");
  EXPECT_EQ(read_line(log.read), "warning");
}

TEST_F(StdioRelayTest, requests_in_flight_are_answered_when_the_server_dies) {
  start();
  put(client_in.write, request(1) + request(2) + request(3));
  for (int i = 0; i < 3; ++i) read_line(server_in.read);
  put(server_out.write, reply(2));
  EXPECT_EQ(read_line(client_out.read) + "\n", reply(2));
  server_ends();
  thread.join();
  relay->fail_pending("killed by SIGKILL");
  relay.reset();
  const std::string rest = read_to_end(client_out.read);
  EXPECT_THAT(rest, HasSubstr("\"id\":1"));
  EXPECT_THAT(rest, HasSubstr("\"id\":3"));
  EXPECT_THAT(rest, Not(HasSubstr("\"id\":2")));
  EXPECT_THAT(rest, HasSubstr("killed by SIGKILL"));
}

TEST_F(StdioRelayTest, the_end_of_the_clients_input_reaches_the_server_after_everything_before_it) {
  start();
  std::string sent;
  for (int i = 0; i < 5000; ++i) sent += request(i);
  std::thread writer([&] {
    put(client_in.write, sent);
    client_in.write.reset();
  });
  EXPECT_EQ(read_to_end(server_in.read), sent);
  writer.join();
  // The server may still answer.
  put(server_out.write, reply(7));
  EXPECT_EQ(read_line(client_out.read) + "\n", reply(7));
  server_ends();
  thread.join();
  EXPECT_EQ(closed, 1);
  EXPECT_EQ(gone, 0);
}

TEST_F(StdioRelayTest, a_client_that_closes_its_pipe_is_noticed_without_a_write) {
  start();
  client_out.read.reset();
  while (gone == 0) std::this_thread::yield();
  server_ends();
  thread.join();
  EXPECT_EQ(gone, 1);
}

TEST_F(StdioRelayTest, a_client_on_a_socket_that_goes_away_is_noticed_without_a_write) {
  test::SocketPair sockets;
  auto all = ends();
  auto in = nonblocking_view(sockets.ours.get(), false);
  auto out = nonblocking_view(sockets.ours.get(), true);
  ASSERT_TRUE(in && out);
  all.client_in = std::move(*in);
  all.client_out = std::move(*out);
  sockets.ours.reset();
  start(std::move(all));
  put(sockets.theirs, request(1));
  EXPECT_EQ(read_line(server_in.read) + "\n", request(1));
  sockets.theirs.reset();
  while (gone == 0) std::this_thread::yield();
  server_ends();
  thread.join();
  EXPECT_EQ(gone, 1);
}

TEST_F(StdioRelayTest, a_half_closed_socket_still_gets_its_answers) {
  test::SocketPair sockets;
  auto all = ends();
  auto in = nonblocking_view(sockets.ours.get(), false);
  auto out = nonblocking_view(sockets.ours.get(), true);
  ASSERT_TRUE(in && out);
  all.client_in = std::move(*in);
  all.client_out = std::move(*out);
  sockets.ours.reset();
  start(std::move(all));
  put(sockets.theirs, request(1));
  ::shutdown(sockets.theirs.get(), SHUT_WR);
  EXPECT_EQ(read_to_end(server_in.read), request(1));
  put(server_out.write, reply(1));
  EXPECT_EQ(read_line(sockets.theirs) + "\n", reply(1));
  server_ends();
  thread.join();
  EXPECT_EQ(closed, 1);
  EXPECT_EQ(gone, 0);
}

TEST_F(StdioRelayTest, both_directions_full_at_once_do_not_deadlock) {
  start();
  // The server answers each request with a larger message before it reads on; the client reads only when it wrote all.
  constexpr int kCount = 200;
  const std::string big(100'000, 'y');
  std::thread server([&] {
    Lines lines(server_in.read);
    for (int i = 0; i < kCount; ++i) {
      if (lines.next().empty()) return;
      put(server_out.write, reply(i, big));
    }
  });
  std::thread writer([&] {
    for (int i = 0; i < kCount; ++i) put(client_in.write, request(i));
  });
  std::size_t total = 0;
  Lines answers(client_out.read);
  for (int i = 0; i < kCount; ++i) total += answers.next().size();
  EXPECT_GT(total, kCount * big.size());
  server.join();
  writer.join();
}

TEST_F(StdioRelayTest, a_reader_that_is_slow_stops_the_server_and_not_the_memory) {
  start();
  const std::string line = reply(1, std::string(60'000, 'm'));
  const std::size_t before = resident_bytes();
  std::atomic<std::size_t> written = 0;
  // 300 MiB at a client that does not read.
  std::thread server([&] {
    for (int i = 0; i < 5000; ++i) {
      put(server_out.write, line);
      written += line.size();
    }
    server_ends();
  });
  // The server stands still once every buffer is full: two looks without progress.
  for (std::size_t last = 1, now = 0; last != now || now == 0;) {
    last = written;
    pollfd none{-1, 0, 0};
    ::poll(&none, 1, 200);
    now = written;
  }
  EXPECT_LT(written, 8u << 20);
  EXPECT_LT(resident_bytes(), before + (64u << 20));
  std::size_t total = 0;
  for (std::string piece = read_some(client_out.read); !piece.empty(); piece = read_some(client_out.read)) {
    total += piece.size();
    if (total == 5000 * line.size()) break;
  }
  EXPECT_EQ(total, 5000 * line.size());
  server.join();
  thread.join();
}

TEST_F(StdioRelayTest, a_line_of_nearly_16_MiB_passes_and_a_longer_one_becomes_an_error) {
  start();
  const std::string fits = reply(1, std::string((16u << 20) - 1000, 'f'));
  const std::string too_long = reply(2, std::string((16u << 20) + 1000, 't'));
  put(client_in.write, request(1) + request(2));
  std::thread drain([&] { (void)read_to_end(log.read); });
  std::thread server([&] {
    put(server_out.write, fits);
    put(server_out.write, too_long);
  });
  Lines answers(client_out.read);
  EXPECT_EQ(answers.next().size() + 1, fits.size());
  const std::string second = answers.next();
  EXPECT_THAT(second.substr(0, 300), HasSubstr("error"));
  EXPECT_LT(second.size(), 2000u);
  server.join();
  server_ends();
  thread.join();
  relay.reset();
  drain.join();
}

TEST_F(StdioRelayTest, a_server_that_closes_its_stdin_goes_on_answering) {
  start();
  server_in.read.reset();
  for (int i = 0; i < 100; ++i) put(client_in.write, request(i) + std::string(100'000, ' ') + "\n");
  put(server_out.write, reply(1));
  EXPECT_EQ(read_line(client_out.read) + "\n", reply(1));
}

TEST_F(StdioRelayTest, abandon_ends_it_from_another_thread) {
  start();
  relay->abandon();
  thread.join();
  EXPECT_TRUE(done);
}

TEST_F(StdioRelayTest, the_servers_last_words_reach_a_log_that_is_read_late) {
  start();
  const std::string words(200'000, 'w');  // more than the pipe holds
  put(server_err.write, words);
  server_ends();
  std::thread reader;
  std::string read;
  reader = std::thread([&] { read = read_to_end(log.read); });
  thread.join();
  relay.reset();
  reader.join();
  EXPECT_EQ(read.size(), words.size());
}

TEST(NonblockingView, leaves_the_callers_pipe_as_it_is) {
  test::PipePair pipe;
  const auto view = nonblocking_view(pipe.read.get(), false);
  ASSERT_TRUE(view);
  EXPECT_NE(::fcntl(view->get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(::fcntl(pipe.read.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_FALSE(nonblocking_view(-1, false));
}

}  // namespace
}  // namespace mcpbox::app
