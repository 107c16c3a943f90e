// What a sandbox lacks of what mcpbox promises for every server, judged by what its PID 1 and its engine say of it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "box/link/supervisor.h"

namespace mcpbox::provision {

struct Degradation {
  std::string_view name;  // as `accept_degraded` spells it: of config::kDegradations; empty = nobody can accept it
  std::string what;       // what is missing, and what that means for the server
  std::string instead;    // what mends it
};

// `spaces`: box::Sandbox::spaces(). `alone`: one server has the sandbox to itself.
std::vector<Degradation> degradations(const box::SupervisorInfo& info, std::string_view spaces, bool alone);

// kFailedPrecondition for one that is not `accepted`: what is missing, for which server, how to mend or accept it.
// Those that are accepted are added to `notes`, for the server's log.
Result<void> accept_degradations(const std::vector<Degradation>& found, const std::vector<std::string>& accepted,
                                 std::string_view server, std::vector<std::string>& notes);

}  // namespace mcpbox::provision
