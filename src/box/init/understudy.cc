#include "box/init/understudy.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "box/init/descriptors.h"
#include "box/init/priority.h"
#include "box/init/spawn.h"
#include "box/init/start_report.h"

namespace mcpbox::box::init {
namespace {

// The request, then stdin, stdout, stderr and the report.
constexpr std::size_t kHanded = 5;

bool hand_over(int socket, const int (&handed)[kHanded]) {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof handed)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof handed);
  ::memcpy(CMSG_DATA(header), handed, sizeof handed);
  return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}

bool receive(int socket, int (&handed)[kHanded]) {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof handed)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  const cmsghdr* header = got == 1 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof handed)) return false;
  ::memcpy(handed, CMSG_DATA(header), sizeof handed);
  return true;
}

// In memory and not in the socket, which would not take the longest.
Op<UniqueFd> write_request(const wire::Spawn& spec) {
  auto bytes = wire::encode(spec);
  if (!bytes) return refuse(Code::kInvalidArgument, "start process '" + spec.id + "'", "the request is too long");
  UniqueFd file(::memfd_create("request", MFD_CLOEXEC));
  if (!file || ::write(file.get(), bytes->data(), bytes->size()) != static_cast<ssize_t>(bytes->size()))
    return failed("hand over process '" + spec.id + "'");
  return file;
}

Op<wire::Spawn> read_request(int file) {
  const auto unread = [] { return refuse(Code::kInternal, "take over a process", "its request cannot be read"); };
  struct stat info{};
  if (::fstat(file, &info) != 0) return unread();
  std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
  if (::pread(file, bytes.data(), bytes.size(), 0) != info.st_size) return unread();
  auto spec = wire::decode<wire::Spawn>(bytes);
  if (!spec) return unread();
  return std::move(*spec);
}

// Its limits, and that PID 1 watches it.
Op<void> make_ready(const Op<ServerGroup>& group, const ServerGroups& groups, const wire::Spawn& spec, int report) {
  if (!group) return std::unexpected(group.error());
  if (auto limited = groups.limit(*group, spec.server); !limited) return limited;
  if (group->told && !report_memory_watch(report, group->told.get()))
    return refuse(Code::kInternal, "take over a process", "PID 1 does not listen");
  return {};
}

[[noreturn]] void wait_and_start(int socket, const std::string& name, const Roots& roots, const ServerGroups& groups,
                                 const StartWay& way) {
  give_up_priority();
  // What runs already must see its pipes end.
  std::vector<int> keep = roots.descriptors();
  for (const int fd : groups.descriptors()) keep.push_back(fd);
  keep.push_back(socket);
  if (close_all_but(std::move(keep)) != 0) ::_exit(1);
  ::prctl(PR_SET_NAME, "mcpbox-next", 0, 0, 0);
  const auto group = groups.enter(name);
  int handed[kHanded];
  if (!receive(socket, handed)) ::_exit(0);
  const int report = handed[4];
  auto spec = read_request(handed[0]);
  if (!spec) {
    report_error(report, spec.error());
    ::_exit(127);
  }
  const auto ready = make_ready(group, groups, *spec, report);
  if (!ready) report_no_group(report, ready.error());
  StartWay own = way;
  own.counted = ready && groups.count_memory() && spec->server.memory_bytes != 0;
  become_started(*spec, {handed[1], handed[2], handed[3]}, report, roots, own);
}

}  // namespace

void Understudy::prepare() {
  if (!groups_.any() || pid_ >= 0) return;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return;
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const std::string name = "s" + std::to_string(++made_);
  const pid_t pid = ::fork();
  if (pid < 0) return;
  if (pid == 0) wait_and_start(theirs.get(), name, roots_, groups_, way_);
  pid_ = pid;
  socket_ = std::move(ours);
  group_ = name;
}

Op<Understudy::Taken> Understudy::take(const wire::Spawn& spec, const int (&stdio)[3], int report) {
  const std::string step = "start process '" + spec.id + "': fork";
  errno = 0;
  prepare();
  if (pid_ < 0) return failed(step);
  auto request = write_request(spec);
  if (!request) return std::unexpected(request.error());
  const bool handed = hand_over(socket_.get(), {request->get(), stdio[0], stdio[1], stdio[2], report});
  const int error = errno;
  socket_.reset();
  Taken taken{std::exchange(pid_, -1), std::move(group_)};
  if (handed) return taken;
  groups_.remove(taken.group);
  return failed(step, error);
}

bool Understudy::reaped(pid_t pid) {
  if (pid < 0 || pid != pid_) return false;
  pid_ = -1;
  socket_.reset();
  groups_.remove(group_);
  return true;
}

}  // namespace mcpbox::box::init
