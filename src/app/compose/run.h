// `mcpbox run`: one server in a sandbox of its own, and mcpbox is the stdio MCP server in its place.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace mcpbox::app {

struct RunOptions {
  std::vector<std::string> command;
  std::vector<std::string> stage;   // --stage DIR
  std::vector<std::string> mounts;  // --mount DIR[:ro|rw]
  std::vector<std::string> env;     // --env NAME=value, or NAME to pass our own value on
  std::string image;
  std::string rootfs;  // a folder of this host, which may be relative; resolve_rootfs() makes it the image
  std::string engine;
  std::string ca_bundle;
  std::string install_mode = "open";       // open | locked | offline
  std::string wheelhouse, npm_cache;       // canonical host folders for offline; empty = none
  std::string network = "allowlist";       // none | allowlist | public
  std::vector<std::string> allow;          // --allow HOST[:PORT]
  std::vector<std::string> install_allow;  // --install-allow HOST[:PORT]
  std::vector<std::string> allow_private;  // --allow-private CIDR
  std::vector<std::string> publish;        // --publish PORT[:SERVER]
  double cpus = 2;
  std::uint64_t memory_mb = 1536;
  std::uint64_t pids = 512;
  std::uint64_t disk_mb = 4096;
  std::uint64_t max_files = 200'000;
  std::vector<std::string> accept_degraded;  // --accept-degraded NAME
  unsigned timeout_sec = 300;                // until the process is started
  bool direct = false;
  bool verbose = false;
};

// Gives `image` the absolute name of `rootfs`. kInvalidArgument when that is no folder.
Result<void> resolve_rootfs(RunOptions& options);

// Returns the exit code (exit_code.h).
int run_server(RunOptions options);

// `mcpbox explain [options of run] -- COMMAND`: what run would do, without an engine.
int explain_run(RunOptions options, bool as_json);

}  // namespace mcpbox::app
