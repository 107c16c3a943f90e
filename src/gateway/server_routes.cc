// Part of control_call.h: the routes of one server.
#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "base/secrets.h"
#include "base/text.h"
#include "gateway/answer.h"
#include "gateway/control_call.h"
#include "gateway/views.h"
#include "json/raw.h"
#include "json/raw_object.h"
#include "json/value.h"
#include "json/writer.h"

namespace mcpbox::gateway {
namespace {

using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kMaxItems = 5000;    // of a root, in the answer to a pull
constexpr std::size_t kPiece = 64u << 10;  // of a log: what is held for a reader that takes nothing

// An empty line now and then: over some connections only writing finds out that the reader is gone.
constexpr seconds kHeartbeat{5};

void write_root(json::Writer& out, const provision::PullOutcome& outcome) {
  out.object()
      .member("from", outcome.from)
      .member("target", outcome.target)
      .member("applied", outcome.report.applied)
      .member("base_known", outcome.base_known)
      .member("count", outcome.report.items.size())
      .member("refused", outcome.report.refused_total)
      .member("unreadable", outcome.unreadable)
      .array("items");
  std::size_t written = 0;
  for (const workspace::PullItem& item : outcome.report.items) {
    if (written++ == kMaxItems) break;
    out.object()
        .member("action", workspace::name_of(item.action))
        .member("path", printable(item.path, 4096))
        .member("size", item.size)
        .member("note", printable(item.note))
        .end();
  }
  out.end().end();
}

// So many wait until a server has settled; the next ones are told at once that it goes on. With those of control_api.cc
// they are fewer than connections.
constexpr unsigned kMaxSettling = 16;

// 200 when the change is done, 202 when it still goes on.
Task<void> answer_settled(ControlCall& call, std::chrono::milliseconds patience) {
  if (call.context.settling < kMaxSettling) {
    const Counted counted(call.context.settling);
    co_await call.server->settle(Clock::now() + patience);
  }
  co_await answer(call.exchange, call.server->settled() ? 200 : 202, view_to_json(call.server->view()));
}

// A result is the server's to say, to the last byte; why it refuses is for people.
std::string refusal_without_secrets(const std::string& error) {
  const auto parsed = json::Value::parse(error);
  if (!parsed) return R"({"code":0,"message":"***"})";
  const std::string message = (*parsed)["message"].string_or(), said = without_secrets(message);
  if (said == message && without_secrets(error) == error) return error;
  json::Writer out;
  out.object().member("code", (*parsed)["code"].integer_or(0)).member("message", said);
  if ((*parsed)["data"].present()) {
    const std::string data = without_secrets((*parsed)["data"].dump());
    if (json::valid(data)) out.member("data", json::Raw{data});
  }
  out.end();
  return out.take();
}

}  // namespace

Task<void> send_tools(ControlCall& call) {
  const auto tools = call.server->list_text(mcp::kToolCatalog);
  if (!tools) co_return co_await refuse(call.exchange, tools.error());
  // One text for all who read it, however slowly: it may have 8 MiB.
  (void)co_await call.exchange.send(200, "application/json", R"({"tools":)", **tools, "}\n");
}

Task<void> call_tool(ControlCall& call) {
  auto tool = call.body.string("tool");
  if (!tool) co_return co_await refuse(call.exchange, tool.error());
  json::RawObject arguments;
  bool wrong = !*tool;
  if (const json::RawMember* given = call.body.find("arguments")) {
    auto object = json::RawObject::of(*given);
    wrong = wrong || !object;
    if (object) arguments = std::move(*object);
  }
  if (wrong) {
    co_return co_await refuse(call.exchange,
                              Error(Code::kInvalidArgument, R"(the body must be {"tool": "NAME", "arguments": {…}})"));
  }
  call.body = {};  // it may have 4 MiB, and the server takes its time
  auto reply = co_await call.server->call_tool(std::move(**tool), std::move(arguments));
  if (!reply) co_return co_await refuse(call.exchange, reply.error());
  // As it came, without another copy: it may have 16 MiB, and the server decides when many come.
  const bool failed = reply->error_code.has_value();
  const std::string said = failed ? refusal_without_secrets(reply->error) : "";
  const std::string_view value = failed ? std::string_view(said) : reply->result;
  (void)co_await call.exchange.send(200, "application/json", failed ? R"({"rpc_error":)" : R"({"result":)",
                                    value.empty() ? "null" : value, "}\n");
}

Task<void> send_logs(ControlCall& call) {
  auto after = call.number("after", 0);
  if (!after) co_return co_await refuse(call.exchange, after.error());
  const auto followed = call.flag("follow");
  if (!followed) co_return co_await refuse(call.exchange, followed.error());
  const bool follow = *followed;
  if (!co_await call.exchange.begin(200, "application/x-ndjson")) co_return;
  provision::ServerLog& log = call.server->log();
  const auto newest = log.last_sequence();
  for (;;) {
    std::string chunk;
    for (const provision::LogLine& line : log.since(*after)) {
      chunk += log_line_json(line);
      *after = line.sequence;
      if (chunk.size() >= kPiece) break;
    }
    const bool rested = chunk.empty();
    if (rested && follow) chunk = "\n";
    if (!co_await call.exchange.write(std::move(chunk))) co_return;
    if (!follow && (rested || *after >= newest)) break;
    if (follow && log.last_sequence() <= *after) (void)co_await log.changed().wait_until(Clock::now() + kHeartbeat);
  }
  (void)co_await call.exchange.end();
}

Task<void> restart(ControlCall& call) {
  const auto fresh = call.flag("fresh");
  if (!fresh) co_return co_await refuse(call.exchange, fresh.error());
  if (*fresh && call.server->pulling()) {
    co_return co_await refuse(
        call.exchange, Error(Code::kAborted, fmt::format("server '{}' is not begun anew now: `mcpbox pull` is bringing "
                                                         "back what that would drop; ask again when it is done",
                                                         call.server->name())));
  }
  call.server->request_restart(*fresh);
  co_await answer_settled(call, call.server->startup_timeout() + call.context.patience.beyond_startup);
}

Task<void> stop(ControlCall& call) {
  call.server->request_stop();
  co_await answer_settled(call, call.context.patience.stop);
}

Task<void> pull(ControlCall& call) {
  auto of = call.body.string("of"), to = call.body.string("to");
  const auto dry_run = call.body.flag("dry_run"), force = call.body.flag("force"),
             delete_missing = call.body.flag("delete");
  if (!of) co_return co_await refuse(call.exchange, of.error());
  if (!to) co_return co_await refuse(call.exchange, to.error());
  if (!dry_run) co_return co_await refuse(call.exchange, dry_run.error());
  if (!force) co_return co_await refuse(call.exchange, force.error());
  if (!delete_missing) co_return co_await refuse(call.exchange, delete_missing.error());
  provision::PullOptions options;
  options.of = of->value_or("");
  options.to = to->value_or("");
  options.choice.dry_run = *dry_run;
  options.choice.force = *force;
  options.choice.delete_missing = *delete_missing;
  auto pulled = co_await call.server->pull(std::move(options));
  if (!pulled) co_return co_await refuse(call.exchange, pulled.error());
  json::Writer out;
  out.object().member("server", call.server->name()).array("roots");
  for (const provision::PullOutcome& outcome : *pulled) write_root(out, outcome);
  out.end().end();
  pulled = std::vector<provision::PullOutcome>();
  co_await answer(call.exchange, 200, out.take_line());
}

}  // namespace mcpbox::gateway
