// Is it said exactly what is to be installed? For Policy::locked. Pure text; what is not understood is not exact.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mcpbox::workspace {

// A requirement (PEP 508) that one version satisfies: "name==1.2", "name[extra]===1.2 ; marker"; a URL with a hash in
// its fragment; a commit of a repository. "==1.*" is none.
bool is_exact_requirement(std::string_view requirement);

// An npm spec with one version: "name@1.2.3", "alias@npm:name@1.2.3". Ranges, tags, URLs and repositories are none.
bool is_exact_npm_spec(std::string_view spec);

// Those that are not exact.
std::vector<std::string> inexact_requirements(const std::vector<std::string>& requirements);

}  // namespace mcpbox::workspace
