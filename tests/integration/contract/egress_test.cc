// The way out of a sandbox: through mcpbox-init's relay and the egress proxy, and no other. Numbers of cases are those
// of the threat model.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/socket.h>

#include <list>
#include <mutex>

#include "contract.h"
#include "egress/control/egress_process.h"
#include "integration/egress/rig.h"
#include "support/result_matcher.h"

namespace mcpbox::box {
namespace {

using egress::basic_credential;
using testing::Each;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// Answers GET requests; everything else comes back as it is, `late` = when the client has ended.
class Target {
 public:
  explicit Target(bool late = false)
      : server_([this, late](int fd) {
          const std::lock_guard lock(mutex_);
          threads_.emplace_back([copy = UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)), late] { serve(copy.get(), late); });
        }) {}
  std::string name(const std::string& host = "a.test") const { return host + ":" + std::to_string(server_.port()); }
  std::uint16_t port() const { return server_.port(); }
  int accepted() const { return server_.accepted(); }

 private:
  static void serve(int fd, bool late) {
    std::string all;
    char piece[65536];
    for (ssize_t got; (got = ::recv(fd, piece, sizeof piece, 0)) > 0;) {
      const std::string_view now(piece, static_cast<std::size_t>(got));
      all += now;
      if (all.starts_with("GET ")) {
        if (!all.contains("\r\n\r\n")) continue;
        egress::send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        return;
      }
      if (!late && !egress::send_all(fd, now)) return;
    }
    if (late) egress::send_all(fd, all);
  }
  std::mutex mutex_;
  std::list<std::jthread> threads_;  // end before the mutex does, and after the server, which gives them work
  egress::LoopbackServer server_;
};

struct EgressContract : Contract {
  std::unique_ptr<egress::EgressProcess> proxy;
  std::string directory;

  void SetUp() override {
    Contract::SetUp();
    directory = folder.dir("egress");
    ::chmod(directory.c_str(), 0700);
  }
  void TearDown() override {
    stop_proxy();
    Contract::TearDown();
  }
  void start_proxy() {
    auto launch = egress::egress_launch(directory + "/" + std::string(kEgressSocket), folder.path("audit"));
    launch.program = CONTRACT_MCPBOX;
    auto started = egress::EgressProcess::start(loop.get_executor(), launch);
    ASSERT_THAT(started, test::succeeds());
    proxy = std::move(*started);
    ASSERT_THAT(run(proxy->configure({{{"a.test", "127.0.0.1"}, {"b.test", "127.0.0.1"}}, {"127.0.0.0/8"}, Secret()})),
                test::succeeds());
  }
  void stop_proxy() {
    if (!proxy) return;
    run([](egress::EgressProcess& process) -> Task<bool> {
      co_await process.stop();
      co_return true;
    }(*proxy));
    proxy.reset();
  }
  void allow(const std::string& id, uid_t uid, std::vector<std::string> rules) {
    auto done = run(proxy->register_process({.process = id,
                                             .server = id,
                                             .uid = seen(uid),
                                             .sandbox = Sandbox::sandbox_name(options("one")),
                                             .token_sha256 = sha256_hex("token-" + id),
                                             .phase = "run",
                                             .policy = {"allowlist", std::move(rules), {}}}));
    ASSERT_THAT(done, test::succeeds());
  }
  static std::string credential(const std::string& id) { return basic_credential(id, "token-" + id); }
  std::unique_ptr<Sandbox> open_with_egress() {
    SandboxOptions wanted = options("one");
    wanted.egress_dir = directory;
    return open(std::move(wanted));
  }
  ProcessSpec probe(const std::string& id, uid_t uid, std::vector<std::string> arguments) {
    ProcessSpec spec = process(id, std::move(arguments));
    spec.argv[0] = "/opt/contract/egress_probe";
    spec.uid = spec.gid = uid;
    spec.confine.connect_ports = {kEgressPort};
    return spec;
  }
  std::string output(Sandbox& session, ProcessSpec spec) {
    auto ended = run_all(session, {std::move(spec)});
    return ended.front().output;
  }
  // With one id the relay, like everything that is outside of the servers' own namespaces, sees root.
  uid_t seen(uid_t uid) const { return info.traits.one_server_per_sandbox ? 0 : uid; }
  uid_t uid(unsigned number) const { return info.traits.uids.first + number; }
  std::string preface(unsigned number) {
    return fmt::format("MCPBOX1 {} {}\n", seen(uid(number)), Sandbox::sandbox_name(options("one")));
  }
};

TEST_F(EgressContract, carries_requests_to_what_a_server_may_reach_and_to_nothing_else) {
  Target target;
  start_proxy();
  allow("p1", uid(7), {target.name()});
  auto session = open_with_egress();
  ASSERT_TRUE(session);
  const auto get = [&](const std::string& where) {
    return output(*session, probe("p1", uid(7), {"get", credential("p1"), "http://" + where + "/x"}));
  };
  const std::string allowed = get(target.name());
  EXPECT_THAT(allowed, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(allowed, EndsWith("hello"));
  EXPECT_THAT(get(target.name("b.test")), StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(get("a.test:1"), StartsWith("HTTP/1.1 403"));
  EXPECT_EQ(target.accepted(), 1);
}

TEST_F(EgressContract, case_54_a_credential_counts_for_its_own_process_only) {
  Target target;
  start_proxy();
  allow("p1", uid(7), {target.name()});
  allow("p2", uid(8), {target.name()});
  auto session = open_with_egress();
  ASSERT_TRUE(session);
  const auto get = [&](uid_t who, const std::string& with) {
    return output(*session, probe("thief", who, {"get", with, "http://" + target.name() + "/"}));
  };
  EXPECT_THAT(get(uid(8), credential("p1")), StartsWith("HTTP/1.1 407"));
  EXPECT_THAT(get(uid(7), credential("p2")), StartsWith("HTTP/1.1 407"));
  EXPECT_THAT(get(uid(7), basic_credential("p1", "guess")), StartsWith("HTTP/1.1 407"));
  EXPECT_THAT(get(uid(9), credential("p1")), StartsWith("HTTP/1.1 407"));
  EXPECT_EQ(target.accepted(), 0);
  EXPECT_THAT(get(uid(8), credential("p2")), StartsWith("HTTP/1.1 200"));
}

TEST_F(EgressContract, passes_on_that_one_side_has_said_everything) {
  Target target(true);
  start_proxy();
  allow("p1", uid(7), {target.name()});
  auto session = open_with_egress();
  ASSERT_TRUE(session);
  EXPECT_EQ(output(*session, probe("p1", uid(7), {"half-close", credential("p1"), target.name(), "all that I have"})),
            "all that I have");
}

TEST_F(EgressContract, carries_two_hundred_connections_at_once) {
  Target target;
  start_proxy();
  auto session = open_with_egress();
  ASSERT_TRUE(session);
  std::vector<ProcessSpec> specs;
  for (unsigned i = 0; i < 8; ++i) {
    const std::string id = "p" + std::to_string(i);
    allow(id, uid(10 + i), {target.name()});
    specs.push_back(probe(id, uid(10 + i), {"many", credential(id), target.name(), "25"}));
  }
  for (const Ended& each : run_all(*session, std::move(specs))) EXPECT_EQ(each.output, "25\n");
  EXPECT_EQ(target.accepted(), 200);
}

TEST_F(EgressContract, finds_the_proxy_again_that_was_started_anew) {
  Target target;
  start_proxy();
  allow("p1", uid(7), {target.name()});
  auto session = open_with_egress();
  ASSERT_TRUE(session);
  const auto get = [&] {
    return output(*session, probe("p1", uid(7), {"get", credential("p1"), "http://" + target.name() + "/"}));
  };
  EXPECT_THAT(get(), StartsWith("HTTP/1.1 200"));
  ::kill(proxy->pid(), SIGKILL);
  stop_proxy();
  start_proxy();
  EXPECT_THAT(get(), StartsWith("HTTP/1.1 407"));
  allow("p1", uid(7), {target.name()});
  EXPECT_THAT(get(), StartsWith("HTTP/1.1 200"));
}

// In the proxy's place: takes one connection, says who relayed it and how it began.
class Listener {
 public:
  explicit Listener(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    ::unlink(path.c_str());
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    path.copy(name.sun_path, sizeof name.sun_path - 1);
    egress::give_up_after(socket_.get(), 20);
    const mode_t before = ::umask(0177);
    if (::bind(socket_.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) != 0 || ::listen(socket_.get(), 8) != 0)
      throw std::runtime_error("cannot listen");
    ::umask(before);
  }
  struct Taken {
    pid_t pid = 0;
    std::string preface;
  };
  Taken take() {
    const UniqueFd fd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ucred peer{};
    socklen_t size = sizeof peer;
    ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size);
    egress::give_up_after(fd.get(), 20);
    const std::string got =
        egress::read_until(fd.get(), [](const std::string& so_far) { return so_far.ends_with("\r\n\r\n"); });
    return {peer.pid, got.substr(0, got.find('\n') + 1)};
  }

 private:
  UniqueFd socket_;
};

TEST_F(EgressContract, says_whose_a_connection_is_and_comes_back_when_it_is_killed) {
  const std::string path = directory + "/" + std::string(kEgressSocket);
  auto session = open_with_egress();
  ASSERT_TRUE(session);
  const auto taken = [&](Listener& listener, unsigned number) {
    Listener::Taken out;
    run_all(*session, {probe("p1", uid(number), {"get", "none", "http://a.test/"})}, [&] { out = listener.take(); });
    return out;
  };
  pid_t relay = 0;
  {
    Listener listener(path);
    const Listener::Taken first = taken(listener, 7);
    EXPECT_EQ(first.preface, preface(7));
    EXPECT_EQ(taken(listener, 8).preface, preface(8));
    relay = first.pid;
    ASSERT_GT(relay, 1);
    ASSERT_EQ(::kill(relay, SIGKILL), 0) << std::strerror(errno);
  }
  // The connection waits for both: the relay, and the socket that is made anew.
  std::optional<Listener> listener;
  Listener::Taken again;
  run_all(*session, {probe("p1", uid(7), {"get", "none", "http://a.test/"})}, [&] {
    listener.emplace(path);
    again = listener->take();
  });
  EXPECT_EQ(again.preface, preface(7));
  EXPECT_NE(again.pid, relay);
}

TEST_F(EgressContract, the_proxys_socket_itself_is_out_of_reach) {
  Listener listener(directory + "/" + std::string(kEgressSocket));
  auto session = open_with_egress();
  ASSERT_TRUE(session);
  std::vector<uid_t> uids{uid(7)};
  if (::geteuid() != 0) uids.push_back(::geteuid());  // servers may have it, for the user's own folders
  for (const uid_t each : uids) {
    ProcessSpec spec = probe("p1", each, {"socket", std::string(kEgressMount) + "/" + std::string(kEgressSocket)});
    spec.confine.read_write = {"/tmp"};
    EXPECT_THAT(output(*session, std::move(spec)), testing::AnyOf("EACCES\n", "ENOENT\n")) << "as " << each;
  }
}

TEST_F(EgressContract, case_46_no_address_of_the_host_or_around_it_is_reached) {
  const egress::LoopbackServer everywhere([](int) {}, "0.0.0.0");
  std::vector<std::string> addresses{"127.0.0.1",     "::1",        "169.254.169.254", "100.100.100.200",
                                     "fd00:ec2::254", "172.17.0.1", "10.0.2.2",        "192.0.2.1"};
  ifaddrs* all = nullptr;
  ASSERT_EQ(::getifaddrs(&all), 0);
  for (const ifaddrs* each = all; each != nullptr && addresses.size() < 24; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET) continue;
    char text[INET_ADDRSTRLEN];
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(each->ifa_addr)->sin_addr, text, sizeof text);
    addresses.emplace_back(text);
  }
  ::freeifaddrs(all);
  const std::vector<std::uint16_t> ports{everywhere.port(), 22, 53, 80, 443, 2375, 2376, 8080};
  auto session = open_with_egress();
  ASSERT_TRUE(session);
  ProcessSpec spec = probe("p1", uid(7), {"reach"});
  for (const std::string& address : addresses) {
    for (const std::uint16_t port : ports) spec.argv.insert(spec.argv.end(), {address, std::to_string(port)});
  }
  spec.confine.connect_ports = ports;  // more than any server gets: there is nothing behind it
  const auto ended = run_all(*session, {std::move(spec)});
  EXPECT_EQ(ended[0].exit.code, 0);
  EXPECT_EQ(static_cast<std::size_t>(std::ranges::count(ended[0].output, '\n')), addresses.size() * ports.size());
  EXPECT_THAT(ended[0].output, Not(HasSubstr("REACHED")));
  EXPECT_EQ(everywhere.accepted(), 0);
}

TEST_F(EgressContract, case_48_there_is_no_interface_but_loopback_and_no_socket_for_anything_beyond_it) {
  auto session = open_with_egress();
  ASSERT_TRUE(session);
  EXPECT_EQ(output(*session, probe("p1", uid(7), {"interfaces"})), "lo\n");
  const std::string sockets = output(*session, probe("p1", uid(7), {"sockets"}));
  EXPECT_EQ(std::ranges::count(sockets, '\n'), 10);
  EXPECT_THAT(sockets, Not(HasSubstr("MADE")));
  ProcessSpec dns =
      probe("p1", uid(7),
            {"reach", "8.8.8.8", "53", "1.1.1.1", "53", "9.9.9.9", "853", "127.0.0.11", "53", "127.0.0.53", "53"});
  dns.confine.connect_ports = {53, 853};
  EXPECT_EQ(output(*session, std::move(dns)),
            "8.8.8.8:53 ENETUNREACH\n1.1.1.1:53 ENETUNREACH\n9.9.9.9:853 ENETUNREACH\n127.0.0.11:53 "
            "ECONNREFUSED\n127.0.0.53:53 ECONNREFUSED\n");
}

TEST_F(EgressContract, without_a_directory_nothing_listens_inside) {
  auto session = open(options("one"));
  ASSERT_TRUE(session);
  EXPECT_EQ(output(*session, probe("p1", uid(7), {"get", "none", "http://a.test/"})), "relay: Connection refused\n");
}

}  // namespace
}  // namespace mcpbox::box
