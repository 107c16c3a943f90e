// Clients that take their time: no connection is held for ever, and none keeps others out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/http_server.h"
#include "unit/net/http_fixture.h"

namespace mcpbox::net {
namespace {

using HttpLimitsTest = HttpFixture;
using std::chrono::hours;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

TEST_F(HttpLimitsTest, a_head_that_comes_too_slowly_is_answered_with_408) {
  options.head_timeout = milliseconds(50);
  EXPECT_THAT(ask("GET / HTTP/1.1\r\nHos"), StartsWith("HTTP/1.1 408"));
}

TEST_F(HttpLimitsTest, a_connection_on_which_nothing_comes_is_closed_also_after_a_request) {
  options.idle_timeout = milliseconds(50);
  EXPECT_EQ(ask(""), "");
  EXPECT_THAT(ask("GET /x HTTP/1.1\r\nHost: x\r\n\r\n"), testing::EndsWith("GET /x 0"));
}

TEST_F(HttpLimitsTest, a_body_that_comes_too_slowly_is_a_timeout_of_the_reading_handler) {
  options.body_timeout = milliseconds(50);
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"), StartsWith("HTTP/1.1 408"));
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc"),
              StartsWith("HTTP/1.1 408"));
}

TEST_F(HttpLimitsTest, a_body_that_came_fast_and_stalls_is_not_waited_for_longer) {
  options.body_timeout = milliseconds(100);
  const auto began = std::chrono::steady_clock::now();
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + std::string(999'997, 'x')),
              StartsWith("HTTP/1.1 408"));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(20));
}

TEST_F(HttpLimitsTest, time_that_the_handler_takes_is_not_counted_against_the_client) {
  options.body_timeout = milliseconds(500);
  handler = [](HttpExchange& out) -> Task<void> {
    char byte;
    std::size_t size = 0;
    for (;;) {
      const auto got = co_await out.read_some({&byte, 1});
      EXPECT_TRUE(got);
      if (!got || *got == 0) break;
      ++size;
      co_await sleep_for(milliseconds(200));
    }
    (void)co_await out.send(200, "text/plain", std::to_string(size));
  };
  EXPECT_THAT(ask("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nabcd"),
              testing::EndsWith("\r\n\r\n4"));
}

TEST_F(HttpLimitsTest, a_client_that_takes_nothing_of_its_answer_is_cut_off) {
  options.write_timeout = milliseconds(100);
  std::atomic<bool> failed = false;
  handler = [&failed](HttpExchange& out) -> Task<void> {
    (void)co_await out.begin(200, "text/plain");
    for (int i = 0; i < 1000 && !failed; ++i) failed = !co_await out.write(std::string(1 << 16, 'x'));
  };
  with_server([&] {
    const UniqueFd client = connect_to(socket);
    put(client.get(), get("/"));
    for (int i = 0; i < 5000 && !failed; ++i) std::this_thread::sleep_for(milliseconds(1));
    return std::string();
  });
  EXPECT_TRUE(failed);
}

TEST_F(HttpLimitsTest, slow_connections_make_way_for_a_newcomer_the_oldest_first) {
  options.max_connections = 2;
  options.head_timeout = options.idle_timeout = hours(1);
  const std::string answer = with_server([&] {
    const UniqueFd first = connect_to(socket);
    put(first.get(), "GET / HTTP/1.1\r\nHo");
    const UniqueFd second = connect_to(socket);
    put(second.get(), "GET /second HTTP/1.1\r\nHost: x\r\nConnec");
    std::string all = talk(socket, get("/third"));
    EXPECT_EQ(read_to_end(first.get()), "");
    put(second.get(), "tion: close\r\n\r\n");
    return all + read_to_end(second.get());
  });
  EXPECT_THAT(answer, HasSubstr("GET /third 0"));
  EXPECT_THAT(answer, HasSubstr("GET /second 0"));
}

TEST_F(HttpLimitsTest, a_body_that_does_not_come_makes_way_for_a_newcomer) {
  options.max_connections = 1;
  options.body_timeout = hours(1);
  EXPECT_THAT(with_server([&] {
                const UniqueFd slow = connect_to(socket);
                put(slow.get(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
                return talk(socket, get("/second"));
              }),
              HasSubstr("GET /second 0"));
}

TEST_F(HttpLimitsTest, bodies_that_do_not_come_to_their_end_are_bounded_all_together) {
  options.max_unfinished = 100'000;
  options.body_timeout = hours(1);
  const auto half = [](std::size_t bytes) {
    return "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 80000\r\n\r\n" + std::string(bytes, 'x');
  };
  const std::string answers = with_server([&] {
    std::string all;
    {
      const UniqueFd first = connect_to(socket);
      put(first.get(), half(79'999));
      all = talk(socket, half(80'000));
      put(first.get(), "x");
      all += read_to_end(first.get());
    }
    return all + "|" + talk(socket, half(80'000)) + "|" + talk(socket, half(80'000));
  });
  const std::size_t later = answers.find('|');
  // Which of the two comes to the limit is the scheduler's choice.
  EXPECT_THAT(answers.substr(0, later), AllOf(HasSubstr("HTTP/1.1 429"), HasSubstr("POST / 80000")));
  // Whoever ended counts no more.
  EXPECT_THAT(answers.substr(later), AllOf(StartsWith("|HTTP/1.1 200"), HasSubstr("POST / 80000|HTTP/1.1 200")));
}

TEST_F(HttpLimitsTest, connections_that_are_served_do_not_make_way) {
  options.max_connections = 2;
  Seen seen;
  handler = hanging(seen);
  const std::string answer = with_server([&] {
    const UniqueFd first = connect_to(socket), second = connect_to(socket);
    put(first.get(), get("/soon"));
    put(second.get(), get("/soon"));
    EXPECT_TRUE(seen.wait_for(seen.running, 2));
    return talk(socket, get("/soon")) + read_to_end(first.get()) + read_to_end(second.get());
  });
  EXPECT_EQ(seen.cancelled, 0);
  std::size_t answered = 0;
  for (std::size_t at = 0; (at = answer.find("done", at)) != std::string::npos; ++at) ++answered;
  EXPECT_EQ(answered, 3u);
}

TEST_F(HttpLimitsTest, the_last_places_are_for_one_request_each_which_is_told_that_they_are) {
  options.max_connections = 1;
  options.reserved = 1;
  Seen seen;
  const HttpHandler hang = hanging(seen);
  handler = [&](HttpExchange& out) -> Task<void> {
    if (!out.request().crowded) co_return co_await hang(out);
    (void)co_await out.send(503, "text/plain", "crowded");
  };
  const std::string keep = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  EXPECT_THAT(with_server([&] {
                const UniqueFd first = connect_to(socket);
                put(first.get(), keep);
                EXPECT_TRUE(seen.wait_for(seen.running, 1));
                return talk(socket, keep + keep) + talk(socket, keep);
              }),
              AllOf(StartsWith("HTTP/1.1 503"), testing::EndsWith("crowded")));
  EXPECT_EQ(seen.running, 0);
}

TEST_F(HttpLimitsTest, a_client_that_does_not_take_its_answer_makes_way_when_no_place_is_left) {
  options.max_connections = 1;
  options.write_timeout = hours(1);
  options.crowded_timeout = milliseconds(50);
  handler = [](HttpExchange& out) -> Task<void> {
    (void)co_await out.send(200, "text/plain", std::string(out.request().path == "/long" ? 16u << 20 : 4, 'x'));
  };
  EXPECT_THAT(with_server([&] {
                const UniqueFd first = connect_to(socket);
                put(first.get(), get("/long"));
                std::this_thread::sleep_for(milliseconds(100));
                return talk(socket, get("/short"));
              }),
              testing::EndsWith("\r\n\r\nxxxx"));
}

TEST_F(HttpLimitsTest, a_kept_connection_makes_way_once_its_request_is_answered) {
  options.max_connections = 1;
  Seen seen;
  handler = hanging(seen);
  EXPECT_THAT(with_server([&] {
                const UniqueFd kept = connect_to(socket);
                put(kept.get(), "GET /soon HTTP/1.1\r\nHost: x\r\n\r\n");
                EXPECT_TRUE(seen.wait_for(seen.running, 1));
                return talk(socket, get("/soon"));
              }),
              HasSubstr("done"));
  EXPECT_EQ(seen.cancelled, 0);
}

}  // namespace
}  // namespace mcpbox::net
