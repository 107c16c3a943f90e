#include "box/link/supervisor_socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <optional>

#include "support/result_matcher.h"

namespace mcpbox::box {
namespace {

struct SupervisorSocketTest : testing::Test {
  boost::asio::io_context loop;
  UniqueFd peer;
  std::shared_ptr<SupervisorSocket> socket;
  std::optional<Error> lost;

  void SetUp() override {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    peer.reset(ends[0]);
    socket = std::make_shared<SupervisorSocket>(loop.get_executor(), UniqueFd(ends[1]));
    socket->start([](std::string_view, std::vector<UniqueFd>) {}, [this](const Error& error) { lost = error; });
  }
  void TearDown() override { socket->close(); }
  void turn() {
    loop.restart();
    loop.run_for(std::chrono::milliseconds(50));
  }
  // sendmsg(2) refuses it, with EBADF, as it may a good one with ETOOMANYREFS or ENOMEM.
  static std::vector<UniqueFd> refused() {
    std::vector<UniqueFd> fds;
    fds.emplace_back(1'000'000);
    return fds;
  }
};

TEST_F(SupervisorSocketTest, is_lost_when_the_kernel_refuses_what_it_sends) {
  EXPECT_THAT(socket->send("frame", refused()), test::fails(Code::kUnavailable, "Bad file descriptor"));
  EXPECT_THAT(socket->send("next", {}), test::fails(Code::kUnavailable, "Bad file descriptor"));
  turn();
  ASSERT_TRUE(lost);
  EXPECT_NE(lost->message().find("Bad file descriptor"), std::string::npos) << lost->message();
  char byte = 0;
  EXPECT_EQ(::recv(peer.get(), &byte, 1, 0), 0) << "the peer must not go on with half a frame";
}

TEST_F(SupervisorSocketTest, is_lost_when_the_kernel_refuses_what_was_waiting) {
  ASSERT_THAT(socket->send(std::string(4u << 20, 'x'), {}), test::succeeds());
  ASSERT_THAT(socket->send("frame", refused()), test::succeeds());
  std::string sink(1u << 20, '\0');
  for (int i = 0; i < 100 && !lost; ++i) {
    loop.restart();
    loop.run_for(std::chrono::milliseconds(5));
    while (::recv(peer.get(), sink.data(), sink.size(), 0) > 0) {
    }
  }
  ASSERT_TRUE(lost);
  EXPECT_NE(lost->message().find("Bad file descriptor"), std::string::npos) << lost->message();
}

TEST_F(SupervisorSocketTest, hears_why_the_peer_went_when_it_can_no_longer_send) {
  ASSERT_EQ(::send(peer.get(), "bye", 3, MSG_NOSIGNAL), 3);
  peer.reset();
  EXPECT_THAT(socket->send("frame", {}), test::succeeds());
  turn();
  ASSERT_TRUE(lost);
  EXPECT_NE(lost->message().find("closed the connection"), std::string::npos) << lost->message();
}

}  // namespace
}  // namespace mcpbox::box
