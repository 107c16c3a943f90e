#include "app/cli.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "app/compose/config_file.h"
#include "app/compose/paths.h"
#include "app/compose/problems.h"
#include "app/compose/run.h"
#include "app/compose/serve.h"
#include "app/exit_code.h"
#include "app/misread.h"
#include "app/numbers.h"
#include "app/output.h"
#include "app/verb_examples.h"
#include "app/verbs/client_verbs.h"
#include "app/verbs/config_verbs.h"
#include "app/verbs/doctor.h"
#include "app/verbs/doctor_attack.h"
#include "app/verbs/egress_verbs.h"
#include "app/verbs/env_verbs.h"
#include "app/verbs/pull_verb.h"
#include "box/engines/locator.h"

namespace mcpbox::app {
namespace {

constexpr const char* kFooter = R"(
Start here:
  mcpbox run -- npx -y @modelcontextprotocol/server-everything     a server in a sandbox, as a stdio MCP server
  mcpbox run --mount ~/notes:rw -- npx -y @modelcontextprotocol/server-filesystem ~/notes
  mcpbox serve --config mcpbox.yaml                                many servers, one sandbox
  mcpbox ps; mcpbox tools; mcpbox call SERVER TOOL key=value
  mcpbox run --allow api.example.com -- uvx some-server            the only host that it may talk to
  mcpbox egress tail                                               who asked for which host, allowed or refused
  mcpbox doctor                                                    what this machine can do

Exit codes: 0 done; 1 failed, or the output could not be written; 2 wrong command line or configuration;
3 no daemon answers; 4 no engine answers; 5 the server is not connected; 6 the tool reported an error.
`run` ends with the server's own code: 128+N for signal N (137 when it passed a limit), 125 when the sandbox could not
be made, 127 when the command is not in it.

Environment: MCPBOX_SOCKET, MCPBOX_STATE_DIR, MCPBOX_RUN_DIR, MCPBOX_INIT, MCPBOX_IMAGE_DIR, DOCKER_HOST and more; see
"Environment variables" in docs/configuration.md.)";

constexpr const char* kRunFooter = R"(
Examples:
  mcpbox run -- npx -y @modelcontextprotocol/server-everything
  mcpbox run --stage ~/proj -- python ~/proj/server.py             a copy of ~/proj, requirements.txt installed once
  mcpbox run --mount ~/notes:rw -- npx -y @modelcontextprotocol/server-filesystem ~/notes
  mcpbox run --env API_KEY --allow api.example.com -- uvx some-server   passes API_KEY on; opens this host and no other

In a client's configuration:
  {"mcpServers": {"everything": {"command": "mcpbox",
                                 "args": ["run", "--", "npx", "-y", "@modelcontextprotocol/server-everything"]}}})";

struct Common {
  std::string engine;
  std::string format = "table";
  std::string socket;
  std::string config;
  bool json() const { return format == "json"; }
};

void add_engine(CLI::App* verb, Common& common) {
  verb->add_option("--engine", common.engine, box::kAddressHelp)->type_name("ADDRESS");
}
void add_format(CLI::App* verb, Common& common) {
  verb->add_option("--format", common.format, "table for people, json for programs")
      ->check(CLI::IsMember({"table", "json"}))
      ->type_name("FORMAT");
}
void add_socket(CLI::App* verb, Common& common) {
  verb->add_option("--socket", common.socket, "Control socket of the daemon")
      ->type_name("PATH")
      ->default_str(default_socket());
}

// Which daemon: as add_socket(), or by its configuration.
void add_daemon(CLI::App* verb, Common& common) {
  verb->add_option("-c,--config", common.config,
                   "Configuration of that daemon, if it names a socket or a state directory")
      ->type_name("FILE");
  add_socket(verb, common);
}

struct DaemonPlace {
  ClientOptions client;
  std::string state_dir;  // empty = default
};
// Nothing: the configuration cannot be read, and that was said.
std::optional<DaemonPlace> daemon_place(const Common& common) {
  config::DaemonSettings named;
  if (!common.config.empty()) {
    auto loaded = load_config_place(common.config, config::Image::kLeftOut);
    if (!loaded) {
      print_problems(loaded.error());
      return std::nullopt;
    }
    named = std::move(loaded->daemon);
  }
  std::string socket = !common.socket.empty() ? common.socket : named.socket.empty() ? default_socket() : named.socket;
  return DaemonPlace{{std::move(socket), common.json()}, std::move(named.state_dir)};
}

// What `run` has, and `explain` takes as well, so that a command line can be explained as it is.
void add_run_options(CLI::App* verb, RunOptions& run) {
  // One value each: taking all that follows, an option would also take the -- that parts our options from the server's.
  const auto one_each = [&](const char* name, std::vector<std::string>& values, const char* what, const char* type) {
    verb->add_option(name, values, what)->type_name(type)->allow_extra_args(false);
  };
  one_each("--stage", run.stage, "Show the server a copy of this folder at the same path; may be repeated", "DIR");
  one_each("--mount", run.mounts, "Show the server the folder itself, read-only unless :rw; may be repeated",
           "DIR[:ro|rw]");
  one_each("--env", run.env, "Variable for the server; NAME alone passes ours on; may be repeated", "NAME[=VALUE]");
  verb->add_option("--network", run.network,
                   "none (or off); allowlist: what --allow names (the default); public (or on): any public address")
      ->check(CLI::IsMember({"none", "allowlist", "public", "off", "on"}))
      ->type_name("MODE");
  one_each("--allow", run.allow, "Host that the server may talk to: HOST[:PORT], *.DOMAIN.TLD; may be repeated",
           "HOST[:PORT]");
  one_each("--install-allow", run.install_allow,
           "Host that installing its dependencies needs beyond their registry; may be repeated", "HOST[:PORT]");
  one_each("--allow-private", run.allow_private,
           "Private addresses that --allow of exactly one host may open; may be repeated", "CIDR");
  one_each("--publish", run.publish,
           "Forward this port of 127.0.0.1 to the same port in the server, or to port SERVER; may be repeated",
           "PORT[:SERVER]");
  CLI::Option* const image =
      verb->add_option("--image", run.image, "Image to use instead of the runner image")->type_name("IMAGE");
  verb->add_option("--rootfs", run.rootfs, "Folder of a root file system, on the native engine")
      ->excludes(image)
      ->type_name("DIR");
  verb->add_option("--ca-bundle", run.ca_bundle,
                   "PEM file of trusted authorities for the sandbox; system = this host's (the default), none")
      ->type_name("FILE");
  verb->add_option("--install-mode", run.install_mode,
                   "open; locked: only what a lock file, hashes or exact versions name; offline: without network")
      ->check(CLI::IsMember({"open", "locked", "offline"}));
  verb->add_option("--wheelhouse", run.wheelhouse, "Folder of wheels for --install-mode offline")
      ->check(CLI::ExistingDirectory)
      ->type_name("DIR");
  verb->add_option("--npm-cache", run.npm_cache, "npm cache for --install-mode offline")
      ->check(CLI::ExistingDirectory)
      ->type_name("DIR");
  const auto size = [](std::uint64_t low, std::uint64_t high) {
    return WholeRange{low, high, "MiB", Unit::kMebibytes};
  };
  take_whole(verb->add_option("--memory", run.memory_mb, "Memory of the server in MiB, or as in 512m or 2g"),
             size(16, 16'777'216));
  take_whole(verb->add_option("--pids", run.pids, "Processes and threads that the server may have"),
             {8, 4'194'304, "processes and threads"});
  take_whole(verb->add_option("--disk", run.disk_mb, "Disk that the server may fill, in MiB, or as in 512m or 2g"),
             size(16, 1'073'741'824));
  take_whole(verb->add_option("--max-files", run.max_files, "Files that the server may have"),
             {100, 1'000'000'000, "files"});
  take_decimal(verb->add_option("--cpus", run.cpus, "Processors that the sandbox may use"), 0.01, 1024, "processors");
  verb->add_option("--accept-degraded", run.accept_degraded,
                   "Start although this is missing here and mcpbox promises it; may be repeated")
      ->type_name("NAME")
      ->allow_extra_args(false)
      ->check(CLI::IsMember({"landlock", "namespaces"}));
  take_whole(verb->add_option("--timeout", run.timeout_sec,
                              "Seconds until the process must have been started, installs included; or as in 5m"),
             {1, 86'400, "seconds", Unit::kSeconds});
  verb->add_flag("--direct", run.direct,
                 "Hand our own stdin, stdout and stderr to the server: no copy, no hop, no filter");
  verb->add_flag("-v,--verbose", run.verbose, "Say every step on stderr");
}

}  // namespace

int run_command_line(int argc, char** argv) {
  CLI::App app("mcpbox runs MCP servers in a sandbox and hands them to MCP clients.", "mcpbox");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("mcpbox ") + MCPBOX_VERSION);

  int code = kOk;
  Common common;
  const auto ask = [&](const auto& question) {
    const auto place = daemon_place(common);
    code = place ? question(*place) : kUsage;
  };

  RunOptions run;
  CLI::App* verb =
      app.add_subcommand("run", "Run one server in a sandbox of its own and be that server on stdin and stdout");
  verb->footer(kRunFooter);
  add_run_options(verb, run);
  add_engine(verb, common);
  verb->add_option("command", run.command, "Command and arguments of the server, after --")
      ->required()
      ->type_name("COMMAND");
  verb->callback([&] {
    run.engine = common.engine;
    code = run_server(run);
  });

  std::string config_file = "mcpbox.yaml";
  ServeOptions serving;
  verb = app.add_subcommand("serve", "Run the daemon with the servers of a configuration");
  verb->add_option("-c,--config", serving.config, "Configuration")->default_str(config_file)->type_name("FILE");
  add_socket(verb, common);
  add_engine(verb, common);
  verb->add_flag("-v,--verbose", serving.verbose, "Log debug messages");
  verb->callback([&] {
    if (serving.config.empty()) serving.config = config_file;
    serving.socket = common.socket;
    serving.engine = common.engine;
    code = serve(serving);
  });

  verb = app.add_subcommand("ps", "List the servers with their state");
  add_daemon(verb, common);
  add_format(verb, common);
  ListOptions list;
  verb->add_flag("--phases", list.phases, "Show how long each phase of the start took");
  take_whole(verb->add_option("--wait", list.wait,
                              "Wait up to so many seconds (or as in 5m) until every server is connected, stopped or "
                              "failed; 15 s at most for a daemon that does not answer yet")
                 ->type_name("SECONDS"),
             {0, 86'400, "seconds", Unit::kSeconds});
  verb->callback([&] { ask([&](const DaemonPlace& at) { return list_servers(at.client, list); }); });

  std::string server;
  verb = app.add_subcommand("tools", "List the tools of a server, or of all");
  verb->add_option("server", server, "Name of the server");
  add_daemon(verb, common);
  add_format(verb, common);
  verb->callback([&] { ask([&](const DaemonPlace& at) { return list_tools(at.client, server); }); });

  CallOptions call;
  verb = app.add_subcommand("call", "Call a tool");
  verb->footer(
      "\nExamples:\n  mcpbox call everything echo message=hello\n  mcpbox call everything get-sum a:=2 b:=3\n"
      "  mcpbox call files list_directory --json '{\"path\": \".\"}'");
  verb->add_option("server", call.server, "Name of the server")->required();
  verb->add_option("tool", call.tool, "Name of the tool")->required();
  verb->add_option("arguments", call.arguments, "key=text or key:=JSON");
  verb->add_option("--json", call.json, "All arguments as one JSON object; - reads it from stdin")
      ->type_name("OBJECT")
      ->excludes("arguments");
  add_daemon(verb, common);
  add_format(verb, common);
  verb->callback([&] { ask([&](const DaemonPlace& at) { return call_tool(at.client, call); }); });

  bool follow = false;
  bool install_log = false;
  verb = app.add_subcommand("logs", "Show what a server wrote to stderr, and what mcpbox did about it");
  verb->add_option("server", server, "Name of the server")->required();
  verb->add_flag("-f,--follow", follow, "Go on as lines come");
  verb->add_flag("--install", install_log,
                 "Show what the newest installation of its dependencies printed; needs no daemon")
      ->excludes("--follow");
  add_daemon(verb, common);
  add_format(verb, common);
  verb->callback([&] {
    ask([&](const DaemonPlace& at) {
      return install_log ? show_install_log(server, at.state_dir, common.json()) : show_logs(at.client, server, follow);
    });
  });

  bool fresh = false;
  verb = app.add_subcommand("restart", "Stop a server and start it again");
  verb->add_option("server", server, "Name of the server")->required();
  verb->add_flag("--fresh", fresh,
                 "Begin anew: stage its folder again, drop what the server wrote into its copy and its home");
  add_daemon(verb, common);
  add_format(verb, common);
  verb->callback([&] { ask([&](const DaemonPlace& at) { return restart_server(at.client, server, fresh); }); });

  verb = app.add_subcommand("stop", "Stop a server until it is restarted");
  verb->add_option("server", server, "Name of the server")->required();
  add_daemon(verb, common);
  add_format(verb, common);
  verb->callback([&] { ask([&](const DaemonPlace& at) { return stop_server(at.client, server); }); });

  PullVerb pulling;
  verb =
      app.add_subcommand("pull", "Bring what a server changed in its own copy (host_path_mode: rw) back to this host");
  verb->footer(
      "\nNothing comes back by itself. A file that changed here too is a conflict: then nothing is written, unless "
      "--force.\n\n"
      "Examples:\n  mcpbox pull files --dry-run\n  mcpbox pull files --to ~/projects/notes-of-the-server");
  verb->add_option("server", pulling.server, "Name of the server; it may be stopped")->required();
  verb->add_option("--of", pulling.of,
                   "The folder whose copy is meant, also one that is not among the server's any more: its copy is kept")
      ->type_name("DIR");
  verb->add_option("--to", pulling.to, "Put the server's whole copy into this folder instead")->type_name("DIR");
  verb->add_flag("--dry-run", pulling.dry_run, "Only say what would be done");
  verb->add_flag("--force", pulling.force,
                 "Write over conflicts; what is here stays beside them as NAME.before-pull-N");
  verb->add_flag("--delete", pulling.delete_missing, "Delete here what the server deleted");
  add_daemon(verb, common);
  add_format(verb, common);
  verb->callback([&] { ask([&](const DaemonPlace& at) { return pull_changes(at.client, pulling); }); });

  DownOptions ending;
  verb = app.add_subcommand("down", "End the daemon and remove its sandboxes, also those that a killed daemon left");
  verb->add_option("-c,--config", ending.config,
                   "Configuration of that daemon, if it names a socket, a state directory or an engine")
      ->type_name("FILE");
  verb->add_flag("--volumes", ending.volumes, "Remove the installed dependencies and the servers' copies too");
  add_socket(verb, common);
  add_engine(verb, common);
  verb->callback([&] {
    ending.socket = common.socket;
    ending.engine = common.engine;
    code = down(ending);
  });

  std::string file;
  verb = app.add_subcommand("check", "Check a configuration: every problem at once, with its place");
  verb->add_option("file", file, "Configuration")->default_str(config_file);
  add_format(verb, common);
  verb->callback([&] { code = check_config(file.empty() ? config_file : file, common.json()); });

  RunOptions explained;
  verb = app.add_subcommand("explain", "Say what a server would be shown, installed and run, and why; changes nothing");
  verb->footer(
      "\nExamples:\n  mcpbox explain --config mcpbox.yaml files\n  mcpbox explain --stage ~/proj -- python "
      "~/proj/server.py");
  verb->add_option("-c,--config", file, "Configuration that has the server")->type_name("FILE");
  add_run_options(verb, explained);
  add_engine(verb, common);
  add_format(verb, common);
  verb->add_option("command", explained.command,
                   "Name of a configured server, or after -- a command with its arguments")
      ->required()
      ->type_name("SERVER|COMMAND");
  verb->callback([&] {
    const bool configured =
        !file.empty() || (explained.command.size() == 1 && explained.stage.empty() && explained.mounts.empty() &&
                          std::find(argv, argv + argc, std::string("--")) == argv + argc);
    explained.engine = common.engine;
    code = configured ? explain_server(file.empty() ? config_file : file, explained.command.front(), common.engine,
                                       common.json())
                      : explain_run(explained, common.json());
  });

  verb = app.add_subcommand("doctor", "Examine this machine: engine, image, kernel, directories");
  verb->footer(
      "\nVerdicts: ok; degraded, servers run with less; missing, exit code 1; skipped, because it needs what is "
      "missing.");
  add_engine(verb, common);
  add_format(verb, common);
  bool attack = false;
  verb->add_flag(
      "--attack", attack,
      "Start two servers, let one attack the other, and say what got through; exit code 1 when something did");
  verb->callback(
      [&] { code = attack ? doctor_attack(common.engine, common.json()) : doctor(common.engine, common.json()); });

  CLI::App* image = app.add_subcommand("image", "The images that sandboxes are made from");
  image->require_subcommand(1);
  verb = image->add_subcommand("build", "Build the runner image if it is missing");
  std::string ca_bundle;
  verb->add_option("--ca-bundle", ca_bundle, "PEM file of trusted authorities; system (the default) or none")
      ->type_name("FILE");
  add_engine(verb, common);
  verb->callback([&] { code = build_image(common.engine, ca_bundle); });
  verb = image->add_subcommand("list", "List the runner images");
  add_engine(verb, common);
  add_format(verb, common);
  verb->callback([&] { code = list_images(common.engine, common.json()); });
  std::string reference;
  verb = image->add_subcommand("pull", "Pull an image for `box.image`");
  verb->add_option("image", reference, "Reference")->required();
  add_engine(verb, common);
  verb->callback([&] { code = pull_image(common.engine, reference); });

  add_egress_verbs(app, code);
  add_env_verbs(app, code);

  app.add_subcommand("version", "Print the version")->callback([] { print_out("mcpbox {}\n", MCPBOX_VERSION); });

  add_examples(app);
  if (const auto answered = answer_without_verb(app, argc, argv)) return *answered;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      std::ostringstream out, err;
      (void)app.exit(error, out, err);
      write_out(out.str());
      return kOk;
    }
    return explain_misread(app, argc, argv, error.what());
  } catch (const std::exception& error) {
    print_err("mcpbox: internal error: {}\n", error.what());
    return kFailed;
  }
  return code;
}

}  // namespace mcpbox::app
