#include "box/init/relay_flow.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace mcpbox::box::init {
namespace {

constexpr std::size_t kMaxSpare = 16;
constexpr std::size_t kSpliceChunk =
    1 << 20;                 // more than a pipe holds; it keeps its 64 KiB, with 256 a tunnel was half as fast
constexpr int kRounds = 16;  // then other connections have their turn
constexpr unsigned kFlags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

}  // namespace

RelayPipe RelayPipes::take() {
  RelayPipe pipe;
  if (!spare_.empty()) {
    pipe = std::move(spare_.back());
    spare_.pop_back();
    return pipe;
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return pipe;
  pipe.out.reset(ends[0]);
  pipe.in.reset(ends[1]);
  return pipe;
}

void RelayPipes::give(RelayPipe pipe) {
  if (spare_.size() < kMaxSpare) spare_.push_back(std::move(pipe));
}

bool RelayFlow::pump(RelayPipes& pipes) {
  for (int round = 0; round < kRounds && !shut_; ++round) {
    if (held_ == 0) {
      if (eof_) break;
      if (!pipe_.in) pipe_ = pipes.take();
      if (!pipe_.in) return false;
      const ssize_t got = ::splice(from_, nullptr, pipe_.in.get(), nullptr, kSpliceChunk, kFlags);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) break;
      if (got < 0) return false;
      if (got == 0) eof_ = true;
      held_ = static_cast<std::size_t>(got);
      if (eof_) break;
    }
    const ssize_t gone = ::splice(pipe_.out.get(), nullptr, to_, nullptr, held_, kFlags);
    if (gone < 0 && errno == EINTR) continue;
    if (gone < 0 && errno == EAGAIN) break;
    if (gone <= 0) return false;
    held_ -= static_cast<std::size_t>(gone);
  }
  if (held_ == 0 && pipe_.in) pipes.give(std::exchange(pipe_, RelayPipe()));
  if (held_ == 0 && eof_ && !shut_) {
    shut_ = true;
    ::shutdown(to_, SHUT_WR);
  }
  return true;
}

}  // namespace mcpbox::box::init
