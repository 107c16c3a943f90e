// One request to the control API, as its route's handler gets it. Internal to gateway/.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gateway/control_api.h"
#include "json/raw.h"

namespace mcpbox::gateway {

using hosting::Server;

// The members of a body, each of which the route has, read once. Movable.
class BodyMembers {
 public:
  // kInvalidArgument: no object, a member that is not `allowed`, or one that stands twice.
  static Result<BodyMembers> read(std::string text, const std::vector<std::string>& allowed);

  const json::RawMember* find(std::string_view name) const;
  // The value where it is there. kInvalidArgument where it is of another kind.
  Result<std::optional<std::string>> string(std::string_view name) const;
  Result<bool> flag(std::string_view name) const;  // false where it is absent

 private:
  std::unique_ptr<const std::string> text_;  // where it is when this is moved
  std::vector<json::RawMember> members_;
};

struct ControlCall {
  ControlContext& context;
  net::HttpExchange& exchange;
  Server* server = nullptr;  // of a route with {server}
  BodyMembers body;          // of a route that takes one

  const std::map<std::string, std::string>& query() const { return exchange.request().query; }
  // False where it is absent or "0", true where it is there as "1" or without a value. kInvalidArgument otherwise.
  Result<bool> flag(const std::string& name) const;
  // kInvalidArgument where it is there and no decimal number.
  Result<std::uint64_t> number(const std::string& name, std::uint64_t fallback) const;
};

// Counts a request while it lives.
class Counted {
 public:
  explicit Counted(unsigned& count) : count_(count) { ++count_; }
  ~Counted() { --count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  unsigned& count_;
};

// The handlers of server_routes.cc.
Task<void> send_tools(ControlCall& call);
Task<void> call_tool(ControlCall& call);
Task<void> send_logs(ControlCall& call);
Task<void> restart(ControlCall& call);
Task<void> stop(ControlCall& call);
Task<void> pull(ControlCall& call);

}  // namespace mcpbox::gateway
