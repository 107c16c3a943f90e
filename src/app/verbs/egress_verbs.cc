#include "app/verbs/egress_verbs.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>

#include "app/compose/config_file.h"
#include "app/compose/paths.h"
#include "app/compose/problems.h"
#include "app/exit_code.h"
#include "app/numbers.h"
#include "app/output.h"
#include "base/setting_name.h"
#include "base/text.h"
#include "egress/proxy/audit_reader.h"
#include "egress/proxy/run_egress.h"
#include "json/text.h"
#include "json/writer.h"

namespace mcpbox::app {
namespace {

void show(const std::string& line, const EgressLogOptions& options) {
  const auto seen = egress::parse_audit_line(line);
  if (!seen || (!options.server.empty() && seen->record.server != options.server)) return;
  if (options.json) {
    print_out("{}\n", line);
    return;
  }
  const egress::AuditRecord& r = seen->record;
  std::string detail = r.event == "close"
                           ? fmt::format("{} up, {} down, {}", human_bytes(r.bytes_up), human_bytes(r.bytes_down),
                                         human_milliseconds(static_cast<double>(r.milliseconds)))
                       : r.event == "open" ? fmt::format("rule {}, {}", r.rule, r.address)
                                           : "";
  if (!r.reason.empty()) detail += (detail.empty() ? "" : "; ") + r.reason;
  if (r.count > 1) detail += fmt::format("{}({} times)", detail.empty() ? "" : " ", r.count);
  // What is in the file was escaped when it was written; the file itself may have been changed since.
  print_out("{}\n", printable(fmt::format("{}  {:<7} {:<8} {}  {}  {}", seen->time, r.event,
                                          r.phase.empty() ? "-" : r.phase, r.server.empty() ? "-" : r.server,
                                          r.host.empty() ? "-" : fmt::format("{}:{}", r.host, r.port), detail)));
}

// Prints what is appended, through rotations, until stdout is closed.
int follow(const EgressLogOptions& options) {
  const std::string path = options.audit_dir + "/" + egress::AuditOptions{}.name;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  struct stat open{}, now{};
  ::stat(path.c_str(), &open);
  std::string line;
  while (flush_out()) {
    for (char c; file.get(c);) {
      if (c != '\n') {
        line += c;
        continue;
      }
      show(line, options);
      line.clear();
    }
    file.clear();
    if (::stat(path.c_str(), &now) == 0 && (now.st_ino != open.st_ino || now.st_dev != open.st_dev)) {
      file = std::ifstream(path, std::ios::binary);
      open = now;
      continue;
    }
    pollfd out{1, 0, 0};
    if (::poll(&out, 1, 250) > 0 && (out.revents & (POLLERR | POLLHUP)) != 0) break;
  }
  return kOk;
}

// Where the daemon's proxy writes unless --audit names another place.
int with_directory(EgressLogOptions options, int (*verb)(const EgressLogOptions&)) {
  if (options.audit_dir.empty()) {
    std::string state_dir;
    if (!options.config.empty()) {
      auto loaded = load_config_place(options.config, config::Image::kLeftOut);
      if (!loaded) {
        print_problems(loaded.error());
        return kUsage;
      }
      state_dir = std::move(loaded->daemon.state_dir);
    }
    const auto paths = make_paths(state_dir, "");
    if (!paths) {
      print_err("mcpbox egress: {}\n", paths.error().message());
      return kFailed;
    }
    options.audit_dir = paths->state_dir + "/egress";
  } else if (std::error_code error; !std::filesystem::is_directory(options.audit_dir, error)) {
    print_err("mcpbox egress: --audit {}: there is no such directory; name the one that has egress.jsonl\n",
              printable(options.audit_dir));
    return kFailed;
  }
  options.json = options.json || options.format == "json";
  return verb(options);
}

}  // namespace

void add_egress_verbs(CLI::App& app, int& code) {
  CLI::App* egress =
      app.add_subcommand("egress", "Who asked for which host through the allow-list proxy, and what was answered");
  egress->require_subcommand(1);

  const auto serving = std::make_shared<EgressServeOptions>();
  CLI::App* verb = egress->add_subcommand("serve", "The proxy itself; mcpbox starts it")->group("");
  verb->add_option("--listen", serving->listen, "Unix socket")->required();
  verb->add_option("--audit", serving->audit_dir, "Directory of the log")->required();
  verb->add_option("--socket-mode", serving->socket_mode, "Mode of the socket, octal");
  verb->add_flag("--for-options", serving->for_options, "Refusals name options of mcpbox run, not keys");
  verb->callback([serving, &code] {
    if (serving->for_options) set_settings_from(SettingsFrom::kOptions);
    code = egress_serve(*serving);
  });

  const auto log = std::make_shared<EgressLogOptions>();
  const auto add_common = [&](CLI::App* to) {
    to->add_option("server", log->server, "Name of the server; without it: all");
    to->add_option("-c,--config", log->config, "Configuration of that daemon, if it names a state directory")
        ->type_name("FILE");
    to->add_option("--audit", log->audit_dir, "Directory of the log; default: egress in the state directory")
        ->type_name("DIR");
    to->add_flag("--json", log->json, "The same as --format json");
    to->add_option("--format", log->format, "table for people, json for programs")
        ->check(CLI::IsMember({"table", "json"}))
        ->type_name("FORMAT");
  };
  verb = egress->add_subcommand("tail", "Show what was allowed and refused");
  add_common(verb);
  verb->add_flag("-f,--follow", log->follow, "Go on as lines come");
  take_whole(verb->add_option("-n,--lines", log->lines, "So many of the newest"), {0, 1'000'000, "lines"});
  verb->callback([log, &code] { code = with_directory(*log, egress_tail); });

  verb = egress->add_subcommand("suggest", "Print the allow-list that what was seen would need");
  add_common(verb);
  verb->callback([log, &code] { code = with_directory(*log, egress_suggest); });
}

int egress_serve(const EgressServeOptions& options) {
  egress::EgressOptions out;
  out.proxy.socket_path = options.listen;
  out.audit.directory = options.audit_dir;
  unsigned mode = 0;
  const char* end = options.socket_mode.data() + options.socket_mode.size();
  const auto [last, error] = std::from_chars(options.socket_mode.data(), end, mode, 8);
  if (error != std::errc() || last != end || mode > 0777) {
    print_err("mcpbox egress: '{}' is no mode; write it in octal, as 600\n", printable(options.socket_mode));
    return kUsage;
  }
  out.proxy.socket_mode = static_cast<mode_t>(mode);
  out.proxy.lock_patience = std::chrono::seconds(3);  // the owner of a proxy waits 5 s for its first answer
  return egress::run_egress(out);
}

int egress_tail(const EgressLogOptions& options) {
  std::vector<std::string> lines = egress::read_audit({.directory = options.audit_dir});
  if (!options.server.empty()) {
    std::set<std::string> names;
    std::erase_if(lines, [&](const std::string& line) {
      const auto seen = egress::parse_audit_line(line);
      if (seen && !seen->record.server.empty()) names.insert(printable(seen->record.server, 80));
      return !seen || seen->record.server != options.server;
    });
    if (lines.empty()) {
      print_err("mcpbox: the log has nothing of a server '{}'{}{}\n", printable(options.server, 80),
                names.empty() ? "" : "; it has of: ", fmt::join(names, ", "));
    }
  }
  for (std::size_t i = lines.size() > options.lines ? lines.size() - options.lines : 0; i < lines.size(); ++i)
    show(lines[i], options);
  return options.follow ? follow(options) : kOk;
}

namespace {

// YAML on one line: its strings are JSON's.
std::string list_of(const std::vector<std::string>& rules) {
  std::string out;
  for (const std::string& rule : rules) out += (out.empty() ? "" : ", ") + json::quote(rule);
  return "[" + out + "]";
}

void show_rules(const std::string& server, const egress::Suggestion& found) {
  print_out("# Of the server {}:\n", printable(server));
  print_out("box:\n  network:\n    mode: allowlist\n    allow: {}\n", list_of(found.allow));
  if (!found.install_allow.empty()) {
    print_out("    # The hosts of the registries that installs use need no rule.\n    install_allow: {}\n",
              list_of(found.install_allow));
  }
}

}  // namespace

int egress_suggest(const EgressLogOptions& options) {
  const std::vector<std::string> lines = egress::read_audit({.directory = options.audit_dir});
  const egress::Suggestion found = egress::suggest(lines, options.server);
  const auto has_rules = [](const egress::Suggestion& some) {
    return !some.allow.empty() || !some.install_allow.empty();
  };
  const bool rules = has_rules(found);
  if (!rules && found.never.empty() && !options.json) {
    print_err("nothing was asked for yet{}; let the server run, then ask again\n",
              options.server.empty() ? "" : " by server '" + printable(options.server) + "'");
    return kOk;
  }
  if (options.json) {
    json::Writer out;
    out.object().member("mode", "allowlist").member("allow", found.allow).member("install_allow", found.install_allow);
    out.member("allow_private", found.allow_private).member("never", found.never);
    out.member("counted_only", found.counted_only);
    print_out("{}", out.end().take_line());
    return kOk;
  }
  if (found.counted_only != 0) {
    print_out("# {} more were counted and not listed, because there were too many at once: {}\n", found.counted_only,
              "let the server run with what is below, then ask again");
  }
  if (!found.never.empty()) print_out("# Asked for, and never allowed: {}\n", printable(join(found.never, ", "), 4096));
  if (!rules) return kOk;
  print_out("# Everything that was asked for, allowed or not: delete what should stay closed.\n");
  if (!found.allow_private.empty()) {
    print_out("# For all servers, at the top of the file; only rules of exactly one host open these:\n");
    print_out("egress:\n  allow_private: {}\n", list_of(found.allow_private));
  }
  std::map<std::string, std::vector<std::string>> by_server;
  for (const std::string& line : lines) {
    const auto seen = egress::parse_audit_line(line);
    // Of a caller that nobody knows nothing is suggested.
    if (!seen || seen->record.server.empty()) continue;
    if (options.server.empty() || seen->record.server == options.server) by_server[seen->record.server].push_back(line);
  }
  for (const auto& [server, own_lines] : by_server) {
    if (const egress::Suggestion own = egress::suggest(own_lines, server); has_rules(own)) show_rules(server, own);
  }
  return kOk;
}

}  // namespace mcpbox::app
