#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <thread>

#include "base/unique_fd.h"
#include "box/link/supervisor.h"
#include "box/wire/messages.h"
#include "support/run_task.h"

namespace mcpbox::box {
namespace {

using std::chrono::milliseconds;

// A peer that listens where mcpbox-init would and does what the test says.
class FakeInit {
 public:
  explicit FakeInit(const std::string& below = "") {
    char pattern[] = "/tmp/mcpbox-link-XXXXXX";
    base_ = ::mkdtemp(pattern);
    const std::string folder = base_ + below;
    std::filesystem::create_directories(folder);
    path_ = folder + "/control.sock";
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const std::filesystem::path back = std::filesystem::current_path();
    std::filesystem::current_path(folder);  // a long path does not fit into sun_path
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::string("control.sock").copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    std::filesystem::current_path(back);
    EXPECT_EQ(::listen(listener_.get(), 4), 0);
  }
  ~FakeInit() { std::filesystem::remove_all(base_); }
  const std::string& path() const { return path_; }
  // Accepts, reads something, writes `bytes` and hangs up.
  std::thread answer(std::string bytes) {
    return std::thread([this, bytes = std::move(bytes)] {
      UniqueFd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      char buffer[256];
      EXPECT_GT(::recv(peer.get(), buffer, sizeof buffer, 0), 0);
      EXPECT_EQ(::send(peer.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
    });
  }

 private:
  std::string base_, path_;
  UniqueFd listener_;
};

std::string hello_reply() {
  return *wire::encode_frame(wire::MessageType::kReply, 1, 0, *wire::encode(wire::HelloReply{1, 7, true, 5, "6.1"}));
}

TEST(SupervisorConnect, gives_up_in_time_when_nobody_is_there) {
  boost::asio::io_context loop;
  auto none = test::run_task(
      loop, Supervisor::connect(loop.get_executor(), "/tmp/no-such-folder/control.sock", milliseconds(50)));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code(), Code::kTimeout);
}

TEST(SupervisorConnect, gives_up_in_time_when_nobody_answers) {
  boost::asio::io_context loop;
  FakeInit silent;
  auto none = test::run_task(loop, Supervisor::connect(loop.get_executor(), silent.path(), milliseconds(50)));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code(), Code::kTimeout);
}

TEST(SupervisorConnect, reaches_paths_longer_than_an_address) {
  boost::asio::io_context loop;
  FakeInit init("/" + std::string(150, 'd'));
  auto thread = init.answer(hello_reply());
  auto supervisor =
      test::run_task(loop, Supervisor::connect(loop.get_executor(), init.path(), std::chrono::seconds(10)));
  thread.join();
  ASSERT_TRUE(supervisor) << supervisor.error().message();
  EXPECT_EQ((*supervisor)->info().boot_token, 5u);
}

TEST(SupervisorConnect, passes_on_why_the_other_side_refused) {
  boost::asio::io_context loop;
  FakeInit init;
  auto thread = init.answer(*wire::encode_frame(
      wire::MessageType::kErrorReply, 1, 0,
      *wire::encode(wire::make_error(Code::kUnsupported, "agree on a protocol", "this mcpbox-init speaks version 9"))));
  auto refused = test::run_task(loop, Supervisor::connect(loop.get_executor(), init.path(), std::chrono::seconds(10)));
  thread.join();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kUnsupported);
  EXPECT_NE(refused.error().message().find("speaks version 9"), std::string::npos);
}

TEST(SupervisorConnect, survives_garbage) {
  boost::asio::io_context loop;
  FakeInit init;
  auto thread = init.answer("HTTP/1.1 400 Bad Request\r\n\r\n");
  auto garbage = test::run_task(loop, Supervisor::connect(loop.get_executor(), init.path(), std::chrono::seconds(10)));
  thread.join();
  ASSERT_FALSE(garbage);
  EXPECT_EQ(garbage.error().code(), Code::kDataLoss);
}

TEST(Supervisor, fails_what_waits_when_the_link_is_lost_and_says_so_once) {
  boost::asio::io_context loop;
  FakeInit init;
  auto thread = init.answer(hello_reply());
  auto supervisor =
      test::run_task(loop, Supervisor::connect(loop.get_executor(), init.path(), std::chrono::seconds(10)));
  thread.join();
  ASSERT_TRUE(supervisor);
  int lost = 0;
  (*supervisor)->on_lost([&](const Error& error) {
    ++lost;
    EXPECT_EQ(error.code(), Code::kUnavailable);
  });
  EXPECT_EQ(test::run_task(loop, (*supervisor)->list()).error().code(), Code::kUnavailable);
  EXPECT_EQ(test::run_task(loop, (*supervisor)->list()).error().code(), Code::kUnavailable);
  EXPECT_EQ(lost, 1);
}

}  // namespace
}  // namespace mcpbox::box
