// What a planner needs to know of Python's TOML files: pyproject.toml, script headers (PEP 723), uv.lock, poetry.lock.
// Hostile text. One that is no TOML 1.0, or that defines a key twice, is an error with its line: an installer could
// read something else in it than we do.
//
// Errors: kDataLoss, "line 3: why" where the text is wrong; kResourceExhausted past a limit (1 MiB and 200,000 values
// for a manifest, 16 MiB and 1,000,000 values for a lock file, 32 levels, 16 parts of a key).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mcpbox::workspace {

// The few facts that decide how a project is installed.
struct ProjectFacts {
  bool has_project = false;       // [project]
  bool has_build_system = false;  // [build-system]
  bool has_poetry = false;        // [tool.poetry]
  bool dynamic_dependencies = false;
  bool no_package = false;         // tool.uv.package = false, package-mode = false
  bool has_workspace = false;      // [tool.uv.workspace]
  bool has_local_sources = false;  // { path = … } or { workspace = true } in [tool.uv.sources]
  std::string requires_python;
  std::vector<std::string> dependencies;  // of [project], or at the top (PEP 723); each of one line
};
Result<ProjectFacts> read_project(std::string_view toml);

// "name==version" for every package that poetry.lock pins to a registry.
Result<std::vector<std::string>> poetry_pins(std::string_view lock);

// Does uv.lock name a folder or file of this machine beside the project itself? A lock that has not even a word of one
// is not parsed, so an error in it is left to uv.
Result<bool> lock_names_folders(std::string_view lock);

}  // namespace mcpbox::workspace
