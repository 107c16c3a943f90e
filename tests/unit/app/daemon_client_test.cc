#include "app/verbs/daemon_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "net/http_server.h"
#include "net/wait.h"
#include "support/run_task.h"
#include "support/temp_tree.h"

namespace mcpbox::app {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using testing::HasSubstr;

// A daemon that answers /v1/status if it `lives`, and everything else after `after`.
struct DaemonClientTest : testing::Test {
  test::TempTree tree;
  boost::asio::io_context loop;
  bool lives = true;
  unsigned asked = 0;
  std::chrono::milliseconds after{0};

  Result<std::string> post() {
    const std::string socket = tree.path("control.sock");
    auto answer = [this](net::HttpExchange& exchange) -> Task<void> {
      const bool status = exchange.request().path == "/v1/status";
      if (status) ++asked;
      co_await net::sleep_for(!status ? after : lives ? milliseconds(0) : milliseconds(hours(1)));
      (void)co_await exchange.send(200, "application/json", "{}");
    };
    auto server = net::HttpServer::listen(loop.get_executor(), net::UnixPlace{socket}, {}, std::move(answer));
    if (!server) return fail(std::move(server).error());
    auto body = [&]() -> Task<Result<std::string>> {
      (*server)->start();
      DaemonClient client(loop.get_executor(), socket, {milliseconds(20), milliseconds(200)});
      auto got = co_await client.post("/v1/servers/a/call", "{}", milliseconds(0));
      co_await (*server)->stop();
      co_return got;
    };
    return test::run_task(loop, body());
  }
};

TEST_F(DaemonClientTest, waits_for_an_answer_as_long_as_the_daemon_lives) {
  after = milliseconds(500);
  const auto got = post();
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_GT(asked, 1u);
}

TEST_F(DaemonClientTest, does_not_wait_for_a_daemon_that_answers_nobody) {
  after = milliseconds(hours(1));
  lives = false;
  const auto got = post();
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code(), Code::kTimeout);
  EXPECT_THAT(got.error().message(), HasSubstr("does not answer any more"));
}

TEST_F(DaemonClientTest, a_file_that_is_no_socket_is_no_daemon) {
  DaemonClient client(loop.get_executor(), tree.file("control.sock"));
  const auto got = test::run_task(loop, client.get("/v1/servers"));
  ASSERT_FALSE(got);
  EXPECT_TRUE(client.no_daemon());
}

}  // namespace
}  // namespace mcpbox::app
