#include "provision/launch.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "base/setting_name.h"
#include "base/text.h"
#include "provision/environment.h"
#include "provision/node_proxy.h"
#include "provision/stage/generation.h"
#include "provision/stage/stager.h"

namespace mcpbox::provision {
namespace {

bool below_workspace(const std::string& path) {
  return path.starts_with(fmt::format("{}/", box::kWorkspaceMount));
}

// Its copy is kept in the server's tree, and not in a volume of its own.
bool is_copied(const workspace::Root& root) {
  return root.mode == workspace::RootMode::kStage && below_workspace(root.mount);
}

// The copy's place, and the folders in it that lead to what is mounted there.
std::set<std::string> made_by_the_engine(const workspace::Root& root) {
  std::set<std::string> out{root.mount};
  for (const std::string& covered : root.covered) {
    for (std::size_t slash = covered.find('/'); slash != std::string::npos; slash = covered.find('/', slash + 1))
      out.insert(fmt::format("{}/{}", root.mount, covered.substr(0, slash)));
  }
  return out;
}

void note_skipped(const workspace::Root& root, const workspace::StageReport& report, std::vector<std::string>& notes) {
  constexpr std::size_t kNamed = 20;
  for (std::size_t i = 0; i < report.skipped.size() && i < kNamed; ++i) {
    notes.push_back(fmt::format("not staged: {}/{}: {}", printable(root.host), printable(report.skipped[i].path),
                                report.skipped[i].reason));
  }
  if (report.skipped_total > kNamed)
    notes.push_back(fmt::format("not staged: {} more entries", report.skipped_total - kNamed));
}

std::string names_of(const workspace::StageReport::Named& named) {
  std::string text = printable(join(named.first, ", "), 800);
  if (named.total > named.first.size()) text += fmt::format(" and {} more", named.total - named.first.size());
  return text;
}

void tell_secrets(const workspace::Root& root, const workspace::StageReport& report, std::vector<std::string>& told) {
  const std::string host = printable(root.host);
  if (report.secrets.total > 0) {
    told.push_back(
        fmt::format("not staged from {0}, because their names are those of keys or credentials: {1}; a line '!{2}' in "
                    "{0}/.mcpboxignore takes that one along",
                    host, names_of(report.secrets), printable(report.secrets.first.front(), 200)));
  }
  if (report.environments.total > 0) {
    told.push_back(
        fmt::format("staged from {0} with the rest: {1}; a line '.env' in {0}/.mcpboxignore leaves it behind", host,
                    names_of(report.environments)));
  }
}

void note_how(const workspace::Root& root, const StagedGeneration& staged, const std::string& server,
              std::vector<std::string>& notes) {
  const std::string host = printable(root.host);
  switch (staged.how) {
    case StagedGeneration::How::kWhole:
      notes.push_back(
          fmt::format("staged {}: {} entries, {}", host, staged.report.entries, human_bytes(staged.report.bytes)));
      break;
    case StagedGeneration::How::kPartly:
      notes.push_back(fmt::format("staged {}: {} entries, of which {} were new or changed", host, staged.report.entries,
                                  staged.sent));
      break;
    case StagedGeneration::How::kAsItWas:
      notes.push_back(fmt::format("{} has not changed since it was staged", host));
      break;
    case StagedGeneration::How::kOwnCopy:
      notes.push_back(fmt::format(
          "keeps its own copy of {}; `mcpbox pull {}` brings its changes back, `mcpbox restart --fresh {}` stages "
          "the folder again and drops them",
          host, server, server));
      break;
  }
}

}  // namespace

std::string process_tree(const std::string& process_id) {
  return fmt::format("{}/.mcp/{}", box::kWorkspaceMount, process_id);
}

GenerationPlace place_of(const LaunchInputs& inputs) {
  GenerationPlace place;
  place.tree = process_tree(inputs.process_id);
  place.process_id = inputs.process_id;
  place.manifest_dir = inputs.manifest_dir;
  place.code_uid = inputs.one_id ? inputs.uid : inputs.uids.code;
  // What a mounted folder's owner runs was that one's before, too.
  place.server_before = inputs.uid == inputs.uids.server ? inputs.uids.server_before : inputs.uid;
  place.code_before = inputs.one_id ? inputs.uid : inputs.uids.code_before;
  return place;
}

std::vector<box::Mount> mounts_for(const workspace::Plan& plan) {
  std::vector<box::Mount> mounts;
  for (const workspace::Root& root : plan.roots) {
    if (root.mode == workspace::RootMode::kBind) {
      mounts.push_back({box::Mount::Kind::kBind, root.host, root.mount, root.access == workspace::Access::kReadOnly, 0,
                        0755, root.id});
    } else if (!below_workspace(root.mount)) {
      mounts.push_back({box::Mount::Kind::kScratch, "", root.mount, false, 0});
    }
  }
  return mounts;
}

Result<std::pair<uid_t, gid_t>> user_for(const workspace::Plan& plan, uid_t own) {
  std::pair<uid_t, gid_t> user{own, own};
  const workspace::Root* decided_by = nullptr;
  for (const workspace::Root& root : plan.roots) {
    if (root.mode != workspace::RootMode::kBind) continue;
    if (root.owner_uid == 0 || root.owner_gid == 0) {
      if (root.access == workspace::Access::kReadOnly) continue;  // read with the rights of others
      return fail(
          Code::kPermissionDenied,
          fmt::format(
              "{} belongs to user {} and group {}, and a server runs neither as user 0 (root) nor with group 0: "
              "give the folder to another user and group (chown USER:GROUP), mount it read-only, or use "
              "{} for a copy",
              root.host, root.owner_uid, root.owner_gid, setting_name("box.host_path", "--stage")));
    }
    if (decided_by != nullptr && user.first != root.owner_uid) {
      return fail(Code::kInvalidArgument,
                  fmt::format("{} and {} belong to different users; a server runs as one: mount one of them, "
                              "or stage the other",
                              decided_by->host, root.host));
    }
    decided_by = &root;
    user = {root.owner_uid, root.owner_gid};
  }
  return user;
}

Task<Result<Launch>> prepare_launch(box::Sandbox& sandbox, Installer& installer, boost::asio::thread_pool& pool,
                                    LaunchInputs inputs) {
  const auto phase = [&](Phase now) {
    if (inputs.on_phase) inputs.on_phase(now);
  };
  box::Supervisor& supervisor = sandbox.supervisor();
  const workspace::Plan& plan = inputs.plan;
  const std::string tree = process_tree(inputs.process_id);
  Launch launch;

  std::string program;
  if (plan.install) {
    phase(Phase::kDepInstall);
    InstallRequest request;
    request.subject = inputs.server;
    request.plan = plan;
    request.timeout = inputs.timeout;
    request.limits = inputs.limits;
    request.network = inputs.network;
    request.progress = inputs.on_progress;
    auto environment = co_await installer.ensure(supervisor, std::move(request));
    if (!environment) co_return fail(std::move(environment).error());
    program = environment->record.program;
    launch.installed = !environment->from_cache;
    launch.environment = std::move(*environment);
  }

  phase(Phase::kStage);
  std::vector<std::string> read_write{tree + "/home", tree + "/tmp"};
  // Without a folder of the host the server still has a place to start in.
  const std::string workspace = tree + "/workspace";
  const auto in_workspace = [&](const workspace::Root& root) { return root.mount.starts_with(workspace); };
  if (std::ranges::none_of(plan.roots, in_workspace)) read_write.push_back(workspace);
  std::vector<workspace::Root> copied;
  std::ranges::copy_if(plan.roots, std::back_inserter(copied), is_copied);
  StageTarget target;
  target.uid = inputs.uid;
  target.gid = inputs.gid;
  target.timeout = inputs.timeout;
  GenerationPlace place = place_of(inputs);
  place.lasts = !sandbox.options().ephemeral;
  auto copies = co_await CopyList::load(pool, supervisor, place, copied, target, inputs.restage);
  if (!copies) co_return fail(std::move(copies).error());
  std::vector<std::string> bounded{tree};
  for (const workspace::Root& root : plan.roots) {
    if (root.mode == workspace::RootMode::kStage && !below_workspace(root.mount)) bounded.push_back(root.mount);
  }
  auto bound = co_await sandbox.bound_disk(std::move(bounded), inputs.uids.server);
  if (bound) {
    launch.disk = std::move(*bound);
  } else {
    launch.notes.push_back(box::not_bound(bound.error()));
  }
  auto settled = co_await copies->settle(supervisor, inputs.server, copied, target, inputs.restage);
  if (!settled) co_return fail(std::move(settled).error());
  launch.notes.insert(launch.notes.end(), settled->begin(), settled->end());
  std::vector<std::string> read_only;
  for (const workspace::Root& root : plan.roots) {
    const bool writable = root.access == workspace::Access::kReadWrite;
    (writable ? read_write : read_only).push_back(root.mount);
    if (root.mode == workspace::RootMode::kBind) {
      if (writable) inputs.limits.mounted.push_back(root.mount);
      continue;
    }
    // Copies below the tree count with it.
    if (writable && !below_workspace(root.mount)) inputs.limits.own.push_back(root.mount);
    Result<StagedGeneration> staged;
    if (is_copied(root)) {
      staged = co_await stage_generation(pool, supervisor, *copies, root, inputs.policy, target, place, inputs.restage);
    } else {
      for (const std::string& directory : made_by_the_engine(root)) {
        if (auto shared = co_await supervisor.share_directory(directory, inputs.gid); !shared)
          co_return fail(std::move(shared).error());
      }
      auto report = co_await stage_root(pool, supervisor, root, inputs.policy, target);
      if (report) {
        staged->report = std::move(*report);
      } else {
        staged = fail(std::move(report).error());
      }
    }
    if (!staged)
      co_return fail(std::move(staged).error().with_context(fmt::format("staging {}", printable(root.host))));
    note_how(root, *staged, inputs.server, launch.notes);
    launch.staged_entries += staged->report.entries;
    launch.staged_bytes += staged->report.bytes;
    note_skipped(root, staged->report, launch.notes);
    tell_secrets(root, staged->report, launch.told);
  }

  launch.process.prepare = copies->take_preparation();
  EnvironmentInputs environment;
  if (!inputs.proxy_url.empty()) {
    environment.node_preload = tree + std::string(kNodeProxyFile);
    launch.process.prepare.files.push_back({environment.node_preload, std::string(node_proxy_preload()), false});
    read_only.push_back(environment.node_preload);
  }
  environment.tree = tree;
  environment.path_prefix = plan.path_prefix;
  const box::HostTools& tools = sandbox.options().tools;
  environment.path_prefix.insert(environment.path_prefix.end(), tools.path.begin(), tools.path.end());
  environment.ca_bundle = !sandbox.options().ca_bundle.empty();
  environment.proxy_url = inputs.proxy_url;
  environment.own = std::move(inputs.env);
  for (const auto& [name, value] : plan.env) environment.own[name] = Secret(value);

  box::ProcessSpec& process = launch.process;
  process.id = inputs.process_id;
  process.argv = plan.argv;
  if (!program.empty()) process.argv.front() = program;
  process.env = make_environment(environment);
  process.cwd = plan.cwd.empty() ? tree + "/home" : plan.cwd;
  process.uid = inputs.uid;
  process.gid = inputs.gid;
  process.server = std::move(inputs.limits);
  for (const char* part : {"/workspace", "/home", "/tmp"}) process.server.own.push_back(tree + part);
  process.confine.read_write = std::move(read_write);
  process.confine.read_only = std::move(read_only);
  process.confine.read_only.insert(process.confine.read_only.end(), tools.folders.begin(), tools.folders.end());
  if (plan.install) process.confine.read_only.push_back(plan.install->environment);
  if (environment.ca_bundle) process.confine.read_only.emplace_back(box::kCaBundleMount);
  if (!inputs.proxy_url.empty()) process.confine.connect_ports = {kEgressPort};
  process.alone = sandbox.options().alone;
  if (launch.disk) {
    // What PID 1 has to write there is refused by no bound, whatever an earlier start left.
    if (auto made = co_await supervisor.prepare(std::exchange(process.prepare, {})); !made)
      co_return fail(std::move(made).error());
    if (auto tight = co_await launch.disk->tighten(process.server); !tight)
      launch.notes.push_back(box::not_bound(tight.error()));
  }
  if (!process.alone && sandbox.spaces() == "none") {
    launch.notes.emplace_back(
        "this engine gives servers no namespaces of their own, so in a shared sandbox /tmp and /dev/shm are closed and "
        "no "
        "port can be opened; `isolation: dedicated` opens them");
  }
  co_return launch;
}

}  // namespace mcpbox::provision
