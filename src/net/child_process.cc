#include "net/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>

#include "base/errno_error.h"
#include "base/text.h"
#include "base/unique_fd.h"

namespace mcpbox::net {
namespace {

namespace asio = boost::asio;
using Descriptor = asio::posix::stream_descriptor;

constexpr std::chrono::seconds kPipeGrace{1};

// The child as a resource: destroyed before it was reaped, it is killed and waited for (SIGKILL makes that prompt).
class Child {
 public:
  Child(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  ~Child() {
    if (reaped_) return;
    kill_group();
    reap(0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // The leader is not reaped yet, so its group's number cannot belong to somebody else.
  void kill_group() const { ::kill(-pid_, SIGKILL); }
  bool reap(int flags) {
    siginfo_t info{};
    int result = 0;
    while ((result = ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | flags)) != 0 && errno == EINTR) {
    }
    if (result == 0 && info.si_pid == 0) return false;  // WNOHANG, still running
    reaped_ = true;
    if (result == 0 && info.si_code == CLD_EXITED) exit_.code = info.si_status;
    if (result == 0 && info.si_code != CLD_EXITED) exit_.signal = info.si_status;
    return true;
  }
  const ChildExit& exit() const { return exit_; }
  int pidfd() const { return pidfd_.get(); }

 private:
  pid_t pid_;
  UniqueFd pidfd_;
  bool reaped_ = false;
  ChildExit exit_;
};

// Splits what a pipe delivers into lines.
struct LinePipe {
  LinePipe(asio::any_io_executor executor, UniqueFd fd, std::function<void(std::string_view)> handler,
           std::size_t limit)
      : descriptor(executor, fd.release()), on_line(std::move(handler)), max_line(limit) {}

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

struct SpawnActions {
  SpawnActions() {
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnActions() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
};

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (auto& text : strings) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

Result<std::unique_ptr<Child>> spawn(ChildOptions& options, int out, int err) {
  SpawnActions actions;
  posix_spawn_file_actions_addopen(&actions.files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions.files, out, 1);
  posix_spawn_file_actions_adddup2(&actions.files, err, 2);
  posix_spawn_file_actions_addclosefrom_np(&actions.files, 3);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&actions.attributes, &none);
  posix_spawnattr_setsigdefault(&actions.attributes, &all);  // above all SIGPIPE, which we ignore
  posix_spawnattr_setpgroup(&actions.attributes, 0);
  posix_spawnattr_setflags(&actions.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, options.argv[0].c_str(), &actions.files, &actions.attributes,
                                  pointers(options.argv).data(), pointers(options.env).data());
  if (error != 0) return fail(errno_error(error, "start " + printable(options.argv[0], 300)));
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const int pidfd_error = errno;
  const bool watched = static_cast<bool>(pidfd);
  auto child = std::make_unique<Child>(pid, std::move(pidfd));
  if (!watched) return fail(errno_error(pidfd_error, "watch " + printable(options.argv[0], 300)));
  return child;
}

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
  std::shared_ptr<Descriptor> pidfd;
  ~CloseOnExit() {
    for (auto* pipe : {out.get(), err.get()}) {
      pipe->on_line = nullptr;
      boost::system::error_code ignored;
      pipe->descriptor.close(ignored);
    }
    boost::system::error_code ignored;
    pidfd->close(ignored);
  }
};

}  // namespace

Task<Result<ChildExit>> run_child(ChildOptions options) {
  if (options.argv.empty() || options.max_line_bytes == 0) co_return fail(Code::kInvalidArgument, "nothing to run");
  const std::string name = printable(options.argv[0], 300);
  auto executor = co_await asio::this_coro::executor;
  std::array<int, 2> out_pipe{}, err_pipe{};
  if (::pipe2(out_pipe.data(), O_CLOEXEC) != 0) co_return fail(errno_error(errno, "pipe"));
  UniqueFd out_read(out_pipe[0]), out_write(out_pipe[1]);
  if (::pipe2(err_pipe.data(), O_CLOEXEC) != 0) co_return fail(errno_error(errno, "pipe"));
  UniqueFd err_read(err_pipe[0]), err_write(err_pipe[1]);
  auto spawned = spawn(options, out_write.get(), err_write.get());
  out_write.reset();
  err_write.reset();
  if (!spawned) co_return fail(std::move(spawned).error());
  auto& child = *spawned;

  auto changed = std::make_shared<asio::steady_timer>(executor);
  auto out = std::make_shared<LinePipe>(executor, std::move(out_read), options.on_stdout_line, options.max_line_bytes);
  auto err = std::make_shared<LinePipe>(executor, std::move(err_read), options.on_stderr_line, options.max_line_bytes);
  auto pidfd = std::make_shared<Descriptor>(executor, ::fcntl(child->pidfd(), F_DUPFD_CLOEXEC, 3));
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
    if (!exited && *ended && child->reap(WNOHANG)) {
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

}  // namespace mcpbox::net
