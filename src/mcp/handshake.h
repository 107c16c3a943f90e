// How a session of the handshake era begins: what `initialize` says and what its answer means. Pure.
//
// Source: MCP 2025-11-25, basic/lifecycle "Initialization".
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "mcp/endpoint.h"

namespace mcpbox::mcp {

// What a server says of itself. All texts are the server's: printable() is for who shows them.
struct ServerInfo {
  std::string protocol_version;
  std::string name;  // at most 1 KiB, as is the version
  std::string version;
  std::string capabilities;  // raw JSON, at most 64 KiB
  std::string instructions;  // at most 256 KiB; more is cut
};

// The parameters of `initialize`, raw JSON. We declare no capability: nobody here answers sampling or elicitation yet.
std::string initialize_params(std::string_view protocol_version, std::string_view client_name,
                              std::string_view client_version);

// The server as its answer describes it. kUnsupported for a revision that we do not speak (2024-10-07 … 2025-11-25
// are), kFailedPrecondition when it refused, kDataLoss for an answer of more than 4 MiB and for capabilities over their
// limit; an error of `answer` itself comes with what to do about it.
Result<ServerInfo> read_initialize(Result<CallReply> answer, std::string_view offered_version);

// Whether `capabilities` (raw JSON) has the member, and not null or false in it.
bool declares(std::string_view capabilities, std::string_view member);

}  // namespace mcpbox::mcp
