// A hostile server's stdout through the framer, the relay filter and the client session, cut anywhere.
#include <cstdint>
#include <cstdlib>

#include "json/peek.h"
#include "json/raw.h"
#include "json/raw_object.h"
#include "mcp/client_session.h"
#include "mcp/line_framer.h"
#include "mcp/stdio_filter.h"

using namespace mcpbox;

namespace {

constexpr std::size_t kMaxLine = 600;

void must(bool condition) {
  if (!condition) std::abort();
}

struct Output {
  std::string client, noise;
  void add(const mcp::StdioFilter::Pieces& pieces) {
    for (const auto piece : pieces.client) client += piece;
    for (const auto piece : pieces.noise) noise += piece;
  }
};

Output relay(std::string_view bytes, std::size_t step) {
  mcp::StdioFilter filter({.max_line = kMaxLine});
  filter.from_client(
      "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\"}\n{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"x\"}"
      "\n");
  Output out;
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    const std::string chunk(bytes.substr(at, step));
    out.add(filter.from_server(chunk));
  }
  out.add(filter.server_ended());
  out.client += filter.take_error_replies("gone");
  must(filter.in_flight() == 0);
  // And the other direction, with the same bytes.
  for (std::size_t at = 0; at < bytes.size(); at += step) filter.from_client(bytes.substr(at, step));
  out.client += filter.take_error_replies("gone");
  return out;
}

void check_session(std::string_view bytes, std::size_t step) {
  mcp::LineFramer framer(kMaxLine);
  mcp::ClientSession session({.lists = {.max_items = 8}});
  auto now = mcp::Clock::time_point{};
  session.start(now);
  std::size_t at = 0;
  while (at < bytes.size()) {
    framer.feed(bytes.substr(at, step));
    at += step;
    for (auto next = framer.next(); next.item != mcp::LineFramer::Item::kNone; next = framer.next()) {
      now += std::chrono::milliseconds(100);
      if (next.item == mcp::LineFramer::Item::kLine) {
        must(next.line.size() <= kMaxLine && next.line.find('\n') == std::string_view::npos);
        session.on_message(next.line, now);
      } else {
        must(next.length > kMaxLine);
        session.on_too_long(next.line, next.tail, next.length, now);
      }
      session.on_time(now);
      if (session.state() == mcp::SessionState::kReady)
        session.request("tools/call", json::RawObject(), std::chrono::milliseconds(250), now);
      while (const auto line = session.take_output()) {
        must(line->find('\n') == std::string::npos);
        must(json::Peeker().peek(*line).kind != json::MessageKind::kInvalid);
      }
      for (const auto& done : session.take_completions()) {
        if (done.outcome && !done.outcome->error_code) must(json::valid(done.outcome->result));
      }
      for (const auto& tool : session.tools()) must(json::valid(tool.json) && !tool.name.empty());
      session.take_log();
    }
    must(framer.buffered() <= kMaxLine + 1 + step);
  }
  session.on_closed(Error(Code::kUnavailable, "ended"));
  must(session.state() == mcp::SessionState::kClosed || session.state() == mcp::SessionState::kFailed);
  must(!session.next_deadline());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::size_t step = 1 + data[0] % 64;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  const Output cut = relay(bytes, step);
  const Output whole = relay(bytes, size);
  must(cut.client == whole.client && cut.noise == whole.noise);
  std::string_view rest = whole.client;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    must(end != std::string_view::npos);
    must(json::Peeker().peek(rest.substr(0, end)).kind != json::MessageKind::kInvalid);
    rest.remove_prefix(end + 1);
  }
  check_session(bytes, step);
  return 0;
}
