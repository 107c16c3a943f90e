// What a client sends, read into a bounded buffer when somebody wants it. Internal to net/.
#pragma once

#include <chrono>
#include <string_view>
#include <vector>

#include "net/byte_stream.h"
#include "net/wait.h"

namespace mcpbox::net {

// One reader (run()), one consumer. Nothing is read that is not wanted: that is the back-pressure on the client.
class HttpInput {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr std::size_t kMax = 32u << 10;  // bytes kept; a head and what came right behind it

  HttpInput(boost::asio::any_io_executor executor, ByteStream& stream);

  std::string_view data() const { return {buffer_.data() + begin_, end_ - begin_}; }
  // Views of data() hold until the consumer waits.
  void consume(std::size_t size);
  // Waits for more than data() has now. False when the time is up, the client's end came, or the buffer is full.
  Task<bool> more(TimePoint deadline);
  // Reads ahead although nobody waits, until the buffer is full: to notice the client's end.
  void watch(bool on);
  // Wakes more(), which answers false from now on.
  void give_up();

  bool ended() const { return ended_; }    // nothing follows what data() has
  bool broken() const { return broken_; }  // and not by the client's own end
  bool full() const { return end_ - begin_ >= kMax; }

  // Reads until the client's end. Its task must end before the consumer's.
  Task<void> run();

 private:
  ByteStream& stream_;
  Signal wake_;     // the reader: something is wanted
  Signal arrived_;  // the consumer
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;
  bool wanted_ = false, watching_ = false, ended_ = false, broken_ = false, given_up_ = false;
};

}  // namespace mcpbox::net
