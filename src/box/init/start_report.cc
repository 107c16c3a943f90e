#include "box/init/start_report.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <span>
#include <utility>

namespace mcpbox::box::init {
namespace {

constexpr std::size_t kMaxPacket = 64 << 10;
constexpr std::size_t kMaxDescriptors = kWaysInAtOnce;

bool send_packet(int report, StartReport::Kind kind, std::string_view text, std::span<const int> descriptors) {
  const std::string bytes = std::string(1, static_cast<char>(kind)) + std::string(text);
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxDescriptors)] = {};
  if (!descriptors.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors.size());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
    ::memcpy(CMSG_DATA(header), descriptors.data(), sizeof(int) * descriptors.size());
  }
  while (true) {
    const ssize_t sent = ::sendmsg(report, &message, MSG_NOSIGNAL);
    if (sent >= 0 || errno != EINTR) return sent == static_cast<ssize_t>(bytes.size());
  }
}

// Those that came; more than we take are closed by the kernel.
void take_descriptors(msghdr& message, UniqueFd (&into)[kMaxDescriptors]) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count && i < kMaxDescriptors; ++i) {
      int fd = -1;
      ::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      into[i].reset(fd);
    }
  }
}

void read_packet(std::string_view bytes, UniqueFd (&descriptors)[kMaxDescriptors], StartReport& packet) {
  packet.kind = static_cast<StartReport::Kind>(bytes.front());
  const std::string_view rest = bytes.substr(1);
  switch (packet.kind) {
    case StartReport::Kind::kProcess:
      if (rest.size() != sizeof packet.pid || !descriptors[0] || !descriptors[1]) break;
      ::memcpy(&packet.pid, rest.data(), sizeof packet.pid);
      packet.process = std::move(descriptors[0]);
      packet.reaper = std::move(descriptors[1]);
      return;
    case StartReport::Kind::kWayOut:
      if (!descriptors[0]) break;
      packet.listener = std::move(descriptors[0]);
      return;
    case StartReport::Kind::kWaysIn:
      for (UniqueFd& each : descriptors) {
        if (each) packet.ways_in.push_back(std::move(each));
      }
      return;
    case StartReport::Kind::kMemory:
      if (!descriptors[0]) break;
      packet.memory = std::move(descriptors[0]);
      return;
    case StartReport::Kind::kGroup:
      if (!descriptors[0]) break;
      packet.told = std::move(descriptors[0]);
      return;
    case StartReport::Kind::kNoGroup:
    case StartReport::Kind::kError:
      if (auto error = wire::decode<wire::ErrorReply>(rest)) {
        packet.error = std::move(*error);
        return;
      }
      break;
    default:
      break;
  }
  packet.kind = StartReport::Kind::kError;
  packet.error = wire::make_error(Code::kInternal, "start a process", "its report cannot be read");
}

}  // namespace

Op<StartReportEnds> make_start_report() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return failed("make a socket for a report");
  StartReportEnds out{UniqueFd(ends[0]), UniqueFd(ends[1])};
  if (::fcntl(out.read.get(), F_SETFL, O_NONBLOCK) != 0) return failed("make a socket for a report");
  return out;
}

bool report_process(int report, pid_t pid, int process, int reaper) {
  const int handles[] = {process, reaper};
  return send_packet(report, StartReport::Kind::kProcess, {reinterpret_cast<const char*>(&pid), sizeof pid}, handles);
}

bool report_way_out(int report, int listener) {
  return send_packet(report, StartReport::Kind::kWayOut, {}, {&listener, 1});
}

bool report_ways_in(int report, const std::vector<UniqueFd>& sockets) {
  std::vector<int> numbers;
  for (const UniqueFd& each : sockets) numbers.push_back(each.get());
  return send_packet(report, StartReport::Kind::kWaysIn, {}, numbers);
}

bool report_memory(int report, int file_system) {
  return send_packet(report, StartReport::Kind::kMemory, {}, {&file_system, 1});
}

bool report_memory_watch(int report, int told) {
  return send_packet(report, StartReport::Kind::kGroup, {}, {&told, 1});
}

namespace {

void send_error(int report, StartReport::Kind kind, const wire::ErrorReply& error) {
  wire::ErrorReply cut = error;
  // A step names programs and paths of the request, which may be as long as a string can be.
  if (cut.step.size() > 4096) cut.step.resize(4096);
  if (cut.text.size() > 4096) cut.text.resize(4096);
  wire::Encoder encoder;
  encoder(cut);
  (void)send_packet(report, kind, encoder.take(), {});
}

}  // namespace

void report_no_group(int report, const wire::ErrorReply& error) {
  send_error(report, StartReport::Kind::kNoGroup, error);
}

void report_error(int report, const wire::ErrorReply& error) {
  send_error(report, StartReport::Kind::kError, error);
}

Received receive_report(int report, StartReport& packet) {
  std::string bytes(kMaxPacket, '\0');
  iovec part{bytes.data(), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxDescriptors)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got = 0;
  do {
    got = ::recvmsg(report, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) return Received::kNothing;
  if (got <= 0) return Received::kEnd;
  UniqueFd descriptors[kMaxDescriptors];
  take_descriptors(message, descriptors);
  packet = {};
  read_packet(std::string_view(bytes).substr(0, static_cast<std::size_t>(got)), descriptors, packet);
  return Received::kPacket;
}

}  // namespace mcpbox::box::init
