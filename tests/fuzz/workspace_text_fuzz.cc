// Manifests, ignore files, package.json and arguments: none of them can do more than be misunderstood.
#include <cstdint>
#include <cstdlib>

#include "base/text.h"
#include "workspace/command.h"
#include "workspace/ignore.h"
#include "workspace/manifest_text.h"
#include "workspace/path_text.h"
#include "workspace/plan.h"
#include "workspace/python_manifest.h"
#include "workspace/rewrite.h"

using namespace mcpbox;
using namespace mcpbox::workspace;

static void must(bool condition) {
  if (!condition) std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (const auto& line : parse_requirements(text)) must(line.text.find('\n') == std::string::npos);
  script_header(text);
  if (const auto facts = read_project(text)) {
    for (const auto& dependency : facts->dependencies) must(dependency.find_first_of("\r\n") == std::string::npos);
  }
  if (const auto pins = poetry_pins(text)) {
    for (const auto& pin : *pins)
      must(pin.find("==") != std::string::npos && pin.find_first_of(" \r\n") == std::string::npos);
  }
  (void)lock_names_folders(text);
  python_for(text, 11);

  const IgnoreRules rules(text.substr(0, size / 2));
  rules.decide(text.substr(size / 2), (size & 1) != 0);

  // Who replaces nothing changes nothing, and every path that is offered is absolute.
  must(replace_paths(text, [](const std::string& path) -> std::optional<std::string> {
         must(path.starts_with('/'));
         return std::nullopt;
       }) == text);
  const std::string clean = normalise(text);
  must(clean.starts_with('/') && normalise(clean) == clean && clean.find("/../") == std::string::npos);

  if (const auto path = resolve_npm_bin({Program::Kind::kNpmBin, "pkg", {}}, text)) {
    must(!path->starts_with('/') && !("/" + *path + "/").contains("/../"));
  }
  std::vector<std::string> words;
  for (const auto word : split(text, '\n')) words.emplace_back(word);
  const std::string program = words.front();
  words.erase(words.begin());
  parse_command(program, words);
  for (const char* known : {"npx", "uvx", "uv", "npm", "python3", "node", "pipx", "poetry"})
    parse_command(known, words);
  npm_name_of(text);
  python_requirement_of(text);
  return 0;
}
