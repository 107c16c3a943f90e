#include "net/child_process.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <utility>

#include "base/errno_error.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "net/adopt.h"
#include "net/wait.h"

namespace mcpbox::net {
namespace {

namespace asio = boost::asio;
using Descriptor = asio::posix::stream_descriptor;

constexpr std::chrono::seconds kPipeGrace{1};

// Splits what a pipe delivers into lines.
struct LinePipe {
  LinePipe(const asio::any_io_executor& executor, UniqueFd fd, std::function<void(std::string_view)> handler,
           std::size_t limit)
      : descriptor(executor), on_line(std::move(handler)), max_line(limit) {
    adopt(descriptor, std::move(fd));
  }

  void take(std::string_view piece) {
    while (!piece.empty()) {
      const auto end = piece.find('\n');
      const auto room = max_line - line.size();
      const auto count = std::min(end == piece.npos ? piece.size() : end, room);
      line.append(piece.substr(0, count));
      piece.remove_prefix(count);
      const bool complete = !piece.empty() && piece.front() == '\n';
      if (complete) piece.remove_prefix(1);
      if (complete || line.size() == max_line) flush();
    }
  }
  void flush() {
    if (on_line) on_line(line);
    line.clear();
  }

  Descriptor descriptor;
  std::function<void(std::string_view)> on_line;
  std::size_t max_line;
  std::string line;
  std::array<char, 16384> buffer;
  bool open = true;
};

// Reads on by itself until the end of the pipe; `changed` is cancelled whenever something ended.
void pump(std::shared_ptr<LinePipe> pipe, std::shared_ptr<asio::steady_timer> changed) {
  auto& self = *pipe;
  self.descriptor.async_read_some(
      asio::buffer(self.buffer),
      [pipe = std::move(pipe), changed](boost::system::error_code error, std::size_t count) mutable {
        pipe->take(std::string_view(pipe->buffer.data(), count));
        if (!error) return pump(std::move(pipe), std::move(changed));
        if (!pipe->line.empty()) pipe->flush();
        pipe->open = false;
        changed->cancel();
      });
}

// Closes what is still open when run_child() is left in any way, so that no handler outlives it with the caller's
// callbacks.
struct CloseOnExit {
  std::shared_ptr<LinePipe> out, err;
  std::shared_ptr<Descriptor> pidfd;  // the child's
  ~CloseOnExit() {
    for (auto* pipe : {out.get(), err.get()}) {
      pipe->on_line = nullptr;
      boost::system::error_code ignored;
      pipe->descriptor.close(ignored);
    }
    (void)pidfd->release();
  }
};

}  // namespace

Task<Result<ChildExit>> run_child(ChildOptions options) {
  if (options.argv.empty() || options.max_line_bytes == 0 || options.input.size() > PIPE_BUF)
    co_return fail(Code::kInvalidArgument, "nothing to run");
  const std::string name = printable(options.argv[0], 300);
  auto executor = co_await asio::this_coro::executor;
  std::array<int, 2> out_pipe{}, err_pipe{};
  if (::pipe2(out_pipe.data(), O_CLOEXEC) != 0) co_return fail(errno_error(errno, "pipe"));
  UniqueFd out_read(out_pipe[0]), out_write(out_pipe[1]);
  if (::pipe2(err_pipe.data(), O_CLOEXEC) != 0) co_return fail(errno_error(errno, "pipe"));
  UniqueFd err_read(err_pipe[0]), err_write(err_pipe[1]);
  UniqueFd in_read;
  if (!options.input.empty()) {
    std::array<int, 2> in_pipe{};
    if (::pipe2(in_pipe.data(), O_CLOEXEC) != 0) co_return fail(errno_error(errno, "pipe"));
    in_read.reset(in_pipe[0]);
    // It fits into the pipe, so nobody waits.
    const UniqueFd in_write(in_pipe[1]);
    if (::write(in_write.get(), options.input.data(), options.input.size()) < 0)
      co_return fail(errno_error(errno, "write to " + name));
  }
  sys::SpawnOptions spawning;
  spawning.program = options.argv.front();
  spawning.argv = std::move(options.argv);
  spawning.env = std::move(options.env);
  spawning.descriptors = {{out_write.get(), 1}, {err_write.get(), 2}};
  if (in_read) spawning.descriptors.push_back({in_read.get(), 0});
  auto child = sys::spawn(spawning);
  out_write.reset();
  err_write.reset();
  in_read.reset();
  if (!child) co_return fail(std::move(child).error());

  auto changed = std::make_shared<asio::steady_timer>(executor);
  auto out = std::make_shared<LinePipe>(executor, std::move(out_read), options.on_stdout_line, options.max_line_bytes);
  auto err = std::make_shared<LinePipe>(executor, std::move(err_read), options.on_stderr_line, options.max_line_bytes);
  // Lent by the child, which nobody else waits for: a copy would need a descriptor that may not be left.
  auto pidfd = std::make_shared<Descriptor>(executor, child->pidfd());
  CloseOnExit closer{out, err, pidfd};
  auto ended = std::make_shared<bool>(false);
  pump(out, changed);
  pump(err, changed);
  pidfd->async_wait(Descriptor::wait_read, [ended, changed, pidfd](boost::system::error_code) {
    *ended = true;
    changed->cancel();
  });

  auto deadline = std::chrono::steady_clock::now() + options.timeout;
  bool exited = false;
  while (!exited || out->open || err->open) {
    changed->expires_at(deadline);
    co_await changed->async_wait(asio::as_tuple(asio::use_awaitable));
    if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none) {
      co_return fail(Code::kCancelled, name + " was stopped");  // Child's destructor kills
    }
    if (!exited && *ended && child->reap()) {
      exited = true;
      deadline = std::chrono::steady_clock::now() + kPipeGrace;
      continue;
    }
    if (std::chrono::steady_clock::now() < deadline) continue;
    if (exited) break;
    co_return fail(Code::kTimeout,
                   name + " did not end within " + human_milliseconds(static_cast<double>(options.timeout.count())));
  }
  co_return child->exit();
}

Task<bool> wait_for_end(sys::Child& child, std::chrono::steady_clock::time_point until) {
  auto executor = co_await asio::this_coro::executor;
  UniqueFd copy(::fcntl(child.pidfd(), F_DUPFD_CLOEXEC, 3));  // others may wait at the same time
  while (!copy && !child.reap() && std::chrono::steady_clock::now() < until) {
    co_await sleep_for(std::chrono::milliseconds(50));  // no descriptor is left
  }
  if (!copy) co_return child.reap();
  Descriptor pidfd(executor);
  adopt(pidfd, std::move(copy));
  asio::steady_timer timer(executor, until);
  // The timer's handler may run a turn of the loop after this has returned.
  const auto waiting = std::make_shared<Descriptor*>(&pidfd);
  struct Left {
    std::shared_ptr<Descriptor*> waiting;
    ~Left() { *waiting = nullptr; }
  } const left{waiting};
  timer.async_wait([waiting](boost::system::error_code error) {
    boost::system::error_code ignored;
    if (!error && *waiting != nullptr) (*waiting)->cancel(ignored);
  });
  co_await pidfd.async_wait(Descriptor::wait_read, asio::as_tuple(asio::use_awaitable));
  co_return child.reap();
}

}  // namespace mcpbox::net
