// Follows requirements.txt with everything that it includes, and turns it into inputs of an installation.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "workspace/install.h"

namespace mcpbox::workspace {

struct CollectedRequirements {
  std::string path;                  // where the installer finds the file (kBase in front)
  bool any_hash = false;             // pip's rule: one hash anywhere means that all need one
  std::vector<std::string> inexact;  // requirements for which no exact version is named, there or in a constraint
};

// Reads `file` (host path) and the files that it includes, which must lie in the same root; writes them to
// draft.plan.inputs with local paths rewritten, adds the folder of local packages to the sources. nullopt and an entry
// in draft.refused when one is missing or outside.
std::optional<CollectedRequirements> collect_requirements(Draft& draft, const Site& site, const std::string& file);

}  // namespace mcpbox::workspace
