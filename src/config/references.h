// What of a server is read again at each of its starts, so that a rotated key needs a restart of that server only: the
// references in its command, args and env. Those that name places (cwd, host_path, mounts …) are read once.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/helper_key.h"
#include "config/load.h"
#include "config/yaml_reader.h"

namespace mcpbox::config {

// The nodes of the file, as they stand there.
struct ServerReferences {
  std::string file;
  std::string path;  // "servers.NAME"
  std::optional<Node> command, args, env, box_env;
  std::set<HelperKey> helpers;  // that are asked at each start; until then the reference itself stands in the settings
};

// Puts what the references give now into `settings`, and into settings.secrets all that they gave. `answers` has those
// of ServerReferences::helpers. Reads files; blocks. An error leaves the settings as they were; its message names place
// and cause of each problem. kUnavailable: it may be there soon; kFailedPrecondition: not without somebody's doing.
Result<void> read_again(ServerSettings& settings, const HelperAnswers& answers, const Sources& sources = {});

}  // namespace mcpbox::config
