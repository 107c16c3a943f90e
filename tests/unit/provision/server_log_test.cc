#include "provision/server_log.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

namespace mcpbox::provision {
namespace {

struct ServerLogTest : testing::Test {
  boost::asio::io_context loop;
  ServerLog log{loop.get_executor(), Redactor{}};
  std::string texts() {
    std::string out;
    for (const LogLine& line : log.since(0)) out += line.text + "|";
    return out;
  }
};

TEST_F(ServerLogTest, cuts_lines_however_the_bytes_are_split) {
  const std::string text = "one\ntwo\r\n\nthree\n";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    ServerLog split(loop.get_executor(), Redactor{});
    split.stderr_bytes(text.substr(0, cut));
    split.stderr_bytes(text.substr(cut));
    std::string out;
    for (const LogLine& line : split.since(0)) out += line.text + "|";
    EXPECT_EQ(out, "one|two||three|") << "cut at " << cut;
  }
}

TEST_F(ServerLogTest, hides_words_of_ours_where_the_server_speaks_and_leaves_them_where_we_do) {
  log.learn(Secret("memory"));
  log.learn(Secret("hunter2-hunter2"));
  log.stderr_bytes("my memory\n");
  log.line(LogSource::kStdout, "no memory");
  log.line(LogSource::kMcpbox, "it used 65 MiB of memory, hunter2-hunter2");
  EXPECT_EQ(texts(), "my ***|no ***|it used 65 MiB of memory, ***|");
}

TEST_F(ServerLogTest, a_line_without_an_end_counts_at_the_end_of_stderr_once) {
  log.stderr_bytes("half");
  EXPECT_EQ(log.last_sequence(), 0u);
  log.stderr_end();
  log.stderr_end();
  EXPECT_EQ(texts(), "half|");
}

TEST_F(ServerLogTest, a_line_that_never_ends_takes_no_more_than_16_KiB_a_piece) {
  const std::string junk(1000, 'x');
  for (int i = 0; i < 1000; ++i) log.stderr_bytes(junk);
  log.stderr_end();
  for (const LogLine& line : log.since(0)) EXPECT_LE(line.text.size(), 16u << 10);
  EXPECT_GT(log.last_sequence(), 10u);
}

TEST_F(ServerLogTest, a_long_line_becomes_the_same_lines_however_its_bytes_are_split) {
  const std::string text = std::string(40'000, 'a') + "\r\nnext\n";
  for (const std::size_t piece : {std::size_t{1}, std::size_t{1000}, std::size_t{16} << 10, text.size()}) {
    ServerLog split(loop.get_executor(), Redactor{});
    for (std::size_t at = 0; at < text.size(); at += piece) split.stderr_bytes(text.substr(at, piece));
    const auto lines = split.since(0);
    ASSERT_EQ(lines.size(), 4u);
    EXPECT_EQ(lines[0].text.size(), 16u << 10);
    EXPECT_EQ(lines[2].text.size(), 40'000 - 2 * (16u << 10));
    EXPECT_EQ(lines[3].text, "next");
  }
}

TEST_F(ServerLogTest, keeps_the_newest_2000_lines_and_numbers_without_gaps) {
  for (int i = 1; i <= 5000; ++i) log.line(LogSource::kStderr, std::to_string(i));
  const auto lines = log.since(0);
  ASSERT_EQ(lines.size(), 2000u);
  EXPECT_EQ(lines.front().text, "3001");
  EXPECT_EQ(lines.front().sequence, 3001u);
  EXPECT_EQ(lines.back().sequence, 5000u);
  EXPECT_EQ(log.since(4999).size(), 1u);
  EXPECT_TRUE(log.since(5000).empty());
}

TEST_F(ServerLogTest, keeps_at_most_half_a_mebibyte) {
  for (int i = 0; i < 200; ++i) log.line(LogSource::kStderr, std::string(10'000, 'b'));
  std::size_t bytes = 0;
  for (const LogLine& line : log.since(0)) bytes += line.text.size();
  EXPECT_LE(bytes, 512u << 10);
  EXPECT_GT(bytes, 400u << 10);
}

TEST_F(ServerLogTest, the_tail_has_the_servers_last_words_and_none_of_ours) {
  log.line(LogSource::kStderr, "before");
  const auto start = log.last_sequence();
  log.line(LogSource::kStderr, "first");
  log.line(LogSource::kMcpbox, "said by mcpbox");
  log.line(LogSource::kStderr, "   ");
  log.line(LogSource::kStdout, "second\x1b[31m");
  const std::string tail = log.tail(start);
  EXPECT_EQ(tail.substr(0, 13), "first\nsecond\\") << tail;
  EXPECT_EQ(tail.find('\x1b'), std::string::npos);
  EXPECT_EQ(log.tail(start, 1).substr(0, 6), "second");
}

TEST_F(ServerLogTest, the_tail_is_bounded) {
  for (int i = 0; i < 100; ++i) log.line(LogSource::kStderr, std::string(10'000, 'c'));
  EXPECT_LE(log.tail(0, 1000).size(), 4u << 10);
}

TEST(ServerLogRedaction, a_secret_at_the_cut_of_a_long_line_does_not_show_its_first_half) {
  boost::asio::io_context loop;
  Redactor redact;
  redact.add(Secret("hunter2-hunter2"));
  ServerLog log(loop.get_executor(), redact);
  log.line(LogSource::kStderr, std::string((16u << 10) - 7, 'x') + "hunter2-hunter2 and more");
  log.line(LogSource::kMcpbox, "token hunter2-hunter2!");
  const auto lines = log.since(0);
  EXPECT_EQ(lines[0].text.find("hunter"), std::string::npos);
  EXPECT_EQ(lines[1].text, "token ***!");
}

struct ServerLogSecretTest : testing::Test {
  static constexpr std::string_view kSecret = "hunter2-hunter2";
  boost::asio::io_context loop;
  static Redactor redactor(std::string_view secret) {
    Redactor redact;
    redact.add(Secret(std::string(secret)));
    return redact;
  }
  static std::string texts(const ServerLog& log) {
    std::string out;
    for (const LogLine& line : log.since(0)) out += line.text + "|";
    return out;
  }
};

TEST_F(ServerLogSecretTest, a_secret_with_line_breaks_is_hidden_wherever_its_bytes_are_split) {
  const std::string key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqh\nkiG9w0BAQEFAASCBK\n-----END KEY-----\n";
  const std::string text = "key: " + key + "done\n";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    ServerLog log(loop.get_executor(), redactor(key));
    log.stderr_bytes(text.substr(0, cut));
    log.stderr_bytes(text.substr(cut));
    EXPECT_EQ(texts(log), "key: -----BEGIN KEY-----|***|***|-----END KEY-----|done|") << cut;
  }
}

TEST_F(ServerLogSecretTest, a_line_that_does_not_end_is_never_cut_within_a_secret) {
  for (const std::size_t piece : {std::size_t{100}, std::size_t{4096}, std::size_t{64} << 10}) {
    for (std::size_t before = (16u << 10) - 16; before <= 16u << 10; ++before) {
      ServerLog log(loop.get_executor(), redactor(kSecret));
      const std::string text = std::string(before, 'x') + std::string(kSecret) + std::string(20'000, 'y');
      for (std::size_t at = 0; at < text.size(); at += piece) log.stderr_bytes(text.substr(at, piece));
      log.stderr_end();
      const std::string all = texts(log);
      EXPECT_EQ(all.find("hunt"), std::string::npos) << before;
      EXPECT_EQ(all.find("ter2"), std::string::npos) << before;
      EXPECT_NE(all.find("***"), std::string::npos) << before;
    }
  }
}

TEST_F(ServerLogSecretTest, a_secret_of_many_kilobytes_is_not_cut) {
  std::string secret;
  for (int i = 0; i < 3000; ++i) secret += std::to_string(i) + "-";
  ServerLog log(loop.get_executor(), redactor(secret));
  const std::string text = std::string((16u << 10) - 100, 'x') + secret + " end\n";
  for (std::size_t at = 0; at < text.size(); at += 1000) log.stderr_bytes(text.substr(at, 1000));
  log.line(LogSource::kMcpbox, text);
  const auto lines = log.since(0);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].text, std::string((16u << 10) - 100, 'x'));
  EXPECT_EQ(lines[1].text, "*** end");
  EXPECT_EQ(lines[2].text, lines[0].text);
}

TEST_F(ServerLogSecretTest, what_follows_is_left_out_in_the_middle_of_a_secret) {
  for (std::size_t part = 4; part <= kSecret.size(); ++part) {
    ServerLog log(loop.get_executor(), redactor(kSecret));
    log.stderr_bytes("token " + std::string(kSecret.substr(0, part)));
    log.stderr_end();
    EXPECT_EQ(texts(log), "token ***|");
  }
}

TEST_F(ServerLogSecretTest, noise_on_stdout_is_shortened_in_the_middle_of_a_secret) {
  ServerLog log(loop.get_executor(), redactor(kSecret));
  log.line(LogSource::kStdout, "token hunter2-hun");
  log.line(LogSource::kStdout, "dropped a line, which begins: hunter2-hu…");
  log.line(LogSource::kStdout, "token hunter2-hunter2 shown");
  EXPECT_EQ(texts(log), "token ***|dropped a line, which begins: ***…|token *** shown|");
}

}  // namespace
}  // namespace mcpbox::provision
