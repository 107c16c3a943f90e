#include "app/compose/unserved_client.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <signal.h>

#include <thread>

#include "base/secrets.h"
#include "json/value.h"
#include "support/pipe_pair.h"

namespace mcpbox::app {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

const std::string kInitialize = R"({"jsonrpc":"2.0","id":7,"method":"initialize","params":{}})";
const std::string kDiscover = R"({"jsonrpc":"2.0","id":"probe-1","method":"server/discover","params":{}})";

struct UnservedClientTest : testing::Test {
  test::PipePair in, out;
  Unserved unserved{"no engine", "session_create", 125};

  void SetUp() override { ::signal(SIGPIPE, SIG_IGN); }
  void client_says(const std::string& text) {
    ASSERT_EQ(::write(in.write.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  // All that was answered to what the client said; `open`: it may say more.
  std::string answers(bool open = false, milliseconds patience = seconds(30)) {
    if (!open) in.write.reset();
    answer_unserved_client(in.read.get(), out.write.get(), unserved, patience);
    out.write.reset();
    std::string said(1 << 16, '\0');
    const ssize_t size = ::read(out.read.get(), said.data(), said.size());
    said.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    return said;
  }
};

TEST_F(UnservedClientTest, the_first_request_is_answered_with_why_phase_and_exit_code) {
  client_says(kInitialize + "\n");
  const std::string said = answers(true);
  EXPECT_EQ(said, R"({"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"mcpbox: no engine",)"
                  R"("data":{"exit_code":125,"phase":"session_create"}}})"
                  "\n");
}

TEST_F(UnservedClientTest, a_client_that_probes_first_is_answered_twice) {
  client_says(kDiscover + "\n" + kInitialize + "\n" + kInitialize + "\n");
  const std::string said = answers(true);
  EXPECT_THAT(said, HasSubstr(R"("id":"probe-1")"));
  EXPECT_THAT(said, HasSubstr(R"("id":7)"));
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 2);
}

TEST_F(UnservedClientTest, a_request_may_come_in_pieces_and_late) {
  std::thread client([&] {
    for (const char c : kInitialize + "\n") {
      std::this_thread::sleep_for(milliseconds(1));
      client_says(std::string(1, c));
    }
  });
  const std::string said = answers(true);
  client.join();
  EXPECT_THAT(said, HasSubstr(R"("id":7)"));
}

TEST_F(UnservedClientTest, what_is_no_request_is_not_answered) {
  for (const char* line :
       {"hello", "{", R"({"jsonrpc":"2.0","method":"notifications/initialized"})",
        R"({"jsonrpc":"2.0","id":1,"result":{}})", R"([{"jsonrpc":"2.0","id":1,"method":"x"}])",
        R"({"jsonrpc":"2.0","id":null,"method":"initialize"})", R"({"id":1,"method":"initialize"})", "\xff\xfe{}"}) {
    in = test::PipePair();
    out = test::PipePair();
    client_says(std::string(line) + "\n" + kInitialize + "\n");
    EXPECT_EQ(answers(), "") << line;
  }
}

TEST_F(UnservedClientTest, a_line_that_does_not_end_or_a_client_that_says_nothing_is_not_waited_for_long) {
  client_says(kInitialize);
  EXPECT_EQ(answers(true, milliseconds(20)), "");
  in = test::PipePair();
  out = test::PipePair();
  EXPECT_EQ(answers(true, milliseconds(20)), "");
  in = test::PipePair();
  out = test::PipePair();
  EXPECT_EQ(answers(), "");  // its end is closed
}

TEST_F(UnservedClientTest, a_line_beyond_the_limit_is_not_answered) {
  std::thread client([&] {
    const std::string piece(1 << 20, ' ');
    for (int i = 0; i < 17; ++i) {
      if (::write(in.write.get(), piece.data(), piece.size()) < 0) return;
    }
    (void)!::write(in.write.get(), "{}\n", 3);
  });
  answer_unserved_client(in.read.get(), out.write.get(), unserved, seconds(60));
  in.read.reset();
  client.join();
  out.write.reset();
  char byte = 0;
  EXPECT_EQ(::read(out.read.get(), &byte, 1), 0);
}

TEST_F(UnservedClientTest, a_terminal_is_not_read) {
  int controller = -1, terminal = -1;
  ASSERT_EQ(::openpty(&controller, &terminal, nullptr, nullptr, nullptr), 0);
  const UniqueFd one(controller), other(terminal);
  ASSERT_EQ(::write(controller, "x\n", 2), 2);
  answer_unserved_client(terminal, out.write.get(), unserved, std::chrono::hours(1));
  int left = 0;
  ASSERT_EQ(::fcntl(terminal, F_SETFL, O_NONBLOCK), 0);
  char text[8];
  left = static_cast<int>(::read(terminal, text, sizeof text));
  EXPECT_EQ(left, 2);
}

TEST_F(UnservedClientTest, why_is_one_line_without_secrets_and_controls) {
  keep_secret(Secret("hunter2-the-key"));
  unserved.why = "it failed:\n  with hunter2-the-key\n  \x1b[31mred";
  client_says(kInitialize + "\n");
  const auto answer = json::Value::parse(answers(true));
  ASSERT_TRUE(answer);
  const std::string why = (*answer)["error"]["message"].string_or();
  EXPECT_THAT(why, HasSubstr("mcpbox: it failed: with ***"));
  EXPECT_THAT(why, Not(HasSubstr("hunter2")));
  EXPECT_THAT(why, Not(HasSubstr("\x1b")));
  EXPECT_THAT(why, Not(HasSubstr("\n")));
}

TEST_F(UnservedClientTest, before_the_first_phase_none_is_named) {
  unserved.phase = "";
  client_says(kInitialize + "\n");
  EXPECT_THAT(answers(true), HasSubstr(R"("data":{"exit_code":125}})"));
}

TEST_F(UnservedClientTest, a_client_that_is_gone_is_no_error) {
  client_says(kInitialize + "\n");
  out.read.reset();
  answer_unserved_client(in.read.get(), out.write.get(), unserved, seconds(30));
}

}  // namespace
}  // namespace mcpbox::app
