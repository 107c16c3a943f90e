// A server and clients that write raw bytes, in threads.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <future>
#include <string>
#include <thread>

#include "base/unique_fd.h"
#include "net/http_server.h"
#include "net/wait.h"
#include "support/run_task.h"
#include "support/temp_tree.h"

namespace mcpbox::net {

using std::chrono::milliseconds;

inline UniqueFd connect_to(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fd.reset();
  return fd;
}

inline void put(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t size = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (size <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(size));
  }
}

inline std::string read_to_end(int fd) {
  std::string out;
  char buffer[4096];
  for (ssize_t size = 0; (size = ::read(fd, buffer, sizeof buffer)) > 0;)
    out.append(buffer, static_cast<std::size_t>(size));
  return out;
}

// Everything that comes back for these bytes, until the server closes.
inline std::string talk(const std::string& path, const std::string& bytes) {
  const UniqueFd fd = connect_to(path);
  if (!fd) return "no connection";
  put(fd.get(), bytes);
  return read_to_end(fd.get());
}

inline std::string get(const std::string& target) {
  return "GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
}

struct HttpFixture : testing::Test {
  test::TempTree tree;
  boost::asio::io_context loop;
  HttpServerOptions options;
  std::string socket = tree.path("s");
  HttpHandler handler = [](HttpExchange& out) { return echo(out); };

  static Task<void> echo(HttpExchange& out) {
    const ServedRequest& request = out.request();
    const auto received = co_await read_body(out);
    if (!received) {
      (void)co_await out.send(status_of_body_error(received.error().code()), "text/plain", "no body\n");
      co_return;
    }
    std::string body = request.method + " " + request.path;
    for (const auto& [name, value] : request.query) body += " " + name + "=" + value;
    body += " " + std::to_string(received->size());
    (void)co_await out.send(200, "text/plain", std::move(body));
  }

  // Serves while `client` runs in a thread of its own, and gives what it gave.
  std::string with_server(std::function<std::string()> client) {
    return serve(HttpServer::listen(loop.get_executor(), UnixPlace{socket}, options, handler),
                 [&](HttpServer&) { return client(); });
  }
  std::string serve(Result<std::unique_ptr<HttpServer>> server, std::function<std::string(HttpServer&)> client) {
    if (!server) return "listen: " + server.error().message();
    std::string got;
    auto body = [&]() -> Task<int> {
      (*server)->start();
      auto answer = std::async(std::launch::async, [&] { return client(**server); });
      while (answer.wait_for(milliseconds(0)) != std::future_status::ready) co_await sleep_for(milliseconds(1));
      co_await (*server)->stop();
      got = answer.get();
      co_return 0;
    };
    test::run_task(loop, body());
    return got;
  }
  std::string ask(const std::string& bytes) {
    return with_server([&] { return talk(socket, bytes); });
  }
};

// What hanging handlers tell of themselves to the clients' threads.
struct Seen {
  std::atomic<int> running = 0, cancelled = 0;
  bool wait_for(const std::atomic<int>& count, int wanted) const {
    for (int i = 0; i < 5000 && count != wanted; ++i) std::this_thread::sleep_for(milliseconds(1));
    return count == wanted;
  }
};
inline HttpHandler hanging(Seen& seen) {
  return [&seen](HttpExchange& out) -> Task<void> {
    const std::string path = out.request().path;
    if (path == "/streamed") (void)co_await out.begin(200, "text/plain");
    struct Counted {
      Seen& seen;
      bool ended = false;
      explicit Counted(Seen& s) : seen(s) { ++seen.running; }
      ~Counted() {
        --seen.running;
        if (!ended) ++seen.cancelled;
      }
    } counted{seen};
    co_await sleep_for(path == "/soon" ? milliseconds(100) : milliseconds(std::chrono::hours(1)));
    counted.ended = true;
    (void)co_await out.send(200, "text/plain", "done");
  };
}

}  // namespace mcpbox::net
