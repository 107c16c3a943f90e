// Part of plan.h: which executable an installed npm package declares.
#include <set>

#include "base/text.h"
#include "json/value.h"
#include "workspace/path_text.h"
#include "workspace/plan.h"

namespace mcpbox::workspace {
namespace {

// The path of an executable within its package, cleaned; empty when it would lead out of it.
std::string inside(std::string_view path) {
  if (path.empty() || path.size() > 4096 || path.find('\0') != std::string_view::npos ||
      path.find('\\') != std::string_view::npos)
    return {};
  int depth = 0;
  for (std::string_view part : split(path, '/')) {
    if (part == ".." && --depth < 0) return {};
    if (!part.empty() && part != "." && part != "..") ++depth;
  }
  std::string clean = normalise(path);
  return clean == "/" ? std::string() : clean.substr(1);
}

}  // namespace

// npm's own rule (libnpmexec get-bin-from-manifest): the only one, else the one that is called like the package, else,
// when all are one file, any of them.
Result<std::string> resolve_npm_bin(const Program& program, const std::string& package_json) {
  auto document = json::Value::parse(package_json, {.max_bytes = 4u << 20});
  std::string package = "package '" + printable(program.package) + "'";
  if (!document) return fail(document.error().with_context("package.json of " + package));
  std::string short_name(base_name(program.package));
  json::Value bin = (*document)["bin"];
  std::vector<std::pair<std::string, std::string>> offered;
  if (auto only = bin.string()) {
    // A package that was installed under a name of ours is called by its own.
    std::string own = (*document)["name"].string_or(program.package);
    offered.emplace_back(std::string(base_name(own)), std::string(*only));
  }
  for (const auto& [name, path] : bin.members()) {
    if (auto text = path.string()) offered.emplace_back(std::string(base_name(name)), std::string(*text));
  }
  std::string own_name(base_name((*document)["name"].string_or(program.package)));
  const std::string* chosen = nullptr;
  std::set<std::string> files;
  std::vector<std::string> names;
  for (const auto& [name, path] : offered) {
    files.insert(inside(path));
    names.push_back(printable(name, 100));
    bool wanted = program.bin_name.empty() ? name == short_name || name == own_name : name == program.bin_name;
    if (wanted) chosen = &path;
  }
  if (chosen == nullptr && program.bin_name.empty() && files.size() == 1) chosen = &offered.front().second;
  if (chosen == nullptr) {
    std::string which = program.bin_name.empty() ? "no executable of its own name"
                                                 : "no executable '" + printable(program.bin_name) + "'";
    if (names.size() > 20) names.resize(20);
    return fail(Code::kNotFound, package + " has " + which +
                                     (names.empty() ? "; it offers none at all" : "; it offers " + join(names, ", ")));
  }
  std::string path = inside(*chosen);
  if (path.empty())
    return fail(Code::kDataLoss, package + " names an executable outside of itself: '" + printable(*chosen, 200) + "'");
  return path;
}

}  // namespace mcpbox::workspace
