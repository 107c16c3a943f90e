// Between make_plan and the two planners: what is to be installed for one command, before its hash is known.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "workspace/command.h"
#include "workspace/folder_reader.h"
#include "workspace/path_text.h"
#include "workspace/plan.h"
#include "workspace/tree_digest.h"

namespace mcpbox::workspace {

// Stands for "<cache>/<hash>" until the hash is known. Nobody writes such a thing.
inline constexpr std::string_view kBase = "\x01mcpbox-base\x01";
inline std::string at_base(std::string_view relative) {
  return std::string(kBase) + "/" + std::string(relative);
}

// What is read of a manifest and of a lock file at most, in bytes.
inline constexpr std::size_t kMaxManifest = 4 << 20;
inline constexpr std::size_t kMaxLock = 64 << 20;

struct Draft {
  bool needed = false;
  InstallPlan plan;                       // steps, inputs, sources, program with kBase in front
  std::vector<std::string> fingerprints;  // more that the result depends on: digests of sources, the interpreter
  std::vector<std::string> argv;          // not empty: replaces the whole command line; arguments still have host paths
  std::string program;                    // not empty: replaces argv[0]
  std::map<std::string, std::string> env;
  std::vector<std::string> path_prefix;
  std::string link_into;  // host folder that wants node_modules -> <environment>/node_modules
  std::vector<Refusal> refused;
  std::vector<Refusal> unpinned;  // what forbids the installation where only pinned things may be installed
  std::vector<std::string> why;
  std::vector<std::string> hints;
  // The folders of plan.sources as they were when their digests were made, by their host path.
  std::map<std::string, TreeContents> contents;
  std::string changed;  // what was another thing when it was looked at again: the plan is of no use
};

// Where things are on the host, as make_plan found out.
struct Site {
  const Policy& policy;
  const std::vector<Root>& roots;
  FolderReader& files;
  std::string start;  // host folder in which the program starts; empty when that is none
  // Host folder in which the search for the project's manifest begins; empty when there is none.
  std::string project_start;

  // The root that covers a canonical host path; nullptr when none does.
  const Root* root_of(const std::string& path) const;
  // A manifest of a root: has the folder a regular file of that name? One that is a link out of its root is refused.
  bool has(Draft& draft, const std::string& folder, std::string_view name) const;
  // A file's text, the same every time; nullopt and a refusal when it cannot be read.
  std::optional<std::string> text(Draft& draft, const std::string& path, std::size_t limit) const;
  // What reading the path stays in.
  FolderReader::Within within(const std::string& path) const;
};

// requirements.txt, pyproject.toml, setup.py, setup.cfg, script headers, uvx and its likes. `interpreter`: the command
// itself is one of a virtual environment or "python", so it is replaced by the environment's.
Draft plan_python_project(const Command& command, const Site& site);
Draft plan_python_tool(const Command& command, const Site& site);
// package.json with lock files; npx and its likes.
Draft plan_node_project(const Command& command, const Site& site);
Draft plan_npm_package(const Command& command, const Site& site);

// Adds what one environment needs to another (a Node project and the runner that npx brings for it).
void add_source(Draft& draft, const Site& site, const std::string& host, const std::string& path);

}  // namespace mcpbox::workspace
