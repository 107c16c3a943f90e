// What a folder of the host is: a Python or Node project, a virtual environment, a member of a workspace.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "workspace/folder_reader.h"

namespace mcpbox::workspace {

enum class Language { kPython, kNode, kAny };

// Has the folder a manifest of that language: requirements.txt, pyproject.toml, setup.py, setup.cfg; package.json?
bool has_manifest(const std::string& folder, Language language);

// The nearest folder with a manifest from `folder` upwards, not above `limit`. Both canonical, `folder` beneath
// `limit`.
std::optional<std::string> nearest_project(const std::string& folder, const std::string& limit, Language language);

// The folder of the npm, pnpm, yarn or uv workspace that `project` may be a member of: the nearest above it, not above
// `limit`, whose manifest declares one; nullopt when the project has its own lock file or there is none. Members need
// it: their packages are installed there, and they depend on their siblings.
// `within`: what reading its manifest stays in; without it, each folder is read for itself.
std::optional<std::string> workspace_above(FolderReader& files, const std::string& project, const std::string& limit,
                                           const std::optional<FolderReader::Within>& within = std::nullopt);

// A program in a virtual environment: "<folder>/bin/<program>", or Scripts on Windows.
struct VenvProgram {
  std::string environment;  // "/p/.venv"
  std::string project;      // "/p"; empty where the environment stands by itself ("/home/u/venvs/x")
  std::string program;      // "python3", "uvicorn"
  bool interpreter = false;
};

// `path` as it is written, absolute and normalised: links are not followed, because an interpreter in a virtual
// environment is always a link to the system's. An environment is what has a pyvenv.cfg or, as far as nothing is there,
// is called .venv, venv, env or .env.
std::optional<VenvProgram> venv_program(const std::string& path);

bool is_python_name(std::string_view program);  // python, python3, python3.12, pypy3
// "3.12" of "python3.12"; empty of "python3".
std::string python_version_of(std::string_view program);
bool is_script_name(std::string_view file);  // .py, .js, .mjs, .ts …
// node, npx, uv, uvx, bun … : what an image has of its own and a path on this host says nothing about.
bool is_runtime_name(std::string_view program);

}  // namespace mcpbox::workspace
