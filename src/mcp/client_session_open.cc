// ClientSession: how a session is opened (initialize) and its tools are listed.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.h"
#include "json/raw.h"
#include "json/text.h"
#include "mcp/client_session.h"
#include "mcp/jsonrpc.h"

namespace mcpbox::mcp {
namespace {

// 2024-10-07 was never released, but the TypeScript SDK's servers still answer with it.
constexpr std::array<std::string_view, 5> kVersions = {"2024-10-07", "2024-11-05", "2025-03-26", "2025-06-18",
                                                       "2025-11-25"};

std::string text_member(std::string_view object, std::string_view key) {
  const auto raw = json::raw_member(object, key);
  return raw ? json::string_of(*raw).value_or("") : "";
}

std::string said(const CallReply& reply) {
  return fmt::format("error {}: {}", reply.error_code.value_or(0),
                     reply.error_message.empty() ? "(without a message)" : printable(reply.error_message, 500));
}

}  // namespace

void ClientSession::on_initialized(Result<CallReply> reply, Clock::time_point now) {
  if (!reply) {
    Error error = std::move(reply).error();
    if (error.code() == Code::kTimeout) {
      error = Error(Code::kTimeout, error.message() +
                                        "; the server is still starting, waits for something, or is no MCP server on "
                                        "stdio: see its log");
    }
    return fail_session(std::move(error));
  }
  if (reply->error_code) {
    return fail_session(
        Error(Code::kFailedPrecondition,
              fmt::format("initialize: the server refused, {}; it may speak another revision of MCP: try another "
                          "version of it",
                          said(*reply))));
  }
  const std::string version = text_member(reply->result, "protocolVersion");
  if (std::find(kVersions.begin(), kVersions.end(), version) == kVersions.end()) {
    return fail_session(
        Error(Code::kUnsupported,
              fmt::format("initialize: the server answered with protocol version '{}', mcpbox offered {} and speaks {} "
                          "to {}; use another "
                          "version of the server",
                          printable(version, 60), options_.protocol_version, kVersions.front(), kVersions.back())));
  }
  server_.protocol_version = version;
  server_.instructions = text_member(reply->result, "instructions");
  server_.capabilities = std::string(json::raw_member(reply->result, "capabilities").value_or("{}"));
  if (const auto info = json::raw_member(reply->result, "serverInfo")) {
    server_.name = text_member(*info, "name");
    server_.version = text_member(*info, "version");
  }
  send(notification_line("notifications/initialized", {}));
  state_ = SessionState::kListing;
  refresh_tools(now);
}

bool ClientSession::declares_tools() const {
  const auto tools = json::raw_member(server_.capabilities, "tools");
  return tools && *tools != "null" && *tools != "false";
}

void ClientSession::refresh_tools(Clock::time_point now) {
  if (state_ != SessionState::kReady && state_ != SessionState::kListing) return;
  if (listing_) {
    refresh_again_ = true;
    return;
  }
  refresh_at_.reset();
  listing_ = Listing();
  listing_->deadline = now + options_.list_timeout;
  request_page({});
}

void ClientSession::request_page(std::string_view raw_cursor) {
  ++listing_->pages;
  const std::string params = raw_cursor.empty() ? "" : fmt::format(R"({{"cursor":{}}})", json::on_one_line(raw_cursor));
  send_request(Kind::kList, "tools/list", params, listing_->deadline, options_.list_timeout);
}

void ClientSession::on_page(Result<CallReply> reply, Clock::time_point now) {
  if (!listing_) return;
  if (!reply) return on_list_failed(std::move(reply).error(), now);
  if (reply->error_code) {
    // A server without tools may say so like this, also one that declares the capability.
    if (*reply->error_code == kMethodNotFound) return finish_listing(now);
    return on_list_failed(Error(Code::kDataLoss, fmt::format("tools/list: the server answered with {}", said(*reply))),
                          now);
  }
  const auto raw_tools = json::raw_member(reply->result, "tools");
  const auto tools = raw_tools ? json::raw_elements(*raw_tools) : std::nullopt;
  if (!tools)
    return on_list_failed(Error(Code::kDataLoss, "tools/list: the server's answer holds no list of tools"), now);
  for (const std::string_view tool : *tools) add_tool(tool);

  // An empty string is a cursor like any other; only its absence or null ends the list.
  const auto cursor = json::raw_member(reply->result, "nextCursor");
  if (!cursor || *cursor == "null" || listing_->full) return finish_listing(now);
  if (!listing_->cursors.insert(std::string(*cursor)).second) {
    note(fmt::format("tools/list: the server gave the cursor {} twice; its list ends here", printable(*cursor, 80)));
    return finish_listing(now);
  }
  if (listing_->pages >= options_.max_pages) {
    note(fmt::format("tools/list: more than {} pages; the rest is left out", options_.max_pages));
    return finish_listing(now);
  }
  request_page(*cursor);
}

void ClientSession::add_tool(std::string_view raw) {
  Listing& listing = *listing_;
  if (listing.full) return;
  if (listing.tools.size() >= options_.max_tools || listing.bytes + raw.size() > options_.max_list_bytes) {
    listing.full = true;
    note(fmt::format("tools/list: more than {} tools or {}; the rest is left out", options_.max_tools,
                     human_bytes(options_.max_list_bytes)));
    return;
  }
  Tool tool;
  tool.name = text_member(raw, "name");
  if (tool.name.empty()) {
    note(fmt::format("tools/list: a tool without a name was left out: {}", printable(raw, 100)));
    return;
  }
  if (!listing.names.insert(tool.name).second) {
    note(fmt::format("tools/list: a second tool named '{}' was left out", printable(tool.name, 80)));
    return;
  }
  tool.description = text_member(raw, "description");
  tool.json = std::string(raw);
  listing.bytes += raw.size();
  listing.tools.push_back(std::move(tool));
}

void ClientSession::finish_listing(Clock::time_point now) {
  tools_ = std::move(listing_->tools);
  tools_known_ = true;
  listing_.reset();
  state_ = SessionState::kReady;
  if (std::exchange(refresh_again_, false)) refresh_at_ = now + options_.refresh_delay;
}

void ClientSession::on_list_failed(Error error, Clock::time_point now) {
  listing_->tools.clear();
  if (!tools_known_ && declares_tools()) {
    if (error.code() == Code::kTimeout) {
      error = Error(Code::kTimeout,
                    error.message() + "; the server answered initialize but does not list its tools: see its log");
    }
    return fail_session(std::move(error));
  }
  // A server that declares no tools need not understand the question. A later refresh keeps the list that it had.
  if (tools_known_) {
    note(fmt::format("the tools could not be listed again: {}", error.message()));
    listing_->tools = tools_;
  }
  finish_listing(now);
}

}  // namespace mcpbox::mcp
