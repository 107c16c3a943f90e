#include "app/compose/unserved_client.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>

#include "app/compose/stdio_relay.h"
#include "app/verbs/table.h"
#include "base/secrets.h"
#include "base/text.h"
#include "json/peek.h"
#include "json/writer.h"
#include "mcp/jsonrpc.h"
#include "mcp/line_framer.h"
#include "mcp/message_reader.h"

namespace mcpbox::app {
namespace {

using Deadline = std::chrono::steady_clock::time_point;

constexpr std::size_t kMostSaid = 4096;

bool ready_within(int fd, short events, Deadline until) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
    if (left <= 0) return false;
    pollfd polled{fd, events, 0};
    const int ready = ::poll(&polled, 1, static_cast<int>(left));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

// The lines of a client that has little time.
class HurriedReader {
 public:
  HurriedReader(int fd, Deadline until) : fd_(fd), until_(until) {}

  // Valid until the next call. Nothing: the end of input, the end of the time, or a line that is too long.
  std::optional<std::string_view> next() {
    for (;;) {
      const mcp::LineFramer::Next found = framer_.next();
      if (found.item == mcp::LineFramer::Item::kLine) return found.line;
      if (found.item == mcp::LineFramer::Item::kTooLong || framer_.dropping()) return std::nullopt;
      if (!ready_within(fd_, POLLIN, until_)) return std::nullopt;
      const ssize_t size = ::read(fd_, buffer_.data(), buffer_.size());
      if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (size <= 0) return std::nullopt;
      framer_.feed({buffer_.data(), static_cast<std::size_t>(size)});
    }
  }

 private:
  int fd_;
  Deadline until_;
  mcp::LineFramer framer_;
  std::array<char, 64u << 10> buffer_{};
};

bool send_all(int fd, std::string_view text, Deadline until) {
  while (!text.empty()) {
    const ssize_t size = ::write(fd, text.data(), text.size());
    if (size >= 0) {
      text.remove_prefix(static_cast<std::size_t>(size));
    } else if (errno == EAGAIN) {
      if (!ready_within(fd, POLLOUT, until)) return false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

std::string answer_to(std::string_view raw_id, std::string_view why, const Unserved& unserved) {
  json::Writer out;
  out.object().member("jsonrpc", "2.0").member("id", json::Raw{raw_id});
  out.object("error").member("code", mcp::kServerGone).member("message", why);
  out.object("data").member("exit_code", unserved.exit_code);
  if (!unserved.phase.empty()) out.member("phase", unserved.phase);
  return out.end().end().end().take_line();
}

}  // namespace

void answer_unserved_client(int in, int out, const Unserved& unserved, std::chrono::milliseconds patience) {
  if (::isatty(in) == 1) return;
  const auto from = nonblocking_view(in, false);
  const auto to = nonblocking_view(out, true);
  if (!from || !to) return;
  std::string why = printable(in_one_line(sentence_without_secrets(unserved.why)), kMostSaid);
  if (!why.starts_with("mcpbox")) why.insert(0, "mcpbox: ");
  const Deadline until = std::chrono::steady_clock::now() + patience;
  HurriedReader client(from->get(), until);
  const json::Peeker peeker;
  for (bool first = true;; first = false) {
    auto line = client.next();
    if (!line) return;
    if (first && line->starts_with(mcp::kByteOrderMark)) line->remove_prefix(mcp::kByteOrderMark.size());
    const json::Message message = peeker.peek(*line);
    if (message.kind != json::MessageKind::kRequest) return;
    if (!send_all(to->get(), answer_to(message.id, why, unserved), until)) return;
    if (!json::is_method(message, "server/discover")) return;
  }
}

}  // namespace mcpbox::app
