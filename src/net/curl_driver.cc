#include "net/curl_driver.h"

#include <sys/epoll.h>

#include <array>
#include <utility>
#include <vector>

namespace mcpbox::net {

namespace asio = boost::asio;

HttpClient::Driver::Driver(asio::any_io_executor executor)
    : executor_(std::move(executor)), epoll_(executor_), timer_(executor_) {
  if (curl_ == nullptr) return;
  const int fd = ::epoll_create1(EPOLL_CLOEXEC);
  if (fd >= 0) {
    boost::system::error_code ignored;
    epoll_.assign(fd, ignored);
  }
  multi_ = curl_->multi_init();
  if (multi_ == nullptr) return;
  curl_->multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &Driver::on_socket);
  curl_->multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_->multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &Driver::on_timer);
  curl_->multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  curl_->multi_setopt(multi_, CURLMOPT_MAXCONNECTS, 8L);
}

HttpClient::Driver::~Driver() {
  if (multi_ == nullptr) return;
  for (auto& [easy, done] : transfers_) curl_->multi_remove_handle(multi_, easy);
  curl_->multi_cleanup(multi_);
}

void HttpClient::Driver::add(CURL* easy, Done done) {
  transfers_.emplace(easy, std::move(done));
  curl_->multi_add_handle(multi_, easy);  // asks for a time-out of 0 through on_timer, which starts it
  wait_for_sockets();
}

void HttpClient::Driver::remove(CURL* easy) {
  if (transfers_.erase(easy) == 0) return;
  curl_->multi_remove_handle(multi_, easy);
  if (!transfers_.empty()) return;
  // Nothing is under way: let the loop run out of work.
  boost::system::error_code ignored;
  epoll_.cancel(ignored);
  timer_.cancel();
}

int HttpClient::Driver::on_socket(CURL*, curl_socket_t socket, int what, void* self, void* known) {
  auto* driver = static_cast<Driver*>(self);
  const int epoll = driver->epoll_.native_handle();
  if (what == CURL_POLL_REMOVE) {
    ::epoll_ctl(epoll, EPOLL_CTL_DEL, socket, nullptr);
    driver->curl_->multi_assign(driver->multi_, socket, nullptr);
    return 0;
  }
  epoll_event event{};
  event.data.fd = socket;
  if (what & CURL_POLL_IN) event.events |= EPOLLIN;
  if (what & CURL_POLL_OUT) event.events |= EPOLLOUT;
  // libcurl ends the transfer then, which would hear nothing more of its socket.
  if (::epoll_ctl(epoll, known == nullptr ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, socket, &event) != 0) return -1;
  driver->curl_->multi_assign(driver->multi_, socket, driver);  // any non-null value: "in the epoll set"
  return 0;
}

int HttpClient::Driver::on_timer(CURLM*, long timeout_ms, void* self) {
  auto* driver = static_cast<Driver*>(self);
  driver->timer_.cancel();
  if (timeout_ms < 0) return 0;
  driver->timer_.expires_after(std::chrono::milliseconds(timeout_ms));
  driver->timer_.async_wait([weak = driver->weak_from_this()](boost::system::error_code error) {
    if (error) return;
    if (auto alive = weak.lock()) {
      alive->act(CURL_SOCKET_TIMEOUT, 0);
      alive->collect();
    }
  });
  return 0;
}

void HttpClient::Driver::wait_for_sockets() {
  if (waiting_ || transfers_.empty()) return;
  waiting_ = true;
  epoll_.async_wait(asio::posix::stream_descriptor::wait_read,
                    [weak = weak_from_this()](boost::system::error_code error) {
                      auto alive = weak.lock();
                      if (!alive) return;
                      alive->waiting_ = false;
                      if (!error) alive->drain_sockets();
                      alive->wait_for_sockets();
                    });
}

void HttpClient::Driver::drain_sockets() {
  std::array<epoll_event, 32> events;
  const int count = ::epoll_wait(epoll_.native_handle(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    int mask = 0;
    if (events[i].events & EPOLLIN) mask |= CURL_CSELECT_IN;
    if (events[i].events & EPOLLOUT) mask |= CURL_CSELECT_OUT;
    if (events[i].events & (EPOLLERR | EPOLLHUP)) mask |= CURL_CSELECT_ERR | CURL_CSELECT_IN;
    // A socket that an earlier turn of this loop closed is unknown to libcurl by now, which it ignores.
    act(events[i].data.fd, mask);
  }
  collect();
}

void HttpClient::Driver::act(curl_socket_t socket, int events) {
  int running = 0;
  curl_->multi_socket_action(multi_, socket, events, &running);
}

void HttpClient::Driver::collect() {
  std::vector<std::pair<CURL*, CURLcode>> ended;
  int left = 0;
  while (CURLMsg* message = curl_->multi_info_read(multi_, &left)) {
    if (message->msg == CURLMSG_DONE) ended.emplace_back(message->easy_handle, message->data.result);
  }
  for (auto& [easy, code] : ended) {
    auto found = transfers_.find(easy);
    if (found == transfers_.end()) continue;
    Done done = std::move(found->second);
    remove(easy);
    done(code);
  }
}

}  // namespace mcpbox::net
