#include "egress/proxy/tunnel.h"

#include <sys/socket.h>

#include <boost/asio/socket_base.hpp>
#include <cerrno>
#include <utility>

namespace mcpbox::egress {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kBuffer = 256u << 10;
// After that many buffers the other connections get their turn.
constexpr int kTurns = 4;

// The loop has one thread, and no buffer is in use across a suspension.
char* shared_buffer() {
  static thread_local std::unique_ptr<char[]> buffer(new char[kBuffer]);
  return buffer.get();
}

}  // namespace

Tunnel::Tunnel(Stream client, Stream server, std::unique_ptr<UpFilter> filter, std::chrono::milliseconds idle)
    : client_(std::move(client)),
      server_(std::move(server)),
      filter_(std::move(filter)),
      idle_(idle),
      last_(Clock::now()),
      timer_(client_.get_executor()),
      up_{&client_, &server_, {}},
      down_{&server_, &client_, {}} {}

void Tunnel::start(std::string early, std::string down, Done done) {
  done_ = std::move(done);
  boost::system::error_code error;
  client_.non_blocking(true, error);
  if (!error) server_.non_blocking(true, error);
  if (error) return close("reset");
  watch();
  if (!down.empty() && !deliver(down_, down)) return;
  if (down_.pending.empty()) wait_readable(down_);
  // An empty piece, too: a body of length 0 ends here.
  if (!deliver(up_, early)) return;
  if (up_.pending.empty() && !up_.eof) wait_readable(up_);
}

void Tunnel::close(std::string reason, bool refused, std::string_view farewell) {
  if (closed_) return;
  if (!farewell.empty() && down_.pending.empty())
    (void)::send(client_.native_handle(), farewell.data(), farewell.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  reason_ = std::move(reason);
  refused_ = refused;
  end();
}

void Tunnel::wait_readable(Direction& direction) {
  direction.from->async_wait(boost::asio::socket_base::wait_read,
                             [self = shared_from_this(), &direction](boost::system::error_code error) {
                               if (!error && !self->closed_) self->pump(direction);
                             });
}

void Tunnel::wait_writable(Direction& direction) {
  direction.to->async_wait(boost::asio::socket_base::wait_write,
                           [self = shared_from_this(), &direction](boost::system::error_code error) {
                             if (error || self->closed_ || !self->flush(direction)) return;
                             if (!direction.pending.empty())
                               self->wait_writable(direction);
                             else if (direction.eof)
                               self->finish(direction);
                             else
                               self->wait_readable(direction);
                           });
}

void Tunnel::pump(Direction& direction) {
  for (int turn = 0; turn < kTurns; ++turn) {
    const ssize_t got = ::recv(direction.from->native_handle(), shared_buffer(), kBuffer, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (got < 0) return close("reset");
    last_ = Clock::now();
    if (got == 0) {
      direction.eof = true;
      return finish(direction);
    }
    if (!deliver(direction, std::string_view(shared_buffer(), static_cast<std::size_t>(got)))) return;
    // Either deliver() waits for the receiver, or nothing more may come from here.
    if (!direction.pending.empty() || direction.eof) return;
    // A short read has most likely emptied the queue: do not ask again.
    if (static_cast<std::size_t>(got) < kBuffer / 8) break;
  }
  wait_readable(direction);
}

bool Tunnel::deliver(Direction& direction, std::string_view bytes) {
  if (&direction == &up_ && filter_) {
    const UpFilter::Output out = filter_->feed(bytes);
    if (!out.refusal.empty()) {
      close(out.refusal, true, out.farewell);
      return false;
    }
    direction.pending = out.forward;
    if (out.passed) filter_.reset();
    // A finished body: the client is not read any more, and the server is not told, because an early end would make
    // some give up.
    if (out.ended) direction.eof = direction.shut = true;
  } else {
    const ssize_t sent = ::send(direction.to->native_handle(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
      close("reset");
      return false;
    }
    const std::size_t gone = sent > 0 ? static_cast<std::size_t>(sent) : 0;
    direction.bytes += gone;
    if (gone < bytes.size()) direction.pending.assign(bytes.substr(gone));
  }
  if (!flush(direction)) return false;
  if (!direction.pending.empty()) wait_writable(direction);
  return true;
}

bool Tunnel::flush(Direction& direction) {
  while (!direction.pending.empty()) {
    const ssize_t sent = ::send(direction.to->native_handle(), direction.pending.data(), direction.pending.size(),
                                MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (sent < 0) {
      close("reset");
      return false;
    }
    last_ = Clock::now();
    direction.bytes += static_cast<std::size_t>(sent);
    direction.pending.erase(0, static_cast<std::size_t>(sent));
  }
  direction.pending.shrink_to_fit();
  return true;
}

void Tunnel::finish(Direction& direction) {
  if (!direction.shut) {
    direction.shut = true;
    boost::system::error_code ignored;
    direction.to->shutdown(boost::asio::socket_base::shutdown_send, ignored);
  }
  if (up_.eof && down_.eof && up_.pending.empty() && down_.pending.empty()) end();
}

void Tunnel::watch() {
  timer_.expires_at(last_ + idle_);
  timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (error || self->closed_) return;
    if (Clock::now() - self->last_ >= self->idle_) return self->close("idle");
    self->watch();
  });
}

void Tunnel::end() {
  if (closed_) return;
  closed_ = true;
  boost::system::error_code ignored;
  timer_.cancel();
  client_.close(ignored);
  server_.cancel(ignored);
  // Whoever waits may drop us.
  const auto self = shared_from_this();
  if (done_) std::exchange(done_, nullptr)({up_.bytes, down_.bytes, std::move(reason_), refused_});
  server_.close(ignored);
}

}  // namespace mcpbox::egress
