// A scripted HTTP server on a unix socket, in threads of its own, with plain sockets: it can misbehave in every way.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <list>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace mcpbox::test {

class FakeEngine {
 public:
  struct Request {
    std::string method;
    std::string target;
    std::string head;
    std::string body;
    bool is(std::string_view wanted_method, std::string_view part) const {
      return method == wanted_method && target.find(part) != std::string::npos;
    }
  };
  struct Reply {
    std::string bytes;  // raw: head and body
    enum class Then { kKeep, kClose, kHang, kDrip, kFlood } then = Then::kKeep;
    std::string more;  // kDrip: sent byte by byte with `pause` in between; kFlood: sent again and again
    std::chrono::milliseconds pause{5};
  };
  using Handler = std::function<Reply(const Request&)>;

  explicit FakeEngine(Handler handler) : handler_(std::move(handler)) {
    char name[] = "/tmp/mcpbox-fake-XXXXXX";
    if (::mkdtemp(name) == nullptr) throw std::runtime_error("mkdtemp");
    folder_ = name;
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, socket_path().c_str(), sizeof(address.sun_path) - 1);
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
        ::listen(listener_, 128) != 0) {
      throw std::runtime_error("bind");
    }
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~FakeEngine() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    for (auto& thread : threads_) thread.join();
    ::close(listener_);
    ::unlink(socket_path().c_str());
    ::rmdir(folder_.c_str());
  }
  FakeEngine(const FakeEngine&) = delete;
  FakeEngine& operator=(const FakeEngine&) = delete;

  std::string socket_path() const { return folder_ + "/s"; }
  std::vector<Request> requests() const {
    std::lock_guard lock(mutex_);
    return requests_;
  }
  std::size_t count(std::string_view method, std::string_view part) const {
    std::size_t found = 0;
    for (const auto& request : requests()) found += request.is(method, part);
    return found;
  }
  // Ends every open connection, as a restarting engine does.
  void drop_connections() {
    std::lock_guard lock(mutex_);
    for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
  }

  // True when every connection was closed by the client within `limit`.
  bool all_closed(std::chrono::seconds limit = std::chrono::seconds(10)) {
    std::unique_lock lock(mutex_);
    return closed_.wait_for(lock, limit, [this] { return open_.empty(); });
  }

  static Reply json(int status, std::string_view body) {
    Reply reply;
    reply.bytes = "HTTP/1.1 " + std::to_string(status) +
                  " X\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
                  "\r\n\r\n" + std::string(body);
    return reply;
  }
  static Reply raw(std::string bytes, Reply::Then then = Reply::Then::kClose) {
    Reply reply;
    reply.bytes = std::move(bytes);
    reply.then = then;
    return reply;
  }
  // Answers /_ping, /version and /info as Docker 20.10 does and leaves everything else to `rest`.
  static Handler docker(Handler rest, std::string api = "1.41") {
    return [rest = std::move(rest), api](const Request& request) {
      if (request.target == "/_ping") {
        return raw("HTTP/1.1 200 OK\r\nApi-Version: " + api + "\r\nContent-Length: 2\r\n\r\nOK", Reply::Then::kKeep);
      }
      if (request.target.ends_with("/version")) return json(200, R"({"Version":"20.10.24","MinAPIVersion":"1.12"})");
      if (request.target.ends_with("/info")) {
        return json(200, R"({"OperatingSystem":"Debian","NCPU":2,"CgroupVersion":"2","SwapLimit":true,
                             "SecurityOptions":["name=seccomp,profile=default"]})");
      }
      return rest(request);
    };
  }

 private:
  void accept_all() {
    while (true) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      std::lock_guard lock(mutex_);
      if (stopping_) {
        ::close(fd);
        return;
      }
      open_.push_back(fd);
      threads_.emplace_back([this, fd] {
        serve(fd);
        std::lock_guard guard(mutex_);
        open_.remove(fd);
        ::close(fd);
        closed_.notify_all();
      });
    }
  }

  void serve(int fd) {
    std::string buffer;
    while (true) {
      Request request;
      if (!read_request(fd, buffer, request)) return;
      {
        std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      const Reply reply = handler_(request);
      if (!send_all(fd, reply.bytes)) return;
      switch (reply.then) {
        case Reply::Then::kKeep:
          break;
        case Reply::Then::kClose:
          return;
        case Reply::Then::kHang:
          wait_for_close(fd);
          return;
        case Reply::Then::kDrip:
          for (const char c : reply.more) {
            if (!send_all(fd, std::string(1, c))) return;
            std::this_thread::sleep_for(reply.pause);
          }
          wait_for_close(fd);
          return;
        case Reply::Then::kFlood:
          while (send_all(fd, reply.more)) {
          }
          return;
      }
    }
  }

  static bool read_request(int fd, std::string& buffer, Request& out) {
    std::size_t end = 0;
    while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
      if (!read_more(fd, buffer)) return false;
    }
    out.head = buffer.substr(0, end);
    buffer.erase(0, end + 4);
    out.method = out.head.substr(0, out.head.find(' '));
    const auto begin = out.method.size() + 1;
    out.target = out.head.substr(begin, out.head.find(' ', begin) - begin);
    std::size_t length = 0;
    if (const auto at = out.head.find("Content-Length: "); at != std::string::npos) {
      length = std::strtoull(out.head.c_str() + at + 16, nullptr, 10);
    }
    while (buffer.size() < length) {
      if (!read_more(fd, buffer)) return false;
    }
    out.body = buffer.substr(0, length);
    buffer.erase(0, length);
    return true;
  }
  static bool read_more(int fd, std::string& buffer) {
    char piece[16384];
    const ssize_t count = ::recv(fd, piece, sizeof(piece), 0);
    if (count <= 0) return false;
    buffer.append(piece, static_cast<std::size_t>(count));
    return true;
  }
  static bool send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }
  static void wait_for_close(int fd) {
    std::string ignored;
    while (read_more(fd, ignored)) ignored.clear();
  }

  Handler handler_;
  std::string folder_;
  int listener_ = -1;
  std::thread acceptor_;
  mutable std::mutex mutex_;
  std::condition_variable closed_;
  std::list<int> open_;
  std::list<std::thread> threads_;
  std::vector<Request> requests_;
  bool stopping_ = false;
};

}  // namespace mcpbox::test
