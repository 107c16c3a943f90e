// Decides what of the host a server needs, where it appears in the sandbox, and what must be installed before it can
// start.
//
// Pure but for reading the host's directories: nothing is changed, no engine is asked. Every decision has its reason in
// `why`.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/path_guard.h"

namespace mcpbox::workspace {

enum class Access { kReadOnly, kReadWrite };
enum class RootMode {
  kStage,  // a copy goes in
  kBind,   // the folder itself is mounted
};

// A folder that the operator names. `mcpbox run --mount DIR[:ro|rw]`, `box.mounts`.
struct MountRequest {
  std::string host;  // absolute
  Access access = Access::kReadOnly;
};

// What the operator wrote about one server.
struct LaunchSpec {
  std::string name;
  std::string command;
  std::vector<std::string> args;
  std::map<std::string, std::string> env;
  std::optional<std::string> cwd;  // host path; what of it is copied depends on what the command names there
  // Where relative arguments were written, when that is not `cwd`: those that lie in a mounted folder mean the mount.
  std::optional<std::string> typed_in;
  // box.host_path or --stage: stage this folder; else inferred from command and args.
  std::optional<std::string> host_path;
  std::vector<std::string> more_stage;        // further --stage folders
  Access host_path_mode = Access::kReadOnly;  // may the server write to its copy?
  std::vector<MountRequest> mounts;
};

// Where and under which rules.
struct Policy {
  std::vector<std::string> allowed_roots;  // host folders that may be staged or mounted from; empty forbids all
  bool same_paths = false;                 // `mcpbox run`: a root appears at its host path; else below `workspace`
  bool infer = true;  // may a root be inferred from command and args (the daemon) or only be named (run)
  std::string workspace = "/workspace";  // this server's own directory in the sandbox, "/workspace/.mcp/<id>/workspace"
  std::string cache = "/cache/env";      // content-addressed environments, "<cache>/<hash>/env"
  // Part of every environment's hash: what it is made in and for, and from where its packages come.
  std::string image_id;
  std::string platform;             // platform_of()
  std::vector<std::string> origin;  // indexes, registries, scopes, find-links, options of builds; without credentials
  std::string home;                 // the operator's home directory; never staged as a whole
  // The engine's socket, mcpbox's state folders: nothing of them, above or beneath is a root.
  std::vector<std::string> denied;
  std::vector<std::string> secret_files;  // StageRules::secret_files: a digest is of what will be sent
  // The image's /usr/bin/python3 is 3.<this>; another version is fetched where a project asks for one.
  unsigned python_minor = 11;
  // Only what a lock file, hashes or exact versions name may be installed; what is missing is in Plan::refused.
  bool locked = false;
  // What is to be resolved anew: asked_hash → a salt that gives the result another hash. What was resolved before stays
  // beside it.
  std::map<std::string, std::string> refreshed;
};

struct Root {
  std::string host;   // canonical absolute host path
  std::string mount;  // absolute path in the sandbox
  RootMode mode = RootMode::kStage;
  Access access = Access::kReadOnly;
  // Of a folder that was named, as it was judged. A kBind root's server runs as its owner, and `host` may lead to
  // nothing else when it is bound.
  std::optional<sys::FileId> id;
  std::uint32_t owner_uid = 0;
  std::uint32_t owner_gid = 0;
  // Links to be made in the staged copy, besides what the folder has: `path` relative to the root, `target` absolute
  // and into an environment ("node_modules" → "<environment>/node_modules", because Node searches upward from the
  // script).
  struct Link {
    std::string path;
    std::string target;
  };
  std::vector<Link> links;
  // Of a copy, relative to it: where other roots are mounted over it. What the host has there is not copied.
  std::vector<std::string> covered;
};

// One command of an installation, run in the sandbox as the installer's own user, without the server's secrets.
struct InstallStep {
  std::string title;  // "install requirements.txt with uv"
  std::vector<std::string> argv;
  std::map<std::string, std::string> env;  // in addition to HOME, TMPDIR, PATH, CA variables
  std::string cwd;
};

// How the program to start is found once the environment is there.
struct Program {
  enum class Kind {
    kAsPlanned,  // Plan::argv holds
    kNpmBin,     // argv[0] is the executable that the installed npm package declares (resolve_npm_bin)
  };
  Kind kind = Kind::kAsPlanned;
  std::string package;   // kNpmBin: "@scope/name" as installed
  std::string bin_name;  // kNpmBin: asked for by --package=… NAME; empty = the package's default
};

// A small file that the steps read, as the planner read it (so what is installed is what was hashed). To be written
// before the first step.
struct InstallInput {
  std::string path;  // absolute in the sandbox, beneath "<cache>/<hash>/"
  std::string content;
};

// A host folder that the steps read as a whole: to be staged (walk(), the same ignore rules) at `path` and writable for
// the installer, because build back ends write beside the code. Independent of where the server's own copy is.
struct InstallSource {
  std::string host;
  std::string path;    // absolute in the sandbox, beneath "<cache>/<hash>/"
  std::string digest;  // tree_digest() of what was planned, and must be of what is sent: the hash speaks of it
};

struct InstallPlan {
  std::string manager;                 // "uv", "npm", "pnpm", "yarn"
  std::vector<std::string> asked;      // what is to be installed, for people: packages, or the manifests that name them
  std::vector<std::string> manifests;  // host paths of what was read
  std::vector<InstallInput> inputs;
  std::vector<InstallSource> sources;
  std::vector<InstallStep> steps;
  std::string hash;            // lower-case hexadecimal, 32 digits: content address of the result
  std::string asked_hash;      // the same, but where Policy::refreshed asks for another result
  std::string environment;     // "<cache>/<hash>/env", the directory that the steps fill
  bool needs_sources = false;  // `sources` is not empty; their contents are part of the hash
  Program program;
};

struct Refusal {
  std::string path;
  std::string reason;
};

struct Plan {
  std::vector<Root> roots;
  std::vector<std::string> argv;  // in sandbox paths
  std::string cwd;                // in the sandbox
  // The server's own variables with paths rewritten, plus PATH prefix, VIRTUAL_ENV …
  std::map<std::string, std::string> env;
  std::vector<std::string> path_prefix;  // directories to put in front of PATH
  std::optional<InstallPlan> install;
  std::vector<Refusal> refused;  // not empty: the server must not be started; make_plan still returns the whole picture
  // For `mcpbox run`: "'/home/u/notes' exists on this host and is not in the sandbox; add --mount …".
  std::vector<std::string> hints;
  std::vector<std::string> why;  // one sentence per decision
};

// kInvalidArgument for a request that cannot be understood (empty command, relative host_path, NUL bytes); kAborted for
// folders that go on changing while they are read: starting over later helps. What a policy forbids is in
// Plan::refused.
Result<Plan> make_plan(const LaunchSpec& spec, const Policy& policy);

// JSON of `mcpbox explain --format json`: roots[{host, mount, mode, access}], argv, cwd, env, install{manager,
// manifest, steps, hash} or null, refused[{path, reason}], hints, why; and a member that the caller knows, of valid
// JSON.
std::string plan_to_json(const Plan& plan, std::string_view more_key = {}, std::string_view more_json = {});

// From the text of <environment>/node_modules/<package>/package.json (hostile): the path of the executable to start,
// relative to the package. kNotFound names the executables that the package does offer.
Result<std::string> resolve_npm_bin(const Program& program, const std::string& package_json);

}  // namespace mcpbox::workspace
