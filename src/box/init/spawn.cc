#include "box/init/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "box/init/descriptors.h"
#include "box/init/prepare.h"
#include "box/init/priority.h"
#include "box/init/start_report.h"

namespace mcpbox::box::init {
namespace {

bool has_nul(const std::string& text) {
  return text.find('\0') != std::string::npos;
}

bool is_id(const std::string& id) {
  return !id.empty() && id.size() <= 64 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

Op<void> make_pipe(UniqueFd& read_end, UniqueFd& write_end) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return failed("make a pipe");
  read_end.reset(ends[0]);
  write_end.reset(ends[1]);
  return {};
}

constexpr std::size_t kMaxFolders = 256;
constexpr std::size_t kMaxFolderNames = 64 << 10;  // bytes; the walker takes them in one packet

// Less than a caller waits for the answer to a spawn.
constexpr auto kPrepareTime = std::chrono::seconds(20);

Op<void> prepare_for(const wire::Spawn& spec, const Roots& roots, std::vector<int> keep) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const std::vector<int> ours = roots.descriptors();
  keep.insert(keep.end(), ours.begin(), ours.end());
  // What the children of prepare() inherit, they have as a server's user.
  if (const int error = close_all_but(std::move(keep))) return failed("close inherited descriptors", error);
  auto prepared = prepare(roots, spec.prepare, Clock::now() + kPrepareTime);
  // "Not found" is about the program that is to run, for whoever asked.
  if (!prepared && prepared.error().code == static_cast<std::uint8_t>(Code::kNotFound))
    prepared.error().code = static_cast<std::uint8_t>(Code::kInternal);
  return prepared;
}

[[noreturn]] void give_up(int report, const wire::ErrorReply& error) {
  report_error(report, error);
  ::_exit(127);
}

}  // namespace

[[noreturn]] void become_started(const wire::Spawn& spec, const int (&stdio)[3], int report, const Roots& roots,
                                 const StartWay& way) {
  give_up_priority();
  if (!spec.prepare.trees.empty() || !spec.prepare.files.empty()) {
    auto prepared = prepare_for(spec, roots, {stdio[0], stdio[1], stdio[2], report});
    if (!prepared) give_up(report, prepared.error());
  }
  std::string step = "connect stdin, stdout and stderr";
  int error = take_stdio(stdio, report);
  if (error == 0) error = become_process(spec, way, step);
  give_up(report, wire::make_errno_error(error, step));
}

Op<void> check_spawn(const wire::Spawn& spec, std::size_t fd_count) {
  const auto bad = [&](const char* why) {
    return refuse(Code::kInvalidArgument, "start process '" + spec.id + "'", why);
  };
  if (!is_id(spec.id)) return bad("the id must match [a-z0-9-]{1,64}");
  if (fd_count != 0 && fd_count != 3) return bad("it needs three descriptors or none");
  if (spec.argv.empty() || spec.argv.front().empty()) return bad("argv is empty");
  if (spec.uid == 0 || spec.gid == 0) return bad("uid and gid must not be 0");
  if (spec.uid == ~0u || spec.gid == ~0u) return bad("uid and gid must not be -1");
  if (spec.umask > 0777) return bad("umask is out of range");
  if (spec.nice < 0 || spec.nice > 19) return bad("nice must be 0 to 19");
  if (spec.oom_score_adj < 0 || spec.oom_score_adj > 1000) return bad("oom_score_adj must be 0 to 1000");
  if (spec.ways_in > wire::kMaxWaysIn) return bad("it asks for too many ways in");
  if (spec.cwd.empty() || spec.cwd.front() != '/' || has_nul(spec.cwd)) return bad("cwd must be absolute");
  if (std::any_of(spec.argv.begin(), spec.argv.end(), has_nul)) return bad("argv has a NUL byte");
  for (const std::string& entry : spec.env) {
    if (has_nul(entry) || entry.find('=') == std::string::npos || entry.front() == '=')
      return bad("env is not NAME=value");
  }
  for (const auto* list : {&spec.confine.read_write, &spec.confine.read_only}) {
    for (const std::string& path : *list) {
      if (path.empty() || path.front() != '/' || has_nul(path)) return bad("a path of its confinement is not absolute");
    }
  }
  if (spec.server.own.size() + spec.server.mounted.size() > kMaxFolders) return bad("it has too many folders to count");
  std::size_t length = 0;
  for (const auto* list : {&spec.server.own, &spec.server.mounted}) {
    for (const std::string& path : *list) {
      if (path.empty() || path.front() != '/' || has_nul(path)) return bad("a folder to count is not absolute");
      length += path.size();
    }
  }
  if (length > kMaxFolderNames) return bad("the names of the folders to count are too long together");
  return {};
}

Op<Started> start_process(const wire::Spawn& spec, const std::vector<UniqueFd>& stdio, const Roots& roots,
                          const StartWay& way, Understudy* next) {
  Started started;
  UniqueFd child_in, child_out, child_err;
  int ends[3];
  if (stdio.empty()) {
    if (auto made = make_pipe(child_in, started.pipes.in); !made) return std::unexpected(made.error());
    if (auto made = make_pipe(started.pipes.out, child_out); !made) return std::unexpected(made.error());
    if (auto made = make_pipe(started.pipes.err, child_err); !made) return std::unexpected(made.error());
    ends[0] = child_in.get(), ends[1] = child_out.get(), ends[2] = child_err.get();
  } else {
    for (int i = 0; i < 3; ++i) ends[i] = stdio[static_cast<std::size_t>(i)].get();
  }
  auto report = make_start_report();
  if (!report) return std::unexpected(report.error());
  started.report = std::move(report->read);
  if (next != nullptr) {
    auto taken = next->take(spec, ends, report->write.get());
    if (!taken) return std::unexpected(taken.error());
    started.pid = taken->pid;
    started.group = std::move(taken->group);
    return started;
  }
  started.pid = ::fork();
  if (started.pid < 0) return failed("start process '" + spec.id + "': fork");
  if (started.pid == 0) become_started(spec, ends, report->write.get(), roots, way);
  return started;
}

}  // namespace mcpbox::box::init
