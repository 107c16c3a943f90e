// Understands the command lines with which MCP servers are started: what runs, what of it has to be installed, which
// arguments are the server's own.
//
// Knows the options of npx, npm exec, pnpm dlx, yarn dlx, bunx, uvx, uv tool run, uv run, pipx run, poetry run and of
// the interpreters. Pure text.
#pragma once

#include <string>
#include <vector>

namespace mcpbox::workspace {

struct Command {
  enum class Kind {
    kOther,       // starts as it is
    kPython,      // an interpreter with a script, -m module or -c
    kNode,        // node with a script
    kNodeRunner,  // npm start, pnpm run …: needs the project's packages, starts as it is
    kNpmPackage,  // npx and its likes
    kPythonTool,  // uvx and its likes
    kPythonRun,   // uv run, poetry run: a program within a project's environment
  };
  Kind kind = Kind::kOther;
  std::string program;            // argv[0] as the operator wrote it
  std::vector<std::string> args;  // the server's own arguments, behind everything that the runner takes for itself

  // kNpmPackage: specs. kPythonTool: the one spec; kPythonRun and kPythonTool: more below.
  std::vector<std::string> packages;
  std::vector<std::string> with;               // --with
  std::vector<std::string> requirement_files;  // --with-requirements
  // Asked for by name: --package X NAME, --from X NAME, uv run NAME; empty = the package's default.
  std::string executable;
  bool module = false;                       // uv run -m NAME
  bool script = false;                       // uv run NAME is a script file
  std::string python;                        // --python 3.12; or "3.12" of python3.12
  std::string folder;                        // --directory, --project, --prefix, -C: where the project is
  bool changes_directory = false;            // … and the program starts there
  std::vector<std::string> installer_flags;  // passed on: --registry=…, --index-url …
  std::vector<std::string> dropped;          // options that mean nothing here, for the explanation
  std::string unsupported;                   // not empty: why this cannot be started in a sandbox

  std::string script_path;  // kPython, kNode: the file to run, as written; empty with -m and -c
};

Command parse_command(const std::string& program, const std::vector<std::string>& args);

// "@scope/name" of "@scope/name@1.2"; "name" of "alias@npm:real@1"; empty for a URL, a git repository, a tarball or a
// folder.
std::string npm_name_of(const std::string& spec);
// "name" of "name[extra]==1.2"; of "name @ https://…"; empty for a URL or a path.
std::string python_name_of(const std::string& spec);
// uvx's own spelling "name@1.2" and "name@latest" as a requirement: "name==1.2", "name".
std::string python_requirement_of(const std::string& spec);

}  // namespace mcpbox::workspace
