#include "provision/stage/stager.h"

#include <fmt/format.h>

#include <set>
#include <utility>

#include "base/text.h"
#include "provision/stage/stage_pipe.h"

namespace mcpbox::provision {
namespace {

using workspace::StageReport;

// The inputs and sources of an installation that lie in one directory, with their paths relative to it; "" is the
// directory itself.
struct InstallShare {
  std::vector<workspace::InstallInput> inputs;
  std::vector<workspace::InstallSource> sources;
};

InstallShare share_of(const workspace::InstallPlan& plan, const std::string& directory) {
  const std::string below = directory + "/";
  InstallShare share;
  for (const workspace::InstallInput& input : plan.inputs) {
    if (input.path.starts_with(below)) share.inputs.push_back({input.path.substr(below.size()), input.content});
  }
  for (const workspace::InstallSource& source : plan.sources) {
    if (source.path == directory) share.sources.push_back({source.host, "", source.digest});
    if (source.path.starts_with(below))
      share.sources.push_back({source.host, source.path.substr(below.size()), source.digest});
  }
  return share;
}

Result<StageReport> fill_install_share(const InstallShare& share, const StagePolicy& policy, box::StageWriter& writer) {
  std::set<std::string> made;
  // The directories above `path`, each once.
  const auto make_parents = [&](const std::string& path) -> Result<void> {
    for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      if (!made.insert(path.substr(0, slash)).second) continue;
      if (auto done = writer.directory(path.substr(0, slash)); !done) return done;
    }
    return {};
  };
  StageReport total;
  // Sources first: an input that the planner wrote anew replaces nothing, because walks leave lock files of other
  // places alone.
  for (const workspace::InstallSource& source : share.sources) {
    const std::string prefix = source.path.empty() ? "" : source.path + "/";
    if (auto done = make_parents(prefix); !done) return fail(std::move(done).error());
    DigestingSink sink(writer, prefix);
    auto report = workspace::walk(source.host, policy.allowed_roots, {}, sink, nullptr, policy.rules);
    if (!report) return report;
    // The environment is named after what was planned, and is everybody's whose folder has that name: by one walk's
    // word for what another one sends, anybody could put something else there.
    if (sink.finish() != source.digest) {
      return fail(Code::kAborted, fmt::format("'{}' changed between planning and installing; start over when it is at "
                                              "rest",
                                              printable(source.host, 512)));
    }
    total.entries += report->entries;
    total.bytes += report->bytes;
  }
  for (const workspace::InstallInput& input : share.inputs) {
    if (auto done = make_parents(input.path); !done) return fail(std::move(done).error());
    std::size_t sent = 0;
    const box::StageWriter::Read read = [&](char* buffer, std::size_t capacity) -> Result<std::size_t> {
      const std::size_t size = input.content.copy(buffer, capacity, sent);
      sent += size;
      return size;
    };
    if (auto done = writer.file(input.path, input.content.size(), false, read); !done)
      return fail(std::move(done).error());
  }
  return total;
}

}  // namespace

Task<Result<StageReport>> stage_root(boost::asio::thread_pool& pool, box::Supervisor& supervisor, workspace::Root root,
                                     StagePolicy policy, StageTarget target) {
  policy.rules.covered = root.covered;
  const Fill fill = [root, policy](box::StageWriter& writer) -> Result<StageReport> {
    StreamSink sink(writer, "");
    auto report = workspace::walk(root.host, policy.allowed_roots, {}, sink, nullptr, policy.rules);
    if (!report) return report;
    for (const workspace::Root::Link& link : root.links) {
      if (auto added = writer.symlink(link.path, link.target); !added) return fail(std::move(added).error());
    }
    return report;
  };
  co_return co_await stream_into(pool, supervisor,
                                 {root.mount, target.uid, target.gid, true, false, "", target.timeout}, fill);
}

Task<Result<StageReport>> stage_install_inputs(boost::asio::thread_pool& pool, box::Supervisor& supervisor,
                                               workspace::InstallPlan plan, std::string tree, StagePolicy policy,
                                               StageTarget target) {
  std::size_t placed = 0;
  StageReport total;
  for (const char* child : {"/env", "/tmp"}) {
    std::string directory = tree + child;
    InstallShare share = share_of(plan, directory);
    if (share.inputs.empty() && share.sources.empty()) continue;
    placed += share.inputs.size() + share.sources.size();
    const Fill fill = [share = std::move(share), policy](box::StageWriter& writer) {
      return fill_install_share(share, policy, writer);
    };
    auto report = co_await stream_into(
        pool, supervisor, {std::move(directory), target.uid, target.gid, true, false, "", target.timeout}, fill);
    if (!report) co_return report;
    total.entries += report->entries;
    total.bytes += report->bytes;
  }
  if (placed != plan.inputs.size() + plan.sources.size()) {
    co_return fail(Code::kInternal,
                   fmt::format("an input of the installation lies neither in {0}/env nor in {0}/tmp", tree));
  }
  co_return total;
}

}  // namespace mcpbox::provision
