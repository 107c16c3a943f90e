#include "app/verbs/env_verbs.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <functional>
#include <memory>
#include <utility>

#include "app/compose/config_file.h"
#include "app/compose/daemon_engine.h"
#include "app/compose/engine_setup.h"
#include "app/compose/paths.h"
#include "app/compose/runtime.h"
#include "app/exit_code.h"
#include "app/output.h"
#include "app/verbs/complain.h"
#include "app/verbs/daemon_client.h"
#include "app/verbs/table.h"
#include "base/digest.h"
#include "base/text.h"
#include "base/url.h"
#include "box/engines/locator.h"
#include "box/sandbox.h"
#include "hosting/sandbox_backend.h"
#include "json/value.h"
#include "json/writer.h"
#include "provision/install/env_shelf.h"

namespace mcpbox::app {
namespace {

using provision::EnvEntry;
using provision::EnvShelf;

constexpr std::size_t kDigitsNamed = 6;  // of a hash that is not written out
constexpr std::int64_t kUnusedLong = 30 * 24 * 3600;

struct EnvOptions {
  std::string config, engine, socket;
  bool json = false;
  bool all = false;
  std::string older_than;
  std::vector<std::string> names;
};

struct Place {
  config::Settings settings;
  Paths paths;
};

Result<Place> find_place(const EnvOptions& options, config::Image image) {
  Place place;
  if (!options.config.empty()) {
    auto loaded = load_config_place(options.config, image);
    if (!loaded) return fail(Code::kInvalidArgument, loaded.error().front().text());
    place.settings = std::move(*loaded);
  }
  auto paths = make_paths(place.settings.daemon.state_dir,
                          options.socket.empty() ? place.settings.daemon.socket : options.socket);
  if (!paths) return fail(std::move(paths).error());
  place.paths = std::move(*paths);
  return place;
}

using Use = std::function<Task<Result<void>>(EnvShelf& shelf)>;

// Of what is no server's. kUsage, else kFailed.
int exit_code_without_server(const Error& error) {
  return error.code() == Code::kInvalidArgument ? kUsage : kFailed;
}

// Gives `use` a sandbox of its own that mounts the cache. Not called where nothing was ever installed. Says which
// engine that is; `engine_found` becomes true when there is one.
Task<Result<box::EngineInfo>> with_shelf(Runtime& runtime, const Place& place, const EnvOptions& options,
                                         const provision::EnvLedger& ledger, bool writable, Use use,
                                         bool& engine_found) {
  const auto executor = runtime.loop.get_executor();
  auto instance = instance_id(place.paths.state_dir);
  if (!instance) co_return fail(std::move(instance).error());
  auto init = find_init();
  if (!init) co_return fail(std::move(init).error());
  DaemonClient daemon(executor, place.paths.socket);
  const std::string noted = daemon_engine(place.paths.state_dir);
  const std::string running = co_await running_engine(daemon, noted);
  const auto [address, named_by] =
      choose_engine({options.engine, running, place.settings.engine.address, noted}, place.paths.state_dir);
  auto located_by = locator_options(address, place.paths.state_dir);
  if (!located_by) co_return fail(std::move(located_by).error());
  located_by->named_by = named_by;
  {
    auto located = co_await box::locate_engine(executor, std::move(*located_by));
    if (!located) co_return fail(std::move(located).error());
    engine_found = true;
    auto volumes = co_await located->engine->list_volumes(box::instance_labels(*instance));
    if (!volumes) co_return fail(std::move(volumes).error());
    const std::string cache = hosting::cache_volume(*instance);
    if (std::find(volumes->begin(), volumes->end(), cache) == volumes->end()) co_return std::move(located->info);
  }
  ProgressPrinter progress(false);
  auto setup = co_await set_up_engine(executor, address, place.settings.box.image, "", progress, place.paths.state_dir);
  if (!setup) co_return fail(std::move(setup).error());
  box::SandboxOptions session;
  session.instance = *instance;
  session.name = "env-" + random_hex(6);
  session.init_path = *init;
  session.run_dir = place.paths.run_dir;
  session.uids = setup->info.traits.uids;
  session.cache_volume = hosting::cache_volume(*instance);
  session.cache_writable = writable;
  session.profile.image = setup->image_id;
  session.ephemeral = true;
  session.labels["io.mcpbox.kind"] = "env";
  auto opened = co_await box::Sandbox::open(*setup->engine, std::move(session));
  if (!opened) co_return fail(std::move(opened).error());
  const provision::UidBook uids(place.paths.state_dir, *instance, setup->info.kind, setup->info.traits.uids);
  EnvShelf shelf(runtime.pool, (*opened)->supervisor(), ledger, uids);
  auto outcome = co_await use(shelf);
  (void)co_await (*opened)->close();
  if (!outcome) co_return fail(std::move(outcome).error());
  co_return std::move(setup->info);
}

int complain_of_shelf(const Error& error, bool engine_found) {
  return complain(error, engine_found ? exit_code_without_server(error) : exit_code_of_engine(error));
}

// "docker 27.1 at unix:///run/docker.sock"
std::string named_engine(const box::EngineInfo& info) {
  return printable(
      fmt::format("{} {}{}", info.kind, info.version, info.address == info.kind ? "" : " at " + info.address), 300);
}

std::string ago(std::int64_t then) {
  if (then <= 0) return "";
  const auto seconds = std::max<std::int64_t>(std::time(nullptr) - then, 0);
  if (seconds < 120) return fmt::format("{} s ago", seconds);
  if (seconds < 7200) return fmt::format("{} min ago", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{} h ago", seconds / 3600);
  return fmt::format("{} days ago", seconds / (24 * 3600));
}

void write(json::Writer& out, const EnvEntry& entry) {
  const provision::EnvRecord& r = entry.record;
  out.object().member("hash", r.hash).member("asked_hash", r.asked_hash).member("complete", entry.complete);
  out.member("in_use", entry.in_use).member("bytes", r.bytes).member("made", r.made).member("took_ms", r.took_ms);
  out.member("last_used", entry.usage.last_used).member("manager", r.manager).member("asked", r.asked);
  out.member("resolved", r.resolved).member("packages", r.packages).member("servers", entry.usage.servers);
  out.member("image", r.image).member("engine", r.engine).member("steps", r.steps).end();
}

void print_entries(const std::vector<EnvEntry>& entries, const box::EngineInfo& engine, bool as_json) {
  std::uint64_t bytes = 0;
  json::Writer all;
  all.array();
  std::vector<std::vector<std::string>> rows;
  for (const EnvEntry& entry : entries) {
    bytes += entry.record.bytes;
    if (as_json) {
      write(all, entry);
      continue;
    }
    std::vector<std::string> servers = entry.usage.servers;
    if (servers.size() > 3) servers = {servers[0], servers[1], fmt::format("{} more", servers.size() - 2)};
    rows.push_back({entry.record.hash.substr(0, 12),
                    entry.in_use     ? "in use"
                    : entry.complete ? "ready"
                                     : "incomplete",
                    entry.record.bytes > 0 ? human_bytes(entry.record.bytes) : "",
                    ago(std::max(entry.usage.last_used, entry.record.made)), join(servers, ", "),
                    packages_in_short(entry.record)});
  }
  if (as_json) {
    const std::string list = all.end().take();
    print_out("{}", json::Writer()
                        .object()
                        .member("engine", engine.kind)
                        .member("bytes", bytes)
                        .member("environments", json::Raw{list})
                        .end()
                        .take_line());
  } else {
    print_out("{}", format_table({"ENVIRONMENT", "STATE", "SIZE", "USED", "SERVERS", "PACKAGES"}, rows));
    print_out("{} environment{}, {}; engine: {}\n", entries.size(), entries.size() == 1 ? "" : "s", human_bytes(bytes),
              named_engine(engine));
  }
}

int list_environments(const EnvOptions& options) {
  return run_on_loop([&](Runtime& runtime) -> Task<int> {
    auto place = find_place(options, config::Image::kRead);
    if (!place) co_return complain(place.error(), exit_code_without_server(place.error()));
    const provision::EnvLedger ledger(place->paths.state_dir);
    std::vector<EnvEntry> entries;
    const Use use = [&](EnvShelf& shelf) -> Task<Result<void>> {
      auto found = co_await shelf.list();
      if (!found) co_return fail(std::move(found).error());
      entries = std::move(*found);
      co_return Result<void>{};
    };
    bool engine_found = false;
    auto done = co_await with_shelf(runtime, *place, options, ledger, false, use, engine_found);
    if (!done) co_return complain_of_shelf(done.error(), engine_found);
    print_entries(entries, *done, options.json);
    co_return kOk;
  });
}

// What is named by whole hashes or by their beginnings. kNotFound, or kInvalidArgument where a beginning fits several.
Result<std::vector<EnvEntry>> named(const std::vector<EnvEntry>& entries, const std::vector<std::string>& names) {
  std::vector<EnvEntry> found;
  for (const std::string& name : names) {
    std::size_t count = 0;
    for (const EnvEntry& entry : entries) {
      if (!entry.record.hash.starts_with(name)) continue;
      found.push_back(entry);
      ++count;
    }
    if (count == 0)
      return fail(Code::kNotFound, fmt::format("no environment is called '{}'; `mcpbox env list` shows what there is",
                                               printable(name, 80)));
    if (count > 1)
      return fail(Code::kInvalidArgument,
                  fmt::format("several environments begin with '{}'; write more digits", printable(name, 80)));
  }
  return found;
}

int prune_environments(const EnvOptions& options) {
  const auto age = options.older_than.empty() ? kUnusedLong : parse_age(options.older_than);
  if (!age)
    return complain(
        Error(Code::kInvalidArgument, fmt::format("--older-than {}: write a number with s, m, h, d or w, like 7d",
                                                  printable(options.older_than, 40))),
        kUsage);
  for (const std::string& name : options.names) {
    if (name.size() >= kDigitsNamed) continue;
    return complain(
        Error(Code::kInvalidArgument,
              fmt::format("'{}' is too short for an environment: write at least its first {} digits, which `mcpbox env "
                          "list` shows",
                          printable(name, 80), kDigitsNamed)),
        kUsage);
  }
  return run_on_loop([&](Runtime& runtime) -> Task<int> {
    auto place = find_place(options, config::Image::kRead);
    if (!place) co_return complain(place.error(), exit_code_without_server(place.error()));
    const provision::EnvLedger ledger(place->paths.state_dir);
    EnvShelf::Removed removed;
    const Use use = [&](EnvShelf& shelf) -> Task<Result<void>> {
      auto entries = co_await shelf.list();
      if (!entries) co_return fail(std::move(entries).error());
      std::vector<EnvEntry> going;
      if (!options.names.empty()) {
        auto picked = named(*entries, options.names);
        if (!picked) co_return fail(std::move(picked).error());
        going = std::move(*picked);
      } else {
        const auto now = static_cast<std::int64_t>(std::time(nullptr));
        for (const EnvEntry& entry : *entries) {
          const bool old = now - std::max(entry.usage.last_used, entry.record.made) >= *age;
          if (options.all || old || (!entry.complete && options.older_than.empty())) going.push_back(entry);
        }
      }
      auto gone = co_await shelf.remove(std::move(going));
      if (!gone) co_return fail(std::move(gone).error());
      removed = std::move(*gone);
      co_return Result<void>{};
    };
    bool engine_found = false;
    auto done = co_await with_shelf(runtime, *place, options, ledger, true, use, engine_found);
    if (!done) co_return complain_of_shelf(done.error(), engine_found);
    if (options.json) {
      json::Writer out;
      out.object()
          .member("engine", done->kind)
          .member("removed", removed.hashes)
          .member("in_use", removed.in_use)
          .member("bytes", removed.bytes)
          .end();
      print_out("{}", out.take_line());
    } else {
      print_out("removed {} environment{}, {}", removed.hashes.size(), removed.hashes.size() == 1 ? "" : "s",
                human_bytes(removed.bytes));
      if (!removed.in_use.empty())
        print_out("; {} in use stay{}", removed.in_use.size(), removed.in_use.size() == 1 ? "s" : "");
      print_out("; engine: {}\n", named_engine(*done));
    }
    co_return options.names.empty() || removed.in_use.empty() ? kOk : kFailed;
  });
}

// Restarts the server where a daemon runs it. Nothing where none does; else whether its installation failed.
Task<std::optional<bool>> restart_refreshed(Runtime& runtime, const Place& place, std::string server,
                                            std::string& said) {
  DaemonClient client(runtime.loop.get_executor(), place.paths.socket);
  auto body = co_await client.post("/v1/servers/" + percent_encode(server) + "/restart", "{}", std::chrono::seconds(0));
  if (!body) co_return std::nullopt;
  const auto view = json::Value::parse(*body);
  if (!view) co_return std::nullopt;
  const std::string state = (*view)["state"].string_or();
  const std::string error = (*view)["error"].string_or();
  said = fmt::format("{}: {}{}{}", printable(server, 100), state,
                     error.empty() ? "" : ": " + printable(in_one_line(error)),
                     error.empty() ? ", " + (*view)["packages"].string_or() : "");
  if (client.status() == 202) {
    said += "it is not done yet, `mcpbox ps` shows when it is";
    co_return false;
  }
  co_return state != "connected" && (*view)["phase"].string_or() == "dep_install";
}

int refresh_environment(const EnvOptions& options) {
  return run_on_loop([&](Runtime& runtime) -> Task<int> {
    auto place = find_place(options, config::Image::kLeftOut);
    if (!place) co_return complain(place.error(), exit_code_without_server(place.error()));
    const provision::EnvLedger ledger(place->paths.state_dir);
    const std::string& name = options.names.front();
    std::string hash = ledger.last_of_server(name);
    const bool by_server = !hash.empty();
    for (const std::string& known : ledger.known()) {
      if (hash.empty() && name.size() >= kDigitsNamed && known.starts_with(name)) hash = known;
    }
    if (hash.empty()) {
      co_return complain(Error(Code::kNotFound, fmt::format("'{}' is no server that uses an installed environment, and "
                                                            "no environment; `mcpbox env list` shows what there is",
                                                            printable(name, 100))),
                         kFailed);
    }
    const provision::EnvUsage usage = ledger.usage(hash);
    const auto before = ledger.refreshed();
    auto noted = ledger.refresh(usage.asked_hash);
    if (!noted) co_return complain(noted.error(), kFailed);
    std::string said;
    if (by_server) {
      const auto failed = co_await restart_refreshed(runtime, *place, name, said);
      if (failed && *failed) {
        const auto salt = before.find(usage.asked_hash);
        ledger.restore(usage.asked_hash, salt == before.end() ? "" : salt->second);
        print_err("mcpbox: {}\n", said);
        (void)co_await restart_refreshed(runtime, *place, name, said);
        print_err("mcpbox: the environment as it was is used again. {}\n", said);
        co_return kFailed;
      }
      if (failed) {
        print_out("{}\n", said);
        co_return kOk;
      }
    }
    print_out("{} is resolved anew when {} starts the next time; what runs keeps what it has\n", hash.substr(0, 12),
              usage.servers.empty() ? "a server that uses it" : join(usage.servers, ", "));
    co_return kOk;
  });
}

}  // namespace

std::optional<std::int64_t> parse_age(std::string_view text) {
  constexpr std::pair<char, std::int64_t> kUnits[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
  if (text.empty()) return std::nullopt;
  std::int64_t number = 0;
  const char* end = text.data() + text.size() - 1;
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end || number < 0 || number > 1'000'000) return std::nullopt;
  for (const auto& [unit, seconds] : kUnits) {
    if (text.back() == unit) return number * seconds;
  }
  return std::nullopt;
}

int show_install_log(const std::string& server, const std::string& state_dir, bool as_json) {
  auto paths = make_paths(state_dir, "");
  if (!paths) return complain(paths.error(), kFailed);
  const provision::EnvLedger ledger(paths->state_dir);
  const std::string hash = ledger.last_of_server(server);
  const auto log = hash.empty() ? std::nullopt : ledger.log(hash);
  if (!log) {
    return complain(
        Error(Code::kNotFound,
              fmt::format(
                  "no installation for '{}' is noted in {}: it was never started from there, or installs nothing; "
                  "of a daemon with a state directory of its own name the configuration (-c FILE)",
                  printable(server, 100), printable(paths->state_dir))),
        kFailed);
  }
  for (const std::string_view line : split(*log, '\n')) {
    if (trim(line).empty()) continue;
    if (as_json) {
      print_out("{}", json::Writer().object().member("environment", hash).member("text", line).end().take_line());
    } else {
      print_out("{}\n", line);
    }
  }
  return kOk;
}

void add_env_verbs(CLI::App& app, int& code) {
  CLI::App* env = app.add_subcommand("env", "The installed environments: dependencies of servers, shared and kept");
  env->require_subcommand(1);
  const auto options = std::make_shared<EnvOptions>();
  const auto format = std::make_shared<std::string>("table");
  const auto common = [=](CLI::App* verb) {
    verb->add_option("-c,--config", options->config,
                     "Configuration of the daemon, if it names a state directory, an engine or an image")
        ->type_name("FILE");
    verb->add_option("--engine", options->engine, box::kAddressHelp)->type_name("ADDRESS");
    verb->add_option("--format", *format, "table for people, json for programs")
        ->check(CLI::IsMember({"table", "json"}))
        ->type_name("FORMAT");
  };
  CLI::App* verb = env->add_subcommand("list", "What is installed, who uses it, and what was resolved");
  common(verb);
  verb->callback([=, &code] {
    options->json = *format == "json";
    code = list_environments(*options);
  });
  verb = env->add_subcommand(
      "prune",
      "Remove environments that nobody used for 30 days and what interrupted installations left; never one in use");
  verb->add_option("environment", options->names, "These, by their hash or at least six of its first digits")
      ->type_name("HASH");
  verb->add_flag("--all", options->all, "All that are not in use")->excludes("environment");
  verb->add_option("--older-than", options->older_than, "Not used for so long: 90s, 45m, 12h, 7d, 2w")
      ->excludes("environment")
      ->excludes("--all")
      ->type_name("AGE");
  common(verb);
  verb->callback([=, &code] {
    options->json = *format == "json";
    code = prune_environments(*options);
  });
  verb = env->add_subcommand("refresh",
                             "Resolve anew what a server's dependencies are: unpinned names get their newest versions");
  verb->footer(
      "\nA server that a daemon runs is restarted; if its new environment cannot be installed, the old one is used "
      "again.");
  verb->add_option("environment", options->names,
                   "Name of a server, or hash of an environment, or at least six of its first digits")
      ->required()
      ->expected(1)
      ->type_name("SERVER|HASH");
  verb->add_option("--socket", options->socket, "Control socket of the daemon")
      ->type_name("PATH")
      ->default_str(default_socket());
  common(verb);
  verb->callback([=, &code] {
    options->json = *format == "json";
    code = refresh_environment(*options);
  });
}

}  // namespace mcpbox::app
