// The loop with a scripted peer in a thread, over real pipes.
#include "hosting/session_loop.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>

#include <atomic>
#include <boost/asio/post.hpp>
#include <functional>
#include <future>
#include <thread>

#include "channel/pipe_channel.h"
#include "hosting/stderr_reader.h"
#include "support/pipe_pair.h"
#include "support/run_task.h"

namespace mcpbox::hosting {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

// The server's side: blocking reads of lines and writes.
class Peer {
 public:
  Peer(UniqueFd in, UniqueFd out, UniqueFd err) : in_(std::move(in)), out_(std::move(out)), err_(std::move(err)) {}

  // Empty at end of input.
  std::string line() {
    for (;;) {
      if (const std::size_t end = buffer_.find('\n'); end != std::string::npos) {
        std::string found = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return found;
      }
      char bytes[4096];
      const ssize_t size = ::read(in_.get(), bytes, sizeof bytes);
      if (size <= 0) return {};
      buffer_.append(bytes, static_cast<std::size_t>(size));
    }
  }
  void write(const std::string& text) { put(out_.get(), text); }
  void complain(const std::string& text) { put(err_.get(), text); }
  void close_input() { in_.reset(); }
  // Writes `text` again and again until nobody has taken a byte for `patience`, or `limit` bytes are written: how many.
  std::size_t flood(const std::string& text, std::size_t limit, milliseconds patience) {
    ::fcntl(out_.get(), F_SETFL, O_NONBLOCK);
    std::size_t written = 0;
    while (written < limit) {
      pollfd polled{out_.get(), POLLOUT, 0};
      if (::poll(&polled, 1, static_cast<int>(patience.count())) != 1 || (polled.revents & POLLERR) != 0) break;
      const std::size_t at = written % text.size();
      const ssize_t size = ::write(out_.get(), text.data() + at, text.size() - at);
      if (size > 0) written += static_cast<std::size_t>(size);
    }
    ::fcntl(out_.get(), F_SETFL, 0);
    return written;
  }
  void wait_until_nobody_reads() {
    pollfd polled{out_.get(), 0, 0};
    ::poll(&polled, 1, 60'000);
  }

  static std::string id_of(const std::string& line) {
    const std::size_t at = line.find("\"id\":");
    return at == std::string::npos ? "" : line.substr(at + 5, line.find_first_of(",}", at) - at - 5);
  }
  void answer(const std::string& request, const std::string& result) {
    write(R"({"jsonrpc":"2.0","id":)" + id_of(request) + R"(,"result":)" + result + "}\n");
  }
  // initialize, initialized, tools/list.
  bool shake_hands() {
    for (;;) {
      const std::string request = line();
      if (request.empty()) return false;
      if (request.find("\"initialize\"") != std::string::npos) {
        answer(request, R"({"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"peer",)"
                        R"("version":"1"}})");
      } else if (request.find("tools/list") != std::string::npos) {
        answer(request, R"({"tools":[{"name":"echo","inputSchema":{"type":"object"}}]})");
        return true;
      }
    }
  }

 private:
  static void put(int fd, std::string_view text) {
    while (!text.empty()) {
      const ssize_t size = ::write(fd, text.data(), text.size());
      if (size <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(size));
    }
  }
  UniqueFd in_, out_, err_;
  std::string buffer_;
};

// The loop, and the reading of stderr beside it.
class OverPipes {
 public:
  OverPipes(boost::asio::any_io_executor executor, boost::asio::thread_pool& pool, UniqueFd in, UniqueFd out,
            UniqueFd err, mcp::SessionOptions options, provision::ServerLog& log)
      : executor_(executor),
        err_(std::move(err)),
        log_(log),
        loop_(executor, pool, std::make_unique<channel::PipeChannel>(executor, std::move(in), std::move(out)),
              std::move(options), log),
        tasks_(executor, "stderr") {}

  void start(std::function<void()> on_change) {
    on_change_ = std::move(on_change);
    tasks_.spawn("stderr", read_errors());
    loop_.start(on_change_);
  }
  Task<void> stop(Error reason) {
    co_await loop_.stop(std::move(reason));
    co_await tasks_.stop();
  }
  const mcp::ClientSession& session() const { return loop_.session(); }
  bool output_ended() const { return loop_.output_ended(); }
  bool input_broken() const { return loop_.input_broken(); }
  bool drained() const { return output_ended() && errors_ended_; }
  Task<Result<Answer>> call(std::string method, std::string params, std::chrono::milliseconds timeout) {
    return loop_.call(std::move(method), *json::RawObject::parse(params), timeout);
  }

 private:
  Task<void> read_errors() {
    co_await read_stderr(executor_, std::move(err_), log_);
    errors_ended_ = true;
    on_change_();
  }

  boost::asio::any_io_executor executor_;
  UniqueFd err_;
  provision::ServerLog& log_;
  SessionLoop loop_;
  std::function<void()> on_change_;
  bool errors_ended_ = false;
  net::TaskGroup tasks_;
};

struct SessionLoopTest : testing::Test {
  boost::asio::io_context loop;
  boost::asio::thread_pool pool{1};
  provision::ServerLog log{loop.get_executor(), Redactor{}};
  std::thread peer;
  std::unique_ptr<OverPipes> driver;
  std::unique_ptr<net::Signal> changed;
  int changes = 0;
  mcp::SessionOptions options;

  void SetUp() override { ::signal(SIGPIPE, SIG_IGN); }
  void TearDown() override {
    driver.reset();
    if (peer.joinable()) peer.join();
  }
  void start(std::function<void(Peer&)> script) {
    test::PipePair in, out, err;
    peer = std::thread([script = std::move(script), p = Peer(std::move(in.read), std::move(out.write),
                                                             std::move(err.write))]() mutable { script(p); });
    changed = std::make_unique<net::Signal>(loop.get_executor());
    driver = std::make_unique<OverPipes>(loop.get_executor(), pool, std::move(in.write), std::move(out.read),
                                         std::move(err.read), options, log);
    driver->start([this] {
      ++changes;
      changed->notify();
    });
  }
  Task<bool> until(std::function<bool()> condition) {
    const auto deadline = std::chrono::steady_clock::now() + seconds(30);
    while (!condition() && std::chrono::steady_clock::now() < deadline) (void)co_await changed->wait_until(deadline);
    co_return condition();
  }
  Task<bool> ready() {
    return until([this] { return driver->session().tools_known(); });
  }
  // How many bytes are read of a peer that writes `text` again and again for 0.7 s.
  std::size_t taken_of_a_flood(const std::string& text) {
    std::size_t taken = 0;
    start([&](Peer& p) {
      if (!p.shake_hands()) return;
      const auto began = std::chrono::steady_clock::now();
      while (std::chrono::steady_clock::now() - began < milliseconds(700))
        taken += p.flood(text, 64u << 10, milliseconds(20));
    });
    auto body = [this]() -> Task<int> {
      EXPECT_TRUE(co_await ready());
      EXPECT_TRUE(co_await until([this] { return driver->output_ended(); }));
      co_return co_await stopped();
    };
    test::run_task(loop, body());
    peer.join();
    return taken;
  }
  Task<int> stopped(std::string why = "stopped by the test") {
    co_await driver->stop(Error(Code::kUnavailable, std::move(why)));
    co_return 0;
  }
  std::string log_text() {
    std::string out;
    for (const provision::LogLine& line : log.since(0)) out += line.text + "|";
    return out;
  }
};

TEST_F(SessionLoopTest, what_stands_beside_an_answer_in_a_batch_is_nothing_that_was_asked_for) {
  start([](Peer& p) {
    if (!p.shake_hands()) return;
    const std::string junk =
        R"({"jsonrpc":"2.0","method":"notifications/message","params":{"data":")" + std::string(1u << 20, 'x') + "\"}}";
    for (;;) {
      const std::string request = p.line();
      if (request.empty()) return;
      if (request.find("tools/call") == std::string::npos) continue;
      p.write(R"([{"jsonrpc":"2.0","id":)" + Peer::id_of(request) + R"(,"result":{}},)" + junk + "]\n");
    }
  });
  auto body = [this]() -> Task<int> {
    EXPECT_TRUE(co_await ready());
    const auto began = std::chrono::steady_clock::now();
    // 4 MiB at once, the rest at 2 MiB a second.
    for (int i = 0; i < 8; ++i) EXPECT_TRUE(co_await driver->call("tools/call", "{}", seconds(20)));
    EXPECT_GE(std::chrono::steady_clock::now() - began, milliseconds(1200));
    co_return co_await stopped();
  };
  test::run_task(loop, body());
}

TEST_F(SessionLoopTest, a_long_line_is_read_on_the_pool) {
  std::atomic<bool> written = false;
  start([&](Peer& p) {
    if (!p.shake_hands()) return;
    const std::string request = p.line();
    p.answer(request, R"({"content":")" + std::string(300'000, 'x') + "\"}");
    written = true;
    while (!p.line().empty()) {
    }
  });
  std::promise<void> release;
  auto body = [&]() -> Task<int> {
    EXPECT_TRUE(co_await ready());
    boost::asio::post(pool, [held = release.get_future().share()] { held.wait(); });
    bool answered = false;
    auto call = [&]() -> Task<void> {
      EXPECT_TRUE(co_await driver->call("tools/call", "{}", seconds(60)));
      answered = true;
    };
    net::TaskGroup caller(loop.get_executor(), "caller");
    caller.spawn("call", call());
    while (!written) co_await net::sleep_for(milliseconds(1));
    co_await net::sleep_for(milliseconds(200));
    EXPECT_FALSE(answered) << "it was read on the loop";
    release.set_value();
    co_await caller.join();
    EXPECT_TRUE(answered);
    co_return co_await stopped();
  };
  test::run_task(loop, body());
}

TEST_F(SessionLoopTest, a_long_list_comes_whole) {
  start([](Peer& p) {
    std::string tools;
    for (int i = 0; i < 300; ++i)
      tools += (i == 0 ? "" : ",") + std::string(R"({"name":"t)") + std::to_string(i) + R"(","x":")" +
               std::string(1000, 'x') + "\"}";
    for (std::string request = p.line(); !request.empty(); request = p.line()) {
      if (request.find("\"initialize\"") != std::string::npos)
        p.answer(request, R"({"protocolVersion":"2025-06-18","capabilities":{"tools":{}}})");
      if (request.find("tools/list") != std::string::npos) p.answer(request, R"({"tools":[)" + tools + "]}");
    }
  });
  auto body = [this]() -> Task<int> {
    EXPECT_TRUE(co_await ready());
    EXPECT_EQ(driver->session().tools().size(), 300u);
    co_return co_await stopped();
  };
  test::run_task(loop, body());
}

TEST_F(SessionLoopTest, connects_lists_the_tools_and_calls_one) {
  start([](Peer& p) {
    if (!p.shake_hands()) return;
    const std::string request = p.line();
    p.answer(request, R"({"content":[],"big":12345678901234567890})");
    while (!p.line().empty()) {
    }
  });
  auto body = [this]() -> Task<int> {
    EXPECT_TRUE(co_await ready());
    EXPECT_EQ(driver->session().tools().at(0).name, "echo");
    auto reply = co_await driver->call("tools/call", R"({"name":"echo","arguments":{}})", seconds(20));
    EXPECT_TRUE(reply);
    if (reply) EXPECT_EQ(reply->result, R"({"content":[],"big":12345678901234567890})");
    co_return co_await stopped();
  };
  test::run_task(loop, body());
}

// Each answer that wakes all who wait costs a hundred waiting calls ten thousand turns.
TEST_F(SessionLoopTest, an_answer_wakes_its_own_caller_and_no_other) {
  constexpr int kCalls = 100;
  std::atomic<int> asked = 0;
  std::promise<void> release;
  start([&](Peer& p) {
    if (!p.shake_hands()) return;
    const std::string first = p.line();
    for (++asked; asked < kCalls; ++asked) p.line();
    release.get_future().wait();
    p.answer(first, "{}");
    while (!p.line().empty()) {
    }
  });
  int answered = 0;
  net::TaskGroup calls(loop.get_executor(), "calls");
  const auto call = [](OverPipes& d, int& count) -> Task<void> {
    if (co_await d.call("tools/call", "{}", milliseconds(0))) ++count;
  };
  auto ask = [&]() -> Task<int> {
    EXPECT_TRUE(co_await ready());
    for (int i = 0; i < kCalls; ++i) calls.spawn("call", call(*driver, answered));
    while (asked < kCalls) co_await net::sleep_for(milliseconds(1));
    co_await net::sleep_for(milliseconds(20));
    co_return 0;
  };
  test::run_task(loop, ask());
  release.set_value();
  loop.restart();
  std::size_t turns = 0;
  const auto deadline = std::chrono::steady_clock::now() + seconds(30);
  while (answered == 0 && std::chrono::steady_clock::now() < deadline) turns += loop.run_one_for(seconds(1));
  turns += loop.poll();
  EXPECT_EQ(answered, 1);
  EXPECT_LT(turns, static_cast<std::size_t>(kCalls / 2));
  auto end = [&]() -> Task<int> {
    (void)co_await stopped();
    co_await calls.join();
    co_return 0;
  };
  test::run_task(loop, end());
}

TEST_F(SessionLoopTest, everything_pending_fails_with_the_reason_of_the_stop) {
  start([](Peer& p) {
    if (!p.shake_hands()) return;
    while (!p.line().empty()) {
    }
  });
  auto body = [this]() -> Task<int> {
    EXPECT_TRUE(co_await ready());
    net::TaskGroup calls(loop.get_executor(), "calls");
    int failed = 0;
    const auto call = [](OverPipes& d, int& count) -> Task<void> {
      auto reply = co_await d.call("tools/call", "{}", milliseconds(0));
      EXPECT_FALSE(reply);
      if (!reply && reply.error().message().find("killed by SIGKILL") != std::string::npos) ++count;
    };
    for (int i = 0; i < 20; ++i) calls.spawn("call", call(*driver, failed));
    co_await net::sleep_for(milliseconds(1));
    (void)co_await stopped("killed by SIGKILL");
    co_await calls.join();
    EXPECT_EQ(failed, 20);
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(SessionLoopTest, what_the_peer_wrote_before_it_ended_is_read_to_the_end) {
  start([](Peer& p) {
    if (!p.shake_hands()) return;
    const std::string request = p.line();
    p.complain("last words");
    p.write("no message\n");
    p.answer(request, R"({"late":true})");
  });
  auto body = [this]() -> Task<int> {
    EXPECT_TRUE(co_await ready());
    auto reply = co_await driver->call("tools/call", "{}", seconds(20));
    EXPECT_TRUE(reply);
    EXPECT_TRUE(co_await until([this] { return driver->drained(); }));
    EXPECT_TRUE(driver->output_ended());
    co_return co_await stopped();
  };
  test::run_task(loop, body());
  EXPECT_THAT(log_text(), HasSubstr("last words|"));
  EXPECT_THAT(log_text(), HasSubstr("no message"));
}

TEST_F(SessionLoopTest, a_caller_that_is_cancelled_withdraws_its_request) {
  std::string seen;
  start([&seen](Peer& p) {
    if (!p.shake_hands()) return;
    for (std::string line = p.line(); !line.empty(); line = p.line()) seen += line + "\n";
  });
  bool asked = false;
  auto body = [this, &asked]() -> Task<int> {
    EXPECT_TRUE(co_await ready());
    asked = true;
    (void)co_await driver->call("tools/call", R"({"name":"echo"})", milliseconds(0));
    co_return 0;
  };
  EXPECT_FALSE(test::run_cancelled(loop, body(), [&asked] { return asked; }));
  test::run_task(loop, stopped());
  peer.join();
  EXPECT_THAT(seen, HasSubstr("notifications/cancelled"));
}

TEST_F(SessionLoopTest, a_call_that_takes_too_long_times_out_and_the_next_one_works) {
  start([](Peer& p) {
    if (!p.shake_hands()) return;
    const std::string first = p.line();
    const std::string cancelled = p.line();
    const std::string second = p.line();
    p.answer(first, "{\"late\":1}");
    p.answer(second, "{\"good\":1}");
    while (!p.line().empty()) {
    }
  });
  auto body = [this]() -> Task<int> {
    EXPECT_TRUE(co_await ready());
    auto late = co_await driver->call("tools/call", "{}", milliseconds(20));
    EXPECT_FALSE(late);
    if (!late) EXPECT_EQ(late.error().code(), Code::kTimeout);
    auto good = co_await driver->call("tools/call", "{}", seconds(20));
    EXPECT_TRUE(good);
    if (good) EXPECT_EQ(good->result, "{\"good\":1}");
    co_return co_await stopped();
  };
  test::run_task(loop, body());
}

TEST_F(SessionLoopTest, a_peer_that_reads_nothing_and_closes_its_input_does_not_collect_our_calls) {
  start([](Peer& p) {
    if (!p.shake_hands()) return;
    p.close_input();
    p.complain("closed\n");
    p.wait_until_nobody_reads();
  });
  auto body = [this]() -> Task<int> {
    EXPECT_TRUE(co_await ready());
    EXPECT_TRUE(co_await until([this] { return log_text().find("closed|") != std::string::npos; }));
    const std::string params = R"({"text":")" + std::string(1 << 20, 'x') + R"("})";
    for (int i = 0; i < 5; ++i) {
      auto reply = co_await driver->call("tools/call", params, milliseconds(30));
      EXPECT_FALSE(reply);
    }
    co_return co_await stopped();
  };
  test::run_task(loop, body());
  driver.reset();
}

TEST_F(SessionLoopTest, a_megabyte_each_way_does_not_deadlock) {
  const std::string blob(1 << 20, 'z');
  start([&blob](Peer& p) {
    if (!p.shake_hands()) return;
    for (int i = 0; i < 8; ++i) {
      // Answers before it reads the next request: both pipes are full at once.
      const std::string request = p.line();
      p.answer(request, R"({"blob":")" + blob + R"("})");
    }
    while (!p.line().empty()) {
    }
  });
  auto body = [this, &blob]() -> Task<int> {
    EXPECT_TRUE(co_await ready());
    net::TaskGroup calls(loop.get_executor(), "calls");
    int good = 0;
    const auto call = [](OverPipes& d, std::string params, int& count) -> Task<void> {
      auto reply = co_await d.call("tools/call", std::move(params), seconds(50));
      if (reply && reply->result.size() > (1u << 20)) ++count;
    };
    for (int i = 0; i < 8; ++i) calls.spawn("call", call(*driver, R"({"text":")" + blob + R"("})", good));
    co_await calls.join();
    EXPECT_EQ(good, 8);
    co_return co_await stopped();
  };
  test::run_task(loop, body());
}

TEST_F(SessionLoopTest, a_peer_that_asks_and_never_reads_is_read_up_to_its_mark_and_no_further) {
  std::size_t taken = 0;
  bool answered = false;
  const std::string ping = R"({"jsonrpc":"2.0","method":"ping","id":")" + std::string(900, 'i') + "\"}\n";
  start([&](Peer& p) {
    if (!p.shake_hands()) return;
    taken = p.flood(ping, 64u << 20, milliseconds(400));
    // Reading again what waits for it lets it go on; what it wrote before comes first.
    p.write(std::string());
    for (std::string line = p.line(); !line.empty(); line = p.line()) {
      if (line.find("tools/call") == std::string::npos) continue;
      p.write(std::string(ping.size() - taken % ping.size(), ' ') + "\n");
      p.answer(line, "{}");
      answered = true;
    }
  });
  auto body = [this]() -> Task<int> {
    EXPECT_TRUE(co_await ready());
    auto reply = co_await driver->call("tools/call", "{}", seconds(30));
    EXPECT_TRUE(reply);
    co_return co_await stopped();
  };
  test::run_task(loop, body());
  peer.join();
  EXPECT_GT(taken, 512u << 10);
  EXPECT_LT(taken, 2u << 20);
  EXPECT_TRUE(answered);
}

TEST_F(SessionLoopTest, notifications_without_end_wait_in_the_pipe) {
  const std::string changed = R"({"jsonrpc":"2.0","method":"notifications/tools/list_changed"})"
                              "\n";
  EXPECT_LT(taken_of_a_flood(changed), 3u << 20);  // hundreds of MiB without a bound
}

TEST_F(SessionLoopTest, lines_with_nothing_in_them_without_end_wait_in_the_pipe) {
  EXPECT_LT(taken_of_a_flood(std::string(64u << 10, '\n')), 2u << 20);  // hundreds of MiB without a bound
}

TEST_F(SessionLoopTest, answers_that_nobody_lets_go_of_keep_the_next_ones_in_the_pipe) {
  start([](Peer& p) {
    if (!p.shake_hands()) return;
    for (std::string line = p.line(); !line.empty(); line = p.line())
      p.answer(line, "\"" + std::string(5u << 20, 'a') + "\"");
  });
  auto body = [this]() -> Task<int> {
    EXPECT_TRUE(co_await ready());
    std::vector<Answer> held;
    for (int i = 0; i < 2; ++i) {
      auto reply = co_await driver->call("tools/call", "{}", seconds(20));
      EXPECT_TRUE(reply);
      if (reply) held.push_back(std::move(*reply));
    }
    auto kept_back = co_await driver->call("tools/call", "{}", milliseconds(300));
    EXPECT_FALSE(kept_back);
    held.pop_back();
    EXPECT_TRUE(co_await driver->call("tools/call", "{}", seconds(20)));
    (void)co_await stopped();
    held.clear();
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(SessionLoopTest, a_flood_of_stderr_is_left_out_of_the_log_and_does_not_stop_the_peer) {
  start([](Peer& p) {
    if (!p.shake_hands()) return;
    const std::string line(1023, 'e');
    for (int i = 0; i < 6 << 10; ++i) p.complain(line + "\n");
    p.complain("the end\n");
  });
  auto body = [this]() -> Task<int> {
    EXPECT_TRUE(co_await ready());
    EXPECT_TRUE(co_await until([this] { return driver->drained(); }));
    co_return co_await stopped();
  };
  test::run_task(loop, body());
  EXPECT_THAT(log_text(), HasSubstr("of stderr were left out: the server writes faster than its log takes"));
}

TEST_F(SessionLoopTest, a_peer_that_closes_its_input_is_noticed_when_it_is_asked) {
  start([](Peer& p) {
    if (!p.shake_hands()) return;
    p.close_input();
    p.wait_until_nobody_reads();
  });
  auto body = [this]() -> Task<int> {
    EXPECT_TRUE(co_await ready());
    net::TaskGroup calls(loop.get_executor(), "calls");
    calls.spawn("call", [](OverPipes& d) -> Task<void> {
      EXPECT_FALSE(co_await d.call("tools/call", "{}", seconds(20)));
    }(*driver));
    EXPECT_TRUE(co_await until([this] { return driver->input_broken(); }));
    EXPECT_FALSE(driver->output_ended());
    (void)co_await stopped();
    co_await calls.join();
    co_return 0;
  };
  test::run_task(loop, body());
}

// As unasked input the 30 MiB would take 13 seconds.
TEST_F(SessionLoopTest, pages_that_were_asked_for_are_read_at_any_speed) {
  options.lists.list_timeout = seconds(8);
  start([](Peer& p) {
    const std::string page = R"({"tools":[],"padding":")" + std::string(6u << 20, 'p') + R"(","nextCursor":")";
    int pages = 0;
    for (std::string line = p.line(); !line.empty(); line = p.line()) {
      if (line.find("\"initialize\"") != std::string::npos) {
        p.answer(line, R"({"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"peer",)"
                       R"("version":"1"}})");
      } else if (line.find("tools/list") != std::string::npos) {
        p.answer(line, ++pages < 5 ? page + std::to_string(pages) + "\"}" : R"({"tools":[{"name":"last"}]})");
      }
    }
  });
  auto body = [this]() -> Task<int> {
    EXPECT_TRUE(co_await until(
        [this] { return driver->session().tools_known() || driver->session().state() == mcp::SessionState::kFailed; }));
    EXPECT_EQ(driver->session().state(), mcp::SessionState::kReady);
    co_return co_await stopped();
  };
  test::run_task(loop, body());
}

TEST_F(SessionLoopTest, an_answer_is_no_news_of_the_server) {
  constexpr int kCalls = 100;
  start([](Peer& p) {
    if (!p.shake_hands()) return;
    for (std::string line = p.line(); !line.empty(); line = p.line()) p.answer(line, "{}");
  });
  auto body = [this]() -> Task<int> {
    EXPECT_TRUE(co_await ready());
    const int before = changes;
    for (int i = 0; i < kCalls; ++i) EXPECT_TRUE(co_await driver->call("tools/call", "{}", seconds(20)));
    EXPECT_EQ(changes, before);
    co_return co_await stopped();
  };
  test::run_task(loop, body());
}

}  // namespace
}  // namespace mcpbox::hosting
