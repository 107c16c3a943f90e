#include "box/link/supervisor_link.h"

#include <cerrno>
#include <cstring>

#include "base/setting_name.h"
#include "base/text.h"

namespace mcpbox::box {
namespace {

// More than any number of replies in flight can carry while one frame is incomplete.
constexpr std::size_t kMaxPendingFds = 256;

}  // namespace

Error to_error(const wire::ErrorReply& reply) {
  std::string message = printable(reply.step);
  if (reply.error_number != 0) message += std::string(": ") + std::strerror(reply.error_number);
  if (!reply.text.empty()) message += ": " + printable(reply.text);
  // fork(2) and execve(2): whose limit it was, the kernel does not say. To open a file that somebody has a lease on
  // fails likewise (fcntl(2)).
  const bool makes_process =
      reply.step.contains("fork") || reply.step.starts_with("exec ") || reply.step.starts_with("start ");
  if (reply.error_number == EAGAIN && makes_process) {
    message +=
        settings_from() == SettingsFrom::kOptions
            ? "; the sandbox has as many processes and threads as it may (--pids), or this machine has: raise it"
            : "; the sandbox or the server has as many processes and threads as it may (pids_limit of box.limits, "
              "or of the server's own box), or this machine has: raise the limit, stop a server that has many, "
              "or give this one a sandbox of its own (box.isolation: dedicated)";
  }
  return Error(wire::code_of(reply), std::move(message));
}

Result<SupervisorLink::Request> SupervisorLink::frame(wire::MessageType type, std::string_view payload,
                                                      std::size_t fd_count) {
  auto bytes = wire::encode_frame(type, ++last_id_, static_cast<std::uint16_t>(fd_count), payload);
  if (!bytes) return fail(bytes.error());
  return Request{last_id_, std::move(*bytes)};
}

Result<void> SupervisorLink::feed(std::string_view bytes, std::vector<UniqueFd> fds) {
  for (UniqueFd& fd : fds) fds_.push_back(std::move(fd));
  if (fds_.size() > kMaxPendingFds) return fail(Code::kDataLoss, "supervisor link: too many descriptors came");
  reader_.feed(bytes);
  while (true) {
    auto frame = reader_.next();
    if (!frame) return fail(frame.error());
    if (!*frame) return {};
    if (auto taken = take(**frame); !taken) return taken;
  }
}

Result<void> SupervisorLink::take(const wire::Frame& frame) {
  if (frame.fd_count > fds_.size()) return fail(Code::kDataLoss, "supervisor link: a frame lacks its descriptors");
  std::vector<UniqueFd> fds;
  for (unsigned i = 0; i < frame.fd_count; ++i) {
    fds.push_back(std::move(fds_.front()));
    fds_.pop_front();
  }
  switch (frame.type) {
    case wire::MessageType::kReply:
      events_.emplace_back(Reply{frame.id, std::string(frame.payload), std::move(fds)});
      return {};
    case wire::MessageType::kErrorReply: {
      auto error = wire::decode<wire::ErrorReply>(frame.payload);
      if (!error) return fail(error.error());
      events_.emplace_back(Reply{frame.id, fail(to_error(*error)), {}});
      return {};
    }
    case wire::MessageType::kExited: {
      auto exited = wire::decode<wire::Exited>(frame.payload);
      if (!exited) return fail(exited.error());
      events_.emplace_back(std::move(*exited));
      return {};
    }
    case wire::MessageType::kPresses: {
      auto presses = wire::decode<wire::Presses>(frame.payload);
      if (!presses) return fail(presses.error());
      events_.emplace_back(std::move(*presses));
      return {};
    }
    default:
      return fail(Code::kDataLoss, "supervisor link: an unknown message came");
  }
}

std::optional<SupervisorLink::Event> SupervisorLink::next() {
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

}  // namespace mcpbox::box
