// Ports of this host's loopback, with ways in that lead to its own loopback.
#include "provision/publish/published_ports.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <thread>

#include "provision/publish/ways_in.h"
#include "support/result_matcher.h"
#include "support/run_task.h"

namespace mcpbox::provision {
namespace {

using namespace std::chrono_literals;

UniqueFd stream_socket(int family = AF_INET) {
  return UniqueFd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

std::vector<UniqueFd> some_ways(unsigned count) {
  std::vector<UniqueFd> out;
  for (const int family : {AF_INET, AF_INET6}) {
    for (unsigned i = 0; i < count; ++i) out.push_back(stream_socket(family));
  }
  return out;
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// On a port that was free.
struct Listening {
  UniqueFd socket = stream_socket();
  std::uint16_t port = 0;
  explicit Listening(int backlog = 16) {
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw std::runtime_error("bind");
    port = ntohs(address.sin_port);
    if (backlog >= 0) ::listen(socket.get(), backlog);
  }
  UniqueFd accept() const {
    pollfd ready{socket.get(), POLLIN, 0};
    ::poll(&ready, 1, 10'000);
    return UniqueFd(::accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
};

UniqueFd client_of(std::uint16_t port) {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port);
  const timeval patience{20, 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) socket.reset();
  return socket;
}

std::string read_all(int socket) {
  std::string out;
  char buffer[4096];
  ssize_t got = 0;
  while ((got = ::recv(socket, buffer, sizeof buffer, 0)) > 0) out.append(buffer, static_cast<std::size_t>(got));
  return got == 0 ? out : out + "<" + std::to_string(errno) + ">";
}

struct PublishedPortsTest : testing::Test {
  boost::asio::io_context loop;
  std::vector<std::string> told;
  std::unique_ptr<PublishedPorts> ports;

  std::uint16_t publish(std::uint16_t server, unsigned ways = kMaxPublished) {
    for (int i = 0; i < 20; ++i) {
      const std::uint16_t host = Listening(-1).port;
      auto listening = PublishedPorts::listen(loop.get_executor(), {{host, server}});
      if (!listening) continue;
      ports = std::move(*listening);
      ports->open(some_ways(ways), [this](std::string_view line) { told.emplace_back(line); });
      return host;
    }
    ADD_FAILURE() << "no port is free";
    return 0;
  }
  ~PublishedPortsTest() override {
    boost::asio::post(loop, [this] { ports.reset(); });
    loop.restart();
    loop.run_for(60s);
  }
  // Runs the loop while `work` does in a thread.
  template <class Work>
  void with_loop(Work work) {
    std::jthread other([&] {
      work();
      loop.stop();
    });
    loop.restart();
    loop.run_for(60s);
  }
};

TEST_F(PublishedPortsTest, carry_both_ways_and_each_end_by_itself) {
  const Listening server;
  const std::uint16_t host = publish(server.port);
  with_loop([&] {
    for (int i = 0; i < 5; ++i) {
      const UniqueFd client = client_of(host);
      const UniqueFd peer = server.accept();
      (void)::send(client.get(), "question", 8, MSG_NOSIGNAL);
      ::shutdown(client.get(), SHUT_WR);
      EXPECT_EQ(read_all(peer.get()), "question");
      (void)::send(peer.get(), "answer", 6, MSG_NOSIGNAL);
      ::shutdown(peer.get(), SHUT_WR);
      EXPECT_EQ(read_all(client.get()), "answer");
    }
  });
}

TEST_F(PublishedPortsTest, reset_who_comes_where_nobody_listens) {
  const Listening nobody(-1);
  const std::uint16_t host = publish(nobody.port, 1);
  with_loop([&] {
    for (int i = 0; i < 5; ++i) EXPECT_EQ(read_all(client_of(host).get()), "<" + std::to_string(ECONNRESET) + ">");
  });
  EXPECT_TRUE(told.empty());
}

TEST_F(PublishedPortsTest, take_no_more_connections_than_there_are_ways) {
  const Listening server;
  const std::uint16_t host = publish(server.port, 2);
  with_loop([&] {
    UniqueFd first = client_of(host);
    UniqueFd first_peer = server.accept();
    UniqueFd second = client_of(host);
    UniqueFd second_peer = server.accept();
    EXPECT_EQ(read_all(client_of(host).get()), "<" + std::to_string(ECONNRESET) + ">");
    EXPECT_EQ(read_all(client_of(host).get()), "<" + std::to_string(ECONNRESET) + ">");
    // Closed without having read what came: the way is free again all the same.
    (void)::send(first_peer.get(), "unread", 6, MSG_NOSIGNAL);
    first.reset();
    first_peer.reset();
    std::string answer;
    for (int i = 0; i < 500 && answer != "free"; ++i) {
      UniqueFd third = client_of(host);
      pollfd ready{server.socket.get(), POLLIN, 0};
      if (::poll(&ready, 1, 100) == 1) {
        UniqueFd third_peer = server.accept();
        (void)::send(third_peer.get(), "free", 4, MSG_NOSIGNAL);
        third_peer.reset();
      }
      answer = read_all(third.get());
    }
    EXPECT_EQ(answer, "free");
  });
  ASSERT_EQ(told.size(), 1u) << "and once only";
  EXPECT_NE(told[0].find("published port " + std::to_string(host)), std::string::npos);
}

TEST_F(PublishedPortsTest, end_with_their_owner) {
  const Listening server;
  const std::uint16_t host = publish(server.port);
  UniqueFd client, peer;
  with_loop([&] {
    client = client_of(host);
    peer = server.accept();
  });
  boost::asio::post(loop, [this] { ports.reset(); });
  with_loop([&] {
    (void)read_all(client.get());
    (void)read_all(peer.get());
    EXPECT_FALSE(client_of(host));
  });
}

TEST_F(PublishedPortsTest, say_which_port_is_taken_and_what_to_do) {
  const Listening other;
  const auto taken = PublishedPorts::listen(loop.get_executor(), {{other.port, 3000}});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code(), Code::kFailedPrecondition) << "waiting does not help";
  const std::string port = std::to_string(other.port);
  EXPECT_TRUE(taken.error().message().starts_with("port " + port +
                                                  " of this machine is taken: another program listens "
                                                  "on 127.0.0.1:" +
                                                  port))
      << taken.error().message();
  EXPECT_TRUE(taken.error().message().ends_with(":3000"));
}

Task<bool> connects(boost::asio::any_io_executor executor, WaysIn& ways, std::uint16_t port,
                    std::chrono::milliseconds limit) {
  auto way = ways.take();
  if (!way) co_return false;
  auto stream = co_await connect_by(std::move(executor), *way, port, limit);
  boost::system::error_code ignored;
  UniqueFd used(stream ? stream->release(ignored) : -1);
  const bool connected = static_cast<bool>(used);
  ways.give(std::move(*way), std::move(used));
  co_return connected;
}

TEST(WaysIn, do_not_wait_for_ever_for_who_takes_no_connection) {
  boost::asio::io_context loop;
  const Listening busy(0);
  const UniqueFd first = client_of(busy.port);  // fills the queue
  WaysIn ways(some_ways(1));
  EXPECT_FALSE(test::run_task(loop, connects(loop.get_executor(), ways, busy.port, 50ms)));
  const Listening server;
  for (int i = 0; i < 10; ++i)
    EXPECT_TRUE(test::run_task(loop, connects(loop.get_executor(), ways, server.port, 10s))) << i;
}

TEST(WaysIn, are_streams_of_the_internet_or_closed) {
  std::vector<UniqueFd> odd;
  odd.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  odd.emplace_back(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  odd.push_back(stream_socket(AF_INET6));
  odd.push_back(stream_socket());
  odd.push_back(stream_socket());
  WaysIn ways(std::move(odd));
  EXPECT_EQ(ways.size(), 2u);
  EXPECT_TRUE(ways.take()->four);
  EXPECT_TRUE(ways.take()->six);
  EXPECT_FALSE(ways.take());
}

}  // namespace
}  // namespace mcpbox::provision
