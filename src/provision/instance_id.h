// Which running instance of which server: whose folders, user ids and process something is.
#pragma once

#include <compare>
#include <string>

namespace mcpbox::provision {

struct InstanceId {
  std::string server;
  std::string key;  // whose it is, any text; empty = the one that everybody shares
  friend auto operator<=>(const InstanceId&, const InstanceId&) = default;
};

// One text for each: the server's name, with the key's digest behind a '/' that no server's name has. A client may
// choose its key, so that itself goes nowhere.
std::string name_of(const InstanceId& id);

// The id of its process, [a-z0-9-]{1,64}: the name as far as it fits, and eight digits of its digest, so that two never
// share one.
std::string process_id(const InstanceId& id);

// The same in at most 40 characters, for the name of a sandbox of its own.
std::string sandbox_id(const InstanceId& id);

}  // namespace mcpbox::provision
