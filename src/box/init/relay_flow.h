// One direction of a relayed connection: splice(2) through a pipe, so that no byte is copied into this process.
//
// An idle direction has no pipe. What the receiver does not take stays in the pipe (64 KiB), and nothing more is read
// before it is gone.
#pragma once

#include <cstddef>
#include <vector>

#include "base/unique_fd.h"

namespace mcpbox::box::init {

struct RelayPipe {
  UniqueFd out, in;  // read end, write end
};

// Empty pipes for the next direction that has something to carry; at most 16 are kept.
class RelayPipes {
 public:
  RelayPipe take();  // without descriptors when none are left
  void give(RelayPipe pipe);

 private:
  std::vector<RelayPipe> spare_;
};

class RelayFlow {
 public:
  // The sockets are non-blocking and outlive this.
  void connect(int from, int to) { from_ = from, to_ = to; }
  // Carries what there is, but not forever. False: the connection is broken.
  bool pump(RelayPipes& pipes);
  bool wants_read() const { return held_ == 0 && !eof_; }
  bool wants_write() const { return held_ > 0; }
  bool finished() const { return shut_; }  // the sender has ended, and the receiver was told

 private:
  int from_ = -1, to_ = -1;
  RelayPipe pipe_;
  std::size_t held_ = 0;
  bool eof_ = false, shut_ = false;
};

}  // namespace mcpbox::box::init
