#include "mcp/stdio_filter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "mcp/line_framer.h"

namespace mcpbox::mcp {
namespace {

std::string joined(const std::vector<std::string_view>& pieces) {
  std::string out;
  for (const auto piece : pieces) out += piece;
  return out;
}

struct Seen {
  std::string client, noise;
  void add(const StdioFilter::Pieces& pieces) {
    client += joined(pieces.client);
    noise += joined(pieces.noise);
  }
};

const std::string kAnswer = R"({"jsonrpc":"2.0","id":1,"result":{"n":9007199254740993,"x":1.0, "n":1e+22}})";

TEST(StdioFilter, passes_messages_byte_for_byte_in_one_piece_and_keeps_the_rest_from_the_client) {
  StdioFilter filter;
  const std::string bytes =
      kAnswer + "\n" + kAnswer + "\nWelcome to Server 1.0\n{}\n" + kAnswer + "\r\n\n" + kAnswer + "\n";
  const auto& pieces = filter.from_server(bytes);
  EXPECT_EQ(joined(pieces.client), kAnswer + "\n" + kAnswer + "\n" + kAnswer + "\n" + kAnswer + "\n");
  EXPECT_EQ(joined(pieces.noise), "Welcome to Server 1.0\n{}\n");
  EXPECT_EQ(pieces.client.front(), kAnswer + "\n" + kAnswer + "\n");
  EXPECT_EQ(pieces.client.front().data(), bytes.data());  // no copy
}

TEST(StdioFilter, gives_the_same_however_the_stream_is_cut) {
  std::string bytes = "\xEF\xBB\xBF" + kAnswer + "\nnoise\n" + R"({"jsonrpc":"2.0","method":"é"})" + "\r\n" +
                      std::string(300, 'x') + "\n" + R"({"jsonrpc":"2.0","id":2,"result":")" + std::string(300, 'x') +
                      "\"}\n" + "[" + kAnswer + "]\n" + kAnswer;
  const auto run = [&](auto&& next_cut) {
    StdioFilter filter({.max_line = 200});
    filter.from_client(R"({"jsonrpc":"2.0","id":2,"method":"x"})"
                       "\n");
    Seen seen;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t length = std::min(next_cut(at), bytes.size() - at);
      const std::string chunk = bytes.substr(at, length);
      seen.add(filter.from_server(chunk));
      at += length;
    }
    seen.add(filter.server_ended());
    return seen;
  };
  const Seen whole = run([&](std::size_t) { return bytes.size(); });
  EXPECT_EQ(whole.client, kAnswer + "\n" + R"({"jsonrpc":"2.0","method":"é"})" + "\n" +
                              R"({"jsonrpc":"2.0","id":2,"error":{"code":-32603,)"
                              R"("message":"mcpbox: the server's answer has 336 B; at most 200 B are passed on"}})" +
                              "\n[" + kAnswer + "]\n" + kAnswer + "\n");
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    const Seen cut = run([&](std::size_t) { return 1 + random() % 40; });
    ASSERT_EQ(cut.client, whole.client);
    ASSERT_EQ(cut.noise, whole.noise);
  }
}

TEST(StdioFilter, answers_what_is_in_flight_when_the_server_dies_with_the_ids_as_they_were_sent) {
  StdioFilter filter;
  filter.from_client(
      "{\"jsonrpc\":\"2.0\",\"id\":\"a\\u0062\",\"method\":\"x\"}\n{\"jsonrpc\":\"2.0\",\"id\":123456789012345678901,"
      "\"meth");
  filter.from_client(
      "od\":\"x\"}\n{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"x\"}\r\n{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"x\"}"
      "\n");
  filter.from_client("{\"jsonrpc\":\"2.0\",\"method\":\"notifications\\/cancelled\",\"params\":{\"requestId\":4}}\n");
  EXPECT_EQ(filter.in_flight(), 3u);
  filter.from_server("{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{}}\n");
  EXPECT_EQ(filter.take_error_replies("the server was killed (signal 9)"),
            "{\"jsonrpc\":\"2.0\",\"id\":\"a\\u0062\",\"error\":{\"code\":-32000,\"message\":\"the server was killed "
            "(signal 9)\"}}\n"
            "{\"jsonrpc\":\"2.0\",\"id\":123456789012345678901,\"error\":{\"code\":-32000,\"message\":\"the server was "
            "killed (signal 9)\"}}\n");
  EXPECT_EQ(filter.take_error_replies("again"), "");
}

TEST(StdioFilter, matches_an_answer_whose_id_is_spelled_another_way) {
  StdioFilter filter;
  filter.from_client("{\"jsonrpc\":\"2.0\",\"id\":\"é\",\"method\":\"x\"}\n");
  filter.from_server("{\"jsonrpc\":\"2.0\",\"id\":\"\\u00e9\",\"result\":{}}\n");
  EXPECT_EQ(filter.in_flight(), 0u);
}

TEST(StdioFilter, tells_the_client_when_an_answer_is_no_valid_message) {
  StdioFilter filter;
  filter.from_client("{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"x\"}\n");
  const auto& pieces = filter.from_server("{\"id\":5,\"result\":{}}\n{\"id\":6,\"result\":{}}\n");
  EXPECT_EQ(joined(pieces.client),
            "{\"jsonrpc\":\"2.0\",\"id\":5,\"error\":{\"code\":-32603,\"message\":\"mcpbox: the server's answer is no "
            "valid JSON-RPC message: "
            "no \\\"jsonrpc\\\": \\\"2.0\\\"\"}}\n");
  EXPECT_EQ(joined(pieces.noise), "{\"id\":5,\"result\":{}}\n{\"id\":6,\"result\":{}}\n");
}

TEST(StdioFilter, repairs_invalid_utf8_in_a_message) {
  StdioFilter filter;
  const auto& pieces = filter.from_server("{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":\"a\xff\"}\n\xff\xfe\n");
  EXPECT_EQ(joined(pieces.client), "{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":\"a\xEF\xBF\xBD\"}\n");
  EXPECT_EQ(joined(pieces.noise), "\xff\xfe\n");
}

TEST(StdioFilter, answers_for_an_oversized_line_whose_id_comes_last_as_the_typescript_sdk_writes_it) {
  StdioFilter filter({.max_line = 1000});
  filter.from_client(
      "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"x\"}\n{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"x\"}\n");
  const std::string bytes =
      "{\"result\":\"" + std::string(2000, 'x') + "\",\"jsonrpc\":\"2.0\",\"id\":6}\n" + kAnswer + "\n";
  const auto& pieces = filter.from_server(bytes);
  EXPECT_EQ(joined(pieces.client).substr(0, 34), "{\"jsonrpc\":\"2.0\",\"id\":6,\"error\":{\"");
  EXPECT_EQ(filter.in_flight(), 1u);
  EXPECT_EQ(joined(pieces.noise).substr(0, 49), "mcpbox: dropped a line of 2.0 KiB (limit 1000 B),");
}

TEST(StdioFilter, leaves_a_waiting_request_alone_when_the_oversized_line_was_a_notification) {
  StdioFilter filter({.max_line = 1000});
  filter.from_client("{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"x\"}\n");
  filter.from_server("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":\"" +
                     std::string(2000, 'x') + "\"}\n");
  EXPECT_EQ(filter.in_flight(), 1u);
}

TEST(StdioFilter, judges_a_line_at_the_limit_the_same_whether_it_came_whole_or_in_pieces) {
  for (const std::string& line :
       {std::string("\xEF\xBB\xBF") + std::string(300, 'x') + "\n", std::string(300, 'x') + "\r\n",
        std::string(301, 'x') + "\r\n", std::string(400, 'x') + "\r\n"}) {
    Seen whole, cut;
    StdioFilter a({.max_line = 300}), b({.max_line = 300});
    whole.add(a.from_server(line));
    for (const char c : line) cut.add(b.from_server(std::string_view(&c, 1)));
    EXPECT_EQ(cut.noise, whole.noise);
  }
}

TEST(StdioFilter, remembers_a_bounded_number_of_requests) {
  StdioFilter filter({.max_in_flight = 3});
  for (int id = 0; id < 10; ++id)
    filter.from_client("{\"jsonrpc\":\"2.0\",\"id\":" + std::to_string(id) + ",\"method\":\"x\"}\n");
  EXPECT_EQ(filter.in_flight(), 3u);
  // The first ones, and those are answered for.
  const std::string replies = filter.take_error_replies("gone");
  EXPECT_EQ(std::ranges::count(replies, '\n'), 3);
  EXPECT_NE(replies.find("\"id\":2,"), std::string::npos);
}

TEST(StdioFilter, treats_a_batch_with_one_broken_element_as_noise) {
  StdioFilter filter;
  const std::string bytes = "[" + kAnswer + ",{}]\n[" + kAnswer + "]\n";
  const auto& pieces = filter.from_server(bytes);
  EXPECT_EQ(joined(pieces.client), "[" + kAnswer + "]\n");
  EXPECT_EQ(joined(pieces.noise), "[" + kAnswer + ",{}]\n");
}

}  // namespace
}  // namespace mcpbox::mcp
