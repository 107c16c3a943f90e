// A connected stream of bytes: a unix socket, TCP, or TLS over TCP. Who holds one need not know which.
//
// Belongs to one executor. One read and one write may run at a time. Cancelling the awaiting coroutine ends an
// operation with an error; a cancelled read takes nothing from the stream, after a cancelled write it is unusable.
#pragma once

#include <sys/types.h>

#include <boost/asio/any_io_executor.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "net/task.h"

namespace mcpbox::net {

struct Peer {
  std::optional<uid_t> uid;  // SO_PEERCRED; unix sockets only
  std::string address;       // "127.0.0.1", "::1"; empty for unix sockets
  bool tls = false;
};

// What the end of what a peer sends says about the rest of the connection.
enum class EndMeans {
  kHalfClosed,  // it may still read; until_gone() sees a close (unix sockets)
  kAsk,         // shutdown and close look the same until something is sent: then a reset tells (TCP)
  kGone,        // nobody half-closes with it (TLS)
};

class ByteStream {
 public:
  virtual ~ByteStream() = default;

  // At least one byte; 0 at the end of what the peer sends. kUnavailable when the connection broke.
  virtual Task<Result<std::size_t>> read_some(std::span<char> into) = 0;
  // All of the pieces, in one system call where possible.
  virtual Task<Result<void>> write(std::string_view first, std::string_view second = {},
                                   std::string_view third = {}) = 0;
  // Returns when the peer has closed both directions or the connection broke; reads nothing. Only the end that a TCP
  // peer sends is not noticed (EndMeans).
  virtual Task<void> until_gone() = 0;
  // Sends a few bytes at once or not at all. For EndMeans::kAsk; never on TLS.
  virtual void send_now(std::string_view few) = 0;
  // Ends what we send (TLS: close_notify first) and keeps on reading.
  virtual Task<void> shut_down_write() = 0;
  // At once; what waits on the stream ends with an error.
  virtual void close() = 0;

  virtual EndMeans end_means() const = 0;
  virtual const Peer& peer() const = 0;
};

// A connected stream socket of the unix or an internet family, not blocking. TCP gets TCP_NODELAY and keep-alive
// probes, so that a host that vanished is noticed after about two minutes.
std::unique_ptr<ByteStream> socket_stream(boost::asio::any_io_executor executor, UniqueFd socket);

// `stream` with bytes that were read from it already in front. Owns neither.
class PrefixedStream final : public ByteStream {
 public:
  PrefixedStream(std::string prefix, ByteStream& stream) : prefix_(std::move(prefix)), stream_(stream) {}
  Task<Result<std::size_t>> read_some(std::span<char> into) override;
  Task<Result<void>> write(std::string_view first, std::string_view second, std::string_view third) override {
    return stream_.write(first, second, third);
  }
  Task<void> until_gone() override { return stream_.until_gone(); }
  void send_now(std::string_view few) override { stream_.send_now(few); }
  Task<void> shut_down_write() override { return stream_.shut_down_write(); }
  void close() override { stream_.close(); }
  EndMeans end_means() const override { return stream_.end_means(); }
  const Peer& peer() const override { return stream_.peer(); }

 private:
  std::string prefix_;
  std::size_t used_ = 0;
  ByteStream& stream_;
};

}  // namespace mcpbox::net
