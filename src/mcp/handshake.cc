#include "mcp/handshake.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/secrets.h"
#include "base/text.h"
#include "json/raw.h"
#include "json/text.h"
#include "json/writer.h"

namespace mcpbox::mcp {
namespace {

// 2024-10-07 was never released, but the TypeScript SDK's servers still answer with it.
constexpr std::array<std::string_view, 5> kVersions = {"2024-10-07", "2024-11-05", "2025-03-26", "2025-06-18",
                                                       "2025-11-25"};
constexpr std::size_t kMaxResult = 4u << 20;  // it is looked through once for each of its members
constexpr std::size_t kMaxName = 1u << 10;
constexpr std::size_t kMaxCapabilities = 64u << 10;
constexpr std::size_t kMaxInstructions = 256u << 10;

// The text of a member, of which at most `limit` bytes of its raw form are looked at: a cut one ends at a character.
std::string text_member(std::string_view object, std::string_view key, std::size_t limit) {
  const auto raw = json::raw_member(object, key);
  if (!raw || raw->size() < 2 || raw->front() != '"') return "";
  std::string_view inside = raw->substr(1, raw->size() - 2);
  if (inside.size() <= limit) return json::unescape(inside);
  std::size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(inside[end]) & 0xC0) == 0x80) --end;
  return json::unescape(inside.substr(0, end));
}

}  // namespace

std::string initialize_params(std::string_view protocol_version, std::string_view client_name,
                              std::string_view client_version) {
  json::Writer out;
  out.object().member("protocolVersion", protocol_version).object("capabilities").end();
  return out.object("clientInfo").member("name", client_name).member("version", client_version).end().end().take();
}

Result<ServerInfo> read_initialize(Result<CallReply> answer, std::string_view offered_version) {
  if (!answer) {
    Error error = std::move(answer).error();
    if (error.code() == Code::kTimeout) {
      error = Error(Code::kTimeout, error.message() +
                                        "; the server is still starting, waits for something, or is no MCP server on "
                                        "stdio: see its log");
    }
    return fail(std::move(error));
  }
  if (answer->error_code) {
    return fail(Code::kFailedPrecondition,
                fmt::format("initialize: the server refused, {}; it may speak another revision of MCP: try another "
                            "version of it",
                            describe_error(*answer)));
  }
  const std::string_view result = answer->result;
  if (result.size() > kMaxResult) {
    return fail(Code::kDataLoss,
                fmt::format("initialize: the server's answer has {}, at most {} are allowed; use another version of "
                            "the server",
                            human_bytes(result.size()), human_bytes(kMaxResult)));
  }
  ServerInfo server;
  server.protocol_version = text_member(result, "protocolVersion", kMaxName);
  if (std::ranges::find(kVersions, server.protocol_version) == kVersions.end()) {
    return fail(
        Code::kUnsupported,
        fmt::format("initialize: the server answered with protocol version '{}', mcpbox offered {} and speaks "
                    "{} to {}; use another version of the server",
                    from_outside(server.protocol_version, 60), offered_version, kVersions.front(), kVersions.back()));
  }
  const std::string_view capabilities = json::raw_member(result, "capabilities").value_or("{}");
  if (capabilities.size() > kMaxCapabilities) {
    return fail(Code::kDataLoss, fmt::format("initialize: the server's capabilities have {}, at most {} are allowed; "
                                             "use another version of the server",
                                             human_bytes(capabilities.size()), human_bytes(kMaxCapabilities)));
  }
  server.capabilities = capabilities;
  server.instructions = text_member(result, "instructions", kMaxInstructions);
  if (const auto info = json::raw_member(result, "serverInfo")) {
    server.name = text_member(*info, "name", kMaxName);
    server.version = text_member(*info, "version", kMaxName);
  }
  return server;
}

bool declares(std::string_view capabilities, std::string_view member) {
  const auto found = json::raw_member(capabilities, member);
  return found && *found != "null" && *found != "false";
}

}  // namespace mcpbox::mcp
