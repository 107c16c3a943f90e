#include "app/verbs/doctor.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "app/compose/engine_setup.h"
#include "app/compose/paths.h"
#include "app/compose/progress.h"
#include "app/compose/runtime.h"
#include "app/exit_code.h"
#include "app/output.h"
#include "app/verbs/complain.h"
#include "app/verbs/table.h"
#include "base/digest.h"
#include "base/root_fs.h"
#include "base/setting_name.h"
#include "base/text.h"
#include "box/docker/runner_image.h"
#include "box/engines/locator.h"
#include "box/sandbox.h"
#include "egress/control/service.h"
#include "json/writer.h"
#include "provision/egress_policy.h"
#include "provision/missing_program.h"

namespace mcpbox::app {
namespace {

struct Finding {
  enum class Verdict { kGood, kDegraded, kSkipped, kBad };
  Verdict verdict;
  std::string what;
  std::string detail;
};
using enum Finding::Verdict;

std::string_view name_of(Finding::Verdict verdict) {
  switch (verdict) {
    case kGood:
      return "ok";
    case kDegraded:
      return "degraded";
    case kSkipped:
      return "skipped";
    case kBad:
      return "missing";
  }
  return "missing";
}

// Where sandboxes show this machine's own system, it has to have what servers are started and installed with. `tools`:
// the folders of the user's PATH that they see besides, at the same place.
void judge_programs(std::vector<std::string> tools, std::vector<Finding>& findings) {
  for (const char* folder : {"/usr/local/bin", "/usr/bin", "/bin"}) tools.emplace_back(folder);
  constexpr std::pair<const char*, const char*> kNeeded[] = {
      {"node", "servers written for Node.js"},
      {"npx", "servers of `npx` and Node projects with dependencies"},
      {"python3", "servers written in Python"},
      {"uv", "servers of `uvx` and Python projects with dependencies"}};
  for (const auto& [program, who] : kNeeded) {
    const auto has = [name = program](const std::string& folder) {
      return ::access((folder + "/" + name).c_str(), X_OK) == 0;
    };
    if (std::ranges::any_of(tools, has)) continue;
    findings.push_back({kDegraded, "toolchain",
                        fmt::format("{} is not on this machine, and {} need it: {}", program, who,
                                    provision::how_to_install(program))});
  }
}

void judge_kernel(const box::SupervisorInfo& info, std::vector<Finding>& findings) {
  const int abi = info.landlock_abi;
  findings.push_back({kGood, "kernel", info.kernel});
  findings.push_back({abi >= 1 ? kGood : kBad, "Landlock files",
                      abi >= 1
                          ? fmt::format("ABI {}: a server sees its own files and the read-only system only", abi)
                          : "the kernel has no Landlock: servers in one sandbox are kept apart by user ids alone"});
  findings.push_back({abi >= 4 ? kGood : kDegraded, "Landlock TCP",
                      abi >= 4 ? "a server cannot connect to a neighbour's port"
                               : "needs Linux 6.7: servers in one sandbox can reach each other's loopback ports; use "
                                 "isolation: dedicated"});
  findings.push_back({abi >= 6 ? kGood : kDegraded, "Landlock scopes",
                      abi >= 6 ? "a server cannot reach a neighbour's abstract sockets"
                               : "needs Linux 6.12: servers in one sandbox can reach each other's abstract sockets; "
                                 "use isolation: dedicated"});
  findings.push_back({info.seccomp ? kGood : kBad, "seccomp",
                      info.seccomp ? "system call filter is active" : "the kernel has no seccomp filters"});
}

void judge_spaces(const std::string& spaces, std::vector<Finding>& findings) {
  if (spaces == "all") {
    findings.push_back({kGood, "namespaces", "each server has mounts, network, processes and IPC of its own"});
  } else if (spaces == "without-proc") {
    findings.push_back({kDegraded, "namespaces",
                        "each server has mounts, network and IPC of its own, but the engine lets none mount a /proc: "
                        "servers in one sandbox see each other's arguments; use isolation: dedicated"});
  } else {
    findings.push_back({kDegraded, "namespaces",
                        "the engine, its AppArmor profile or the kernel gives servers none of their own: in a shared "
                        "sandbox /tmp stays closed and no port can be opened; use isolation: dedicated"});
  }
}

void judge_groups(const std::string& none, std::vector<Finding>& findings) {
  findings.push_back({none.empty() ? kGood : kDegraded, "server groups",
                      none.empty() ? "servers of one sandbox share the processors by control groups of their own, and "
                                     "their cpus are limits"
                                   : fmt::format("servers of one sandbox have none of their own ({}): who presses gets "
                                                 "a lower priority where that can be, and their cpus have no effect",
                                                 none)});
}

// The proxy through which sandboxes reach hosts: started, told of a process, and ended again.
Task<void> examine_egress(boost::asio::any_io_executor executor, const Paths& paths, std::vector<Finding>& findings) {
  egress::EgressServiceOptions options;
  options.directory = fmt::format("{}/doctor-{}.egress", paths.run_dir, random_hex(4));
  options.audit_directory = paths.state_dir + "/egress";
  std::string note;
  options.network = provision::network_text({}, provision::settings_of_user(), note);
  const bool upstream = !options.network.upstream_proxy.empty();
  const std::string directory = options.directory;
  auto service = egress::EgressService::start(executor, std::move(options));
  if (!service) {
    findings.push_back({kBad, "egress proxy", service.error().message()});
    co_return;
  }
  egress::EgressClient client;
  client.process = client.server = "doctor";
  client.token = egress::egress_token();
  auto granted = co_await (*service)->grant(std::move(client));
  findings.push_back({granted ? kGood : kBad, "egress proxy",
                      granted
                          ? fmt::format("answers{}; its log is in {}/egress",
                                        upstream ? ", and passes on to this user's HTTPS_PROXY" : "", paths.state_dir)
                          : granted.error().message()});
  if (!note.empty()) findings.push_back({kDegraded, "egress proxy", note});
  if (granted) granted->reset();
  co_await (*service)->stop();
  ::rmdir(directory.c_str());
}

Task<void> examine(Runtime& runtime, std::string engine, std::vector<Finding>& findings) {
  const auto executor = runtime.loop.get_executor();
  ProgressPrinter progress(false);
  auto init = find_init();
  findings.push_back({init ? kGood : kBad, "mcpbox-init", init ? *init : init.error().message()});
  auto paths = make_paths("", "");
  findings.push_back({paths ? kGood : kBad, "directories",
                      paths ? fmt::format("state {}; control sockets {}", paths->state_dir, paths->run_dir)
                            : paths.error().message()});
  auto ca_bundle = resolve_ca_bundle("");
  findings.push_back({kGood, "trust store",
                      ca_bundle && !ca_bundle->empty() ? *ca_bundle : "none on this host; the image's own is used"});

  // What cannot be examined because of another finding is no fault of its own.
  const std::string_view first = !paths ? "directories" : !init ? "mcpbox-init" : "";
  const auto skipped = [&](const char* what) {
    findings.push_back({kSkipped, what, fmt::format("not examined: it needs what is missing above ({})", first)});
  };
  if (paths) {
    co_await examine_egress(executor, *paths, findings);
  } else {
    skipped("egress proxy");
  }
  const bool may_be_native = box::may_show_host_system(engine);
  auto locate = locator_options(std::move(engine));
  if (!locate && may_be_native && !first.empty()) co_return skipped("engine");
  if (!locate) {
    findings.push_back({kBad, "engine", locate.error().message()});
    co_return;
  }
  locate->docker.spaces_note.clear();  // tried anew
  auto located = co_await box::locate_engine(executor, std::move(*locate));
  if (!located) {
    findings.push_back({kBad, "engine", located.error().message()});
    co_return;
  }
  const std::string api = located->info.api_version.empty() ? "" : fmt::format(", API {}", located->info.api_version);
  findings.push_back(
      {kGood, "engine", fmt::format("{}{}, cgroup v{}", located->info.summary, api, located->info.cgroup_version)});
  if (auto fine = check_engine(located->info); !fine) {
    findings.push_back({kBad, "engine", fine.error().message()});
    co_return;
  }
  findings.push_back({kGood, "disk limits", fmt::format("each server's are {}", located->info.disk_limits)});
  for (const std::string& warning : located->info.warnings) findings.push_back({kDegraded, "engine", warning});

  const bool has_images = located->info.traits.has_images;
  if (!has_images) {
    const auto chains = own_toolchains();
    for (const std::string& line : describe_toolchains(chains))
      findings.push_back({kGood, "toolchain", line + "; read-only"});
    for (const std::string& note : chains.notes) findings.push_back({kDegraded, "toolchain", note});
    judge_programs(located->info.traits.tools.path, findings);
  }
  auto dir = has_images ? box::find_runner_image_dir() : Result<std::string>(std::string(kHostSystem));
  auto tag = !has_images ? dir : dir ? box::runner_image_tag(*dir) : Result<std::string>(fail(dir.error()));
  if (!tag) {
    findings.push_back({kBad, "runner image", tag.error().message()});
    co_return;
  }
  auto image = co_await located->engine->image(*tag);
  if (!image) {
    const bool absent = image.error().code() == Code::kNotFound;
    findings.push_back(
        {absent ? kDegraded : kBad, "runner image",
         absent ? fmt::format("{} is not built yet; `mcpbox image build` does it", *tag)
                : fmt::format("the engine does not say whether {} is built: {}", *tag, image.error().message())});
    co_return;
  }
  findings.push_back({kGood, has_images ? "runner image" : "rootfs",
                      has_images ? fmt::format("{}, {}", *tag, human_bytes(image->size_bytes))
                                 : "this machine's own system, read-only"});
  if (!init || !paths) co_return skipped("sandbox");

  auto instance = instance_id(paths->state_dir);
  if (!instance) {
    findings.push_back({kBad, "instance", instance.error().message()});
    co_return;
  }
  box::SandboxOptions session;
  session.instance = *instance;
  session.name = "doctor-" + random_hex(4);
  session.init_path = *init;
  session.run_dir = paths->run_dir;
  session.profile.image = image->id;
  session.ephemeral = true;
  const auto began = std::chrono::steady_clock::now();
  auto opened = co_await box::Sandbox::open(*located->engine, std::move(session));
  if (!opened) {
    findings.push_back({kBad, "sandbox", opened.error().message()});
    co_return;
  }
  const double took = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
  findings.push_back({kGood, "sandbox", fmt::format("made and answered in {}", human_milliseconds(took))});
  judge_spaces((*opened)->spaces(), findings);
  if (!located->info.traits.one_server_per_sandbox) judge_groups((*opened)->no_groups(), findings);
  judge_kernel((*opened)->supervisor().info(), findings);
  auto closed = co_await (*opened)->close();
  if (!closed) findings.push_back({kBad, "sandbox", closed.error().message()});
}

// Runs `verb` with the engine that is found.
template <class Verb>
int with_engine(const std::string& address, Verb verb) {
  return run_on_loop([&](Runtime& runtime) -> Task<int> {
    auto locate = locator_options(address);
    if (!locate) co_return complain(locate.error(), kFailed);
    auto located = co_await box::locate_engine(runtime.loop.get_executor(), std::move(*locate));
    if (!located) co_return complain(located.error(), exit_code_of_engine(located.error()));
    co_return co_await verb(*located);
  });
}

}  // namespace

int doctor(const std::string& engine, bool as_json) {
  std::vector<Finding> findings;
  const int ran = run_on_loop([&](Runtime& runtime) -> Task<int> {
    co_await examine(runtime, engine, findings);
    co_return kOk;
  });
  bool bad = ran != kOk;
  std::vector<std::vector<std::string>> rows;
  json::Writer items;
  items.array();
  for (const Finding& finding : findings) {
    bad = bad || finding.verdict == kBad;
    rows.push_back({std::string(name_of(finding.verdict)), finding.what, in_one_line(finding.detail)});
    items.object().member("verdict", name_of(finding.verdict)).member("what", finding.what);
    items.member("detail", finding.detail).end();
  }
  items.end();
  if (as_json) {
    const std::string list = items.take();
    print_out("{}", json::Writer().object().member("ok", !bad).member("findings", json::Raw{list}).end().take_line());
  } else {
    print_out("{}", format_table({"VERDICT", "WHAT", "DETAIL"}, rows));
  }
  return bad ? kFailed : kOk;
}

int build_image(const std::string& engine, const std::string& ca_bundle) {
  set_settings_from(SettingsFrom::kOptions);
  return run_on_loop([&](Runtime& runtime) -> Task<int> {
    auto bundle = resolve_ca_bundle(ca_bundle);
    if (!bundle) co_return complain(bundle.error(), kUsage);
    ProgressPrinter progress(true);
    auto setup = co_await set_up_engine(runtime.loop.get_executor(), engine, "", *bundle, progress);
    progress.done();
    if (!setup) co_return complain(setup.error(), exit_code_of_engine(setup.error()));
    print_out("{}\n", setup->image_reference);
    co_return kOk;
  });
}

int list_images(const std::string& engine, bool as_json) {
  return with_engine(engine, [&](box::LocatedEngine& located) -> Task<int> {
    box::Labels labels;
    labels["io.mcpbox.image"] = "runner";
    auto images = co_await located.engine->images(std::move(labels));
    if (!images) co_return complain(images.error(), kFailed);
    auto dir = box::find_runner_image_dir();
    auto current = dir ? box::runner_image_tag(*dir) : Result<std::string>(fail(dir.error()));
    std::vector<std::vector<std::string>> rows;
    json::Writer items;
    items.object().array("images");
    for (const box::ImageInfo& image : *images) {
      const std::string tag = image.tags.empty() ? "" : image.tags.front();
      const bool in_use = current && tag.ends_with(*current);
      const auto created = static_cast<std::time_t>(image.created_unix);
      rows.push_back({tag, image.id.substr(0, 19), human_bytes(image.size_bytes),
                      fmt::format("{:%Y-%m-%d %H:%M}", fmt::localtime(created)),
                      in_use ? "used by default" : "of other inputs"});
      items.object().member("tag", tag).member("id", image.id).member("size_bytes", image.size_bytes);
      items.member("created", image.created_unix).member("default", in_use).end();
    }
    items.end().end();
    if (as_json) {
      print_out("{}", items.take_line());
    } else {
      print_out("{}", format_table({"IMAGE", "ID", "SIZE", "MADE", ""}, rows));
    }
    co_return kOk;
  });
}

int pull_image(const std::string& engine, const std::string& reference) {
  return with_engine(engine, [&](box::LocatedEngine& located) -> Task<int> {
    ProgressPrinter progress(true);
    progress.step("pulling " + reference);
    auto on_line = [&progress](std::string_view line) { progress.detail(line); };
    auto image = co_await located.engine->pull(reference, on_line);
    progress.done();
    if (!image) co_return complain(image.error(), kFailed);
    print_out("{}\n", image->id);
    co_return kOk;
  });
}

}  // namespace mcpbox::app
