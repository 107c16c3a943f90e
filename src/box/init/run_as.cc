#include "box/init/run_as.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "box/init/one_id.h"
#include "box/init/sandbox_child.h"

namespace mcpbox::box::init {
namespace {

[[noreturn]] void be_child(uid_t uid, gid_t gid, pid_t parent, int out, const std::function<Op<std::string>()>& work) {
  std::string step;
  Op<std::string> answer;
  // The bounding set is best effort here: our own code runs, and never executes another program.
  (void)drop_bounding_set(step);
  if (int error = drop_identity(uid, gid, step)) {
    answer = failed(step, error);
  } else if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    answer = failed("set no_new_privs");
  } else {
    // A change of identity clears the parent-death signal, so it is set after it.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (::getppid() != parent) ::_exit(124);
    answer = work();
  }
  write_all(out, pack_answer(answer));
  ::_exit(0);
}

}  // namespace

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // nobody listens any more
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::string pack_answer(const Op<std::string>& answer) {
  if (answer) return std::string(1, '\0') + *answer;
  wire::Encoder encoder;
  encoder(answer.error());
  return std::string(1, '\1') + encoder.take();
}

Op<std::string> unpack_answer(std::string_view bytes) {
  if (bytes.empty()) return refuse(Code::kInternal, "wait for a helper", "it ended without an answer");
  if (bytes.front() == '\0') return std::string(bytes.substr(1));
  auto error = wire::decode<wire::ErrorReply>(bytes.substr(1));
  if (!error) return refuse(Code::kInternal, "wait for a helper", "its answer cannot be read");
  return std::unexpected(std::move(*error));
}

Op<std::string> run_as(uid_t uid, gid_t gid, Clock::time_point deadline, const std::function<Op<std::string>()>& work) {
  if (!one_id() && (uid == 0 || gid == 0))
    return refuse(Code::kInvalidArgument, "switch identity", "uid and gid must not be 0");
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return failed("make a pipe");
  UniqueFd in(ends[0]);
  UniqueFd out(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return failed("fork");
  if (child == 0) be_child(uid, gid, parent, out.get(), work);
  out.reset();
  std::string answer;
  bool late = false;
  char buffer[16384];
  while (answer.size() <= wire::kMaxFrame) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd wait{in.get(), POLLIN, 0};
    const int ready = left > 0 ? ::poll(&wait, 1, static_cast<int>(std::min<long long>(left, 3'600'000))) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      late = true;
      break;
    }
    const ssize_t got = ::read(in.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    answer.append(buffer, static_cast<std::size_t>(got));
  }
  ::kill(child, SIGKILL);  // it has said everything, or may say nothing more
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (late) return refuse(Code::kTimeout, "wait for a helper", "it took too long and was stopped");
  return unpack_answer(answer);
}

}  // namespace mcpbox::box::init
