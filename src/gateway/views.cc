#include "gateway/views.h"

#include <chrono>

#include "base/secrets.h"

namespace mcpbox::gateway {
namespace {

void write_engine(json::Writer& out, const EngineView& engine) {
  out.object("engine")
      .member("kind", engine.kind)
      .member("version", engine.version)
      .member("api_version", engine.api_version)
      .member("address", engine.address)
      .end();
}

}  // namespace

void write_view(json::Writer& out, const hosting::ServerView& view) {
  out.object()
      .member("name", view.name)
      .member("state", hosting::name_of(view.state))
      .member("phase", provision::name_of(view.phase))
      .member("error", sentence_without_secrets(view.error))
      .member("sandbox", view.sandbox)
      .member("process", view.process)
      .member("pid", view.pid)
      .member("uid", view.uid)
      .member("restarts", view.restarts)
      .member("tools", view.tool_count);
  out.object("server")
      .member("name", without_secrets(view.server_name))
      .member("version", without_secrets(view.server_version))
      .end();
  out.member("environment", view.environment)
      .member("packages", without_secrets(view.packages))
      .member("network", view.network)
      .member("protocol_version", view.protocol_version)
      .member("uptime_ms", view.uptime.count())
      .array("phases");
  for (const hosting::PhaseTime& phase : view.phases) {
    out.object().member("phase", provision::name_of(phase.phase)).member("ms", phase.duration.count()).end();
  }
  out.end().end();
}

std::string view_to_json(const hosting::ServerView& view) {
  json::Writer out;
  write_view(out, view);
  return out.take_line();
}

std::string servers_json(const ControlContext& context) {
  json::Writer out;
  out.object().array("servers");
  if (context.host == nullptr) {
    for (const hosting::ServerView& view : context.expected) write_view(out, view);
  } else {
    for (const auto& server : context.host->servers()) write_view(out, server->view());
  }
  out.end();
  write_engine(out, context.engine);
  out.end();
  return out.take_line();
}

std::string status_json(const ControlContext& context) {
  const auto uptime =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - context.started);
  json::Writer out;
  out.object().member("version", MCPBOX_VERSION);
  write_engine(out, context.engine);
  out.member("image", context.image_reference)
      .member("config", context.config_file)
      .member("uptime_ms", uptime.count())
      .member("starting", context.host == nullptr)
      .end();
  return out.take_line();
}

std::string log_line_json(const provision::LogLine& line) {
  constexpr std::string_view kSources[] = {"stderr", "stdout", "mcpbox"};
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(line.time.time_since_epoch()).count();
  json::Writer out;
  out.object()
      .member("seq", line.sequence)
      .member("time_ms", millis)
      .member("source", kSources[static_cast<int>(line.source)])
      .member("text", line.text)
      .end();
  return out.take_line();
}

}  // namespace mcpbox::gateway
