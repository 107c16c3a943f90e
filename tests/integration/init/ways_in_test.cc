// Sockets of a server's own network, which its controller connects from outside.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "integration/init/fixture.h"

namespace mcpbox::test {
namespace {

int family_of(int socket) {
  int family = AF_UNSPEC;
  socklen_t size = sizeof family;
  ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &size);
  return family;
}

// errno of the connection to 127.0.0.1 there.
int connect_in(int way, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(way, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd ready{way, POLLOUT, 0};
  if (::poll(&ready, 1, 10'000) != 1) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(way, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

class InitWaysIn : public Init {
 protected:
  void SetUp() override { start({"--spaces"}); }

  // Says "ready" and then, to everybody who connects, who it is.
  static box::ProcessSpec listener(const std::string& id, uid_t uid, unsigned ways_in) {
    auto out = spec(id,
                    {"python3", "-u", "-c",
                     R"(import socket,sys
s=socket.socket(); s.bind(('127.0.0.1',3000)); s.listen(); print('ready')
while True: c,_=s.accept(); c.send(sys.argv[1].encode()); c.close())",
                     id},
                    uid);
    out.ways_in = ways_in;
    return out;
  }
};

TEST_F(InitWaysIn, lead_into_that_servers_loopback_and_no_other) {
  auto alice = must_spawn(listener("alice", kAlice, 2));
  auto bob = must_spawn(listener("bob", kBob, 1));
  ASSERT_EQ(read_line(alice.pipes.out.get()), "ready");
  ASSERT_EQ(read_line(bob.pipes.out.get()), "ready");
  ASSERT_EQ(alice.ways_in.size(), 4u);
  EXPECT_EQ(family_of(alice.ways_in[1].get()), AF_INET);
  EXPECT_EQ(family_of(alice.ways_in[2].get()), AF_INET6);
  EXPECT_EQ(connect_in(alice.ways_in[0].get(), 3000), 0);
  EXPECT_EQ(read_to_end(alice.ways_in[0].get()), "alice");
  EXPECT_EQ(connect_in(alice.ways_in[1].get(), 3001), ECONNREFUSED);
  EXPECT_EQ(connect_in(bob.ways_in[0].get(), 3000), 0);
  EXPECT_EQ(read_to_end(bob.ways_in[0].get()), "bob");
}

TEST_F(InitWaysIn, are_not_made_unless_asked_for_and_not_without_bounds) {
  EXPECT_TRUE(must_spawn(spec("none", {"cat"})).ways_in.empty());
  auto all = spec("all", {"cat"}, kBob);
  all.ways_in = 64;
  EXPECT_EQ(must_spawn(all).ways_in.size(), 128u);
  auto more = spec("more", {"cat"});
  more.ways_in = 65;
  EXPECT_THAT(run(supervisor->spawn(more)), fails(Code::kInvalidArgument, "too many ways in"));
}

TEST_F(InitWaysIn, are_no_descriptors_of_the_server) {
  auto what = spec("seen", {"sh", "-c", "ls /proc/self/fd"});
  what.ways_in = 8;
  EXPECT_EQ(output_of(what).out, "0\n1\n2\n3\n");  // 3: the folder that ls reads
}

TEST_F(InitWaysIn, come_to_a_process_on_the_callers_descriptors_too) {
  UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  auto what = listener("direct", kAlice, 1);
  int out[2];
  ASSERT_EQ(::pipe2(out, O_CLOEXEC), 0);
  const UniqueFd read_end(out[0]), write_end(out[1]);
  auto spawned = run(supervisor->spawn_direct(what, {null.get(), write_end.get(), null.get()}));
  ASSERT_THAT(spawned, succeeds());
  EXPECT_FALSE(spawned->pipes.in);
  ASSERT_EQ(spawned->ways_in.size(), 2u);
  ASSERT_EQ(read_line(read_end.get()), "ready");
  EXPECT_EQ(connect_in(spawned->ways_in[0].get(), 3000), 0);
  EXPECT_EQ(read_to_end(spawned->ways_in[0].get()), "direct");
}

}  // namespace
}  // namespace mcpbox::test
