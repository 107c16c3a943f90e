// A proxy on a loop of its own, servers on loopback, and a client that speaks as mcpbox-init's relay does.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <cstring>
#include <functional>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/digest.h"
#include "base/unique_fd.h"
#include "egress/control/codec.h"
#include "egress/proxy/proxy.h"
#include "support/run_task.h"
#include "support/temp_tree.h"

namespace mcpbox::egress {

inline void give_up_after(int fd, int seconds) {
  const timeval limit{seconds, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

inline bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

// Until `enough` says so or the end of the stream.
inline std::string read_until(
    int fd, const std::function<bool(const std::string&)>& enough = [](const std::string&) { return false; }) {
  std::string out;
  char piece[65536];
  while (!enough(out)) {
    const ssize_t got = ::recv(fd, piece, sizeof piece, 0);
    if (got < 0 && errno == EAGAIN)
      throw std::runtime_error("nothing came for ten seconds; so far: " + out.substr(0, 300));
    if (got <= 0) break;
    out.append(piece, static_cast<std::size_t>(got));
  }
  return out;
}
// Exactly so many, or fewer when the stream ends.
inline std::string read_bytes(int fd, std::size_t count) {
  std::string out(count, '\0');
  std::size_t have = 0;
  while (have < count) {
    const ssize_t got = ::recv(fd, out.data() + have, count - have, 0);
    if (got < 0 && errno == EAGAIN)
      throw std::runtime_error("nothing came for ten seconds; so far: " + out.substr(0, have));
    if (got <= 0) break;
    have += static_cast<std::size_t>(got);
  }
  out.resize(have);
  return out;
}

// Listens on a loopback address and gives each connection to `serve`, one after another, on its thread.
class LoopbackServer {
 public:
  explicit LoopbackServer(std::function<void(int fd)> serve, const char* address = "127.0.0.1", std::uint16_t port = 0)
      : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int one = 1;
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(port);
    ::inet_pton(AF_INET, address, &name.sin_addr);
    socklen_t size = sizeof name;
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&name), size) != 0 || ::listen(listener_.get(), 64) != 0)
      throw std::runtime_error("cannot listen on loopback");
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&name), &size);
    port_ = ntohs(name.sin_port);
    thread_ = std::thread([this, serve = std::move(serve)] {
      for (;;) {
        const UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!fd) return;
        ++accepted_;
        give_up_after(fd.get(), 10);
        serve(fd.get());
      }
    });
  }
  ~LoopbackServer() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  std::uint16_t port() const { return port_; }
  int accepted() const { return accepted_; }

 private:
  UniqueFd listener_;
  std::uint16_t port_ = 0;
  std::atomic<int> accepted_ = 0;
  std::thread thread_;
};

inline void echo(int fd) {
  char piece[65536];
  for (ssize_t got; (got = ::recv(fd, piece, sizeof piece, 0)) > 0;) {
    if (!send_all(fd, {piece, static_cast<std::size_t>(got)})) return;
  }
}

inline UniqueFd connect_unix(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::strncpy(name.sun_path, path.c_str(), sizeof name.sun_path - 1);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) != 0)
    throw std::runtime_error("cannot connect to " + path);
  give_up_after(fd.get(), 10);
  return fd;
}

// A look-up that has its answer at once.
template <class F>
auto answering(F answer) {
  return [answer](std::string name) -> Task<Result<std::vector<IpAddress>>> { co_return answer(name); };
}

constexpr uid_t kUid = 1900000001;

// "CONNECT host:port" with the credential of process "p1".
inline std::string connect_head(const std::string& target, const std::string& token = "secret-token") {
  return "CONNECT " + target + " HTTP/1.1\r\nHost: " + target +
         "\r\nProxy-Authorization: " + basic_credential("p1", token) + "\r\n\r\n";
}

class Rig {
 public:
  explicit Rig(NetworkText network = {{{"a.test", "127.0.0.1"}, {"b.test", "127.0.0.1"}}, {"127.0.0.0/8"}, Secret()},
               ProxyOptions options = {})
      : destinations(*parse_network(network)), audit(*AuditLog::open({.directory = tree.path("audit")})) {
    options.socket_path = tree.path("egress.sock");
    proxy = std::move(*Proxy::listen(loop.get_executor(), options, registry, destinations, audit));
    proxy->start();
    thread_ = std::thread([this] { loop.run(); });
  }
  ~Rig() {
    std::promise<void> stopped;
    boost::asio::co_spawn(loop, proxy->stop(), [&](std::exception_ptr) { stopped.set_value(); });
    stopped.get_future().wait();
    guard_.reset();
    loop.stop();
    thread_.join();
  }

  // Runs on the loop and waits for it.
  template <class F>
  auto on_loop(F function) {
    std::packaged_task<decltype(function())()> task(std::move(function));
    auto future = task.get_future();
    boost::asio::post(loop, [&] { task(); });
    return future.get();
  }
  void allow(std::vector<std::string> rules, std::vector<std::string> install = {}, Phase phase = Phase::kRun,
             Mode mode = Mode::kAllowlist) {
    Policy policy{mode, *parse_rules(rules), *parse_rules(install)};
    on_loop([&] {
      return registry.add({"p1", "everything", kUid, "", sha256_hex("secret-token"), phase, policy}).has_value();
    });
  }
  UniqueFd dial(uid_t uid = kUid) {
    UniqueFd fd = connect_unix(tree.path("egress.sock"));
    send_all(fd.get(), "MCPBOX1 " + std::to_string(uid) + "\n");
    return fd;
  }
  // A tunnel that stands; throws with the answer otherwise.
  UniqueFd tunnel(const std::string& target) {
    UniqueFd fd = dial();
    send_all(fd.get(), connect_head(target));
    const std::string ok = "HTTP/1.1 200 Connection established\r\n\r\n";
    const std::string answer = read_bytes(fd.get(), ok.size());
    if (answer != ok) throw std::runtime_error(answer + read_until(fd.get()));
    return fd;
  }
  // The whole answer to one request.
  std::string ask(const std::string& request, uid_t uid = kUid) {
    const UniqueFd fd = dial(uid);
    send_all(fd.get(), request);
    return read_until(fd.get());
  }
  // Waits, by asking the loop again and again, until no tunnel is open.
  void drained() {
    while (on_loop([&] { return proxy->tunnels(); }) != 0) std::this_thread::yield();
  }

  test::TempTree tree;
  boost::asio::io_context loop{1};
  Registry registry;
  Destinations destinations;
  AuditLog audit;
  std::unique_ptr<Proxy> proxy;

 private:
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_{loop.get_executor()};
  std::thread thread_;
};

}  // namespace mcpbox::egress
