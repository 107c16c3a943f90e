// What a planner needs to know of Python's manifests, read from their text. Hostile text; everything that is not
// understood is left to uv.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mcpbox::workspace {

// A line of requirements.txt, continued lines joined, comments gone.
struct RequirementLine {
  enum class Kind { kPackage, kInclude, kConstraint, kEditable, kLocalPath, kOption };
  Kind kind = Kind::kPackage;
  std::string text;    // the line as it goes to uv
  std::string target;  // kInclude, kConstraint: the file; kEditable, kLocalPath: the folder or archive without extras
  std::string suffix;  // kEditable, kLocalPath: "[extra]" and markers
  bool has_hash = false;
};
std::vector<RequirementLine> parse_requirements(std::string_view text);

// PEP 723: the "# /// script" block of a script, without its comment signs; nullopt when there is none (or it is
// malformed, as the PEP wants it).
std::optional<std::string> script_header(std::string_view script);

// The few facts of a TOML document that decide how it is installed.
struct ProjectFacts {
  bool has_project = false;       // [project]
  bool has_build_system = false;  // [build-system]
  bool has_poetry = false;        // [tool.poetry]
  bool dynamic_dependencies = false;
  bool no_package = false;         // tool.uv.package = false, package-mode = false
  bool has_workspace = false;      // [tool.uv.workspace]
  bool has_local_sources = false;  // { path = … } or { workspace = true } in [tool.uv.sources]
  std::string requires_python;
  std::vector<std::string> dependencies;  // of [project], or at the top (PEP 723)
};
ProjectFacts read_project(std::string_view toml);

// The interpreter that satisfies `requires_python` when the image has 3.<image_minor>: "" when that will do, else
// "3.12".
std::string python_for(std::string_view requires_python, unsigned image_minor);

// "name==version" for every package that poetry.lock pins to a registry.
std::vector<std::string> poetry_pins(std::string_view lock);

}  // namespace mcpbox::workspace
