// What a planner needs to know of Python's manifests that are lines: requirements.txt, the header of a script, a
// version. Hostile text; everything that is not understood is left to uv. What is TOML: workspace/python_manifest.h.
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

// The interpreter that satisfies `requires_python` when the image has 3.<image_minor>: "" when that will do, else
// "3.12".
std::string python_for(std::string_view requires_python, unsigned image_minor);

}  // namespace mcpbox::workspace
