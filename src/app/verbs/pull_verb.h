// `mcpbox pull`: what a server changed in its own copy, back to this host.
#pragma once

#include <string>

#include "app/verbs/client_verbs.h"

namespace mcpbox::app {

struct PullVerb {
  std::string server;
  std::string of;  // folder of the copy; empty = all that the server uses
  std::string to;  // a folder that is there; empty = the one that was staged
  bool dry_run = false;
  bool force = false;
  bool delete_missing = false;
};
int pull_changes(const ClientOptions& options, const PullVerb& pull);

}  // namespace mcpbox::app
