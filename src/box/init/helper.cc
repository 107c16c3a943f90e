#include "box/init/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "box/init/descriptors.h"
#include "box/init/priority.h"
#include "box/init/run_as.h"

namespace mcpbox::box::init {
namespace {

constexpr std::size_t kMaxRunning = 64;
constexpr std::size_t kMaxWaiting = 1024;

[[noreturn]] void be_helper(const Work& work, std::vector<int> keep, UniqueFd out) {
  give_up_priority();
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  keep.push_back(out.get());
  if (const int error = close_all_but(std::move(keep))) {
    write_all(out.get(), pack_answer(failed("close inherited descriptors", error)));
    ::_exit(1);
  }
  work([&](const Op<std::string>& answer) {
    if (!out) return;
    write_all(out.get(), pack_answer(answer));
    out.reset();  // the end of the pipe is the end of the answer; the work may go on
  });
  ::_exit(0);
}

}  // namespace

void Helpers::start(Work work, std::vector<int> keep, std::chrono::milliseconds limit,
                    std::function<void(Op<std::string>)> done) {
  auto job = std::make_shared<Job>();
  job->work = std::move(work);
  job->keep = std::move(keep);
  job->limit = limit;
  job->done = std::move(done);
  if (waiting_.size() >= kMaxWaiting) {
    return finish(*job, refuse(Code::kResourceExhausted, "start an operation", "too many are waiting in the sandbox"));
  }
  waiting_.push_back(std::move(job));
  launch_waiting();
}

void Helpers::launch_waiting() {
  while (!waiting_.empty() && running_.size() < kMaxRunning) {
    const std::shared_ptr<Job> job = std::move(waiting_.front());
    waiting_.pop_front();
    if (auto launched = launch(job); !launched) finish(*job, std::unexpected(std::move(launched.error())));
  }
}

Op<void> Helpers::launch(const std::shared_ptr<Job>& job) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return failed("make a pipe");
  job->answer.reset(ends[0]);
  UniqueFd out(ends[1]);
  if (::fcntl(job->answer.get(), F_SETFL, O_NONBLOCK) != 0) return failed("make a pipe");
  if (const int error = loop_.watch(job->answer.get(), EPOLLIN, [this, job](unsigned) { collect(job); }))
    return failed("watch a helper", error);
  job->pid = ::fork();
  if (job->pid == 0) be_helper(job->work, job->keep, std::move(out));
  if (job->pid < 0) {
    const int error = errno;
    loop_.unwatch(job->answer.get());
    return failed("start a helper: fork", error);
  }
  job->work = {};  // with the descriptors that it may own
  running_.emplace(job->pid, job);
  job->timer = loop_.at(EventLoop::Clock::now() + job->limit, [this, job] {
    ::kill(job->pid, SIGKILL);
    if (job->answer) loop_.unwatch(job->answer.get());
    job->answer.reset();
    finish(*job, refuse(Code::kTimeout, "wait for an operation", "it took too long and was stopped"));
  });
  return {};
}

void Helpers::collect(const std::shared_ptr<Job>& job) {
  char buffer[65536];
  while (true) {
    const ssize_t got = ::read(job->answer.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got > 0) job->bytes.append(buffer, static_cast<std::size_t>(got));
    if (got > 0 && job->bytes.size() <= wire::kMaxFrame) continue;
    break;
  }
  loop_.unwatch(job->answer.get());
  job->answer.reset();
  finish(*job, unpack_answer(job->bytes));
  job->bytes = {};
}

void Helpers::finish(Job& job, Op<std::string> result) {
  if (auto done = std::exchange(job.done, {})) done(std::move(result));
}

bool Helpers::reaped(pid_t pid) {
  const auto found = running_.find(pid);
  if (found == running_.end()) return false;
  const std::shared_ptr<Job> job = found->second;
  loop_.cancel(job->timer);
  running_.erase(found);
  launch_waiting();
  return true;
}

}  // namespace mcpbox::box::init
