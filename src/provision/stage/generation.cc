#include "provision/stage/generation.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <utility>

#include "base/digest.h"
#include "base/errno_error.h"
#include "base/log.h"
#include "base/text.h"
#include "net/offload.h"
#include "provision/stage/copy_paths.h"
#include "provision/stage/stage_pipe.h"

namespace mcpbox::provision {
namespace {

using workspace::ManifestIndex;
using workspace::StageManifest;
using workspace::StageReport;

constexpr int kAttempts = 3;

std::int64_t realtime_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Sends what changed, keeps the rest, and writes down what the copy then has.
class GenerationSink final : public workspace::WalkSink {
 public:
  GenerationSink(box::StageWriter& writer, StageManifest& next, const StageManifest* previous)
      : writer_(writer), next_(next) {
    if (previous != nullptr) index_.emplace(*previous);
  }

  Result<void> directory(std::string_view path) override {
    next_.entries.push_back({StageManifest::Kind::kDirectory, std::string(path), {}, ""});
    return writer_.directory(path);
  }
  Result<void> symlink(std::string_view path, std::string_view target) override {
    next_.entries.push_back({StageManifest::Kind::kLink, std::string(path), {}, std::string(target)});
    return writer_.symlink(path, target);
  }
  bool unchanged(std::string_view path, const workspace::FileStamp& stamp) override {
    const StageManifest::Entry* entry = index_ ? index_->same_file(path, stamp) : nullptr;
    if (entry == nullptr || !writer_.keep(path, stamp.size, stamp.executable())) return false;
    next_.entries.push_back(*entry);
    return true;
  }
  Result<void> file(std::string_view path, std::uint64_t size, bool executable, int fd) override {
    struct stat status{};
    if (::fstat(fd, &status) != 0) return fail(errno_error(errno, "stat '" + printable(path) + "'"));
    ++sent_;
    std::string digest;
    Result<void> written;
    if (next_.digests) {
      auto content = send_and_digest(writer_, std::string(path), size, executable, fd, path);
      if (content)
        digest = std::move(*content);
      else
        written = fail(std::move(content).error());
    } else {
      written = writer_.file(path, size, executable, fd);
    }
    next_.entries.push_back(
        {StageManifest::Kind::kFile, std::string(path), workspace::stamp_of(status), std::move(digest)});
    return written;
  }
  std::uint64_t sent() const { return sent_; }

 private:
  box::StageWriter& writer_;
  StageManifest& next_;
  std::optional<ManifestIndex> index_;
  std::uint64_t sent_ = 0;
};

// What the pool's job and the coroutine share; the job may outlive the coroutine.
struct Job {
  workspace::Root root;
  StagePolicy policy;
  std::optional<StageManifest> previous;
  StageManifest next;
  std::uint64_t sent = 0;
};

Result<StageReport> fill_generation(Job& job, box::StageWriter& writer) {
  const std::int64_t began = realtime_ns();
  GenerationSink sink(writer, job.next, job.previous ? &*job.previous : nullptr);
  auto report = workspace::walk(job.root.host, job.policy.allowed_roots, {}, sink, nullptr, job.policy.rules);
  if (!report) return report;
  for (const workspace::Root::Link& link : job.root.links) {
    if (auto added = sink.symlink(link.path, link.target); !added) return fail(std::move(added).error());
  }
  job.next.distrust_changes_since(began);
  job.sent = sink.sent();
  return report;
}

// The report of the walk when the folder still is what the manifest says; nothing when it is not, or cannot be read
// (the copying that follows then says why).
std::optional<StageReport> as_it_was(const Job& job) {
  workspace::ManifestMatcher matcher(*job.previous);
  auto report = workspace::walk(job.root.host, job.policy.allowed_roots, {}, matcher, nullptr, job.policy.rules);
  if (!report) return std::nullopt;
  for (const workspace::Root::Link& link : job.root.links) {
    if (!matcher.symlink(link.path, link.target)) return std::nullopt;
  }
  if (!matcher.finished()) return std::nullopt;
  return std::move(*report);
}

// The manifest of this copy, if files may be taken over from it.
std::optional<StageManifest> trusted_manifest(const std::string& path, const workspace::Root& root,
                                              const std::string& generation) {
  auto manifest = workspace::load_manifest(path);
  if (!manifest) return std::nullopt;
  const bool fits = !manifest->writable && manifest->host == root.host && manifest->mount == root.mount &&
                    manifest->generation == generation;
  if (!fits) return std::nullopt;
  return std::move(*manifest);
}

}  // namespace

Task<Result<StagedGeneration>> stage_generation(boost::asio::thread_pool& pool, box::Supervisor& supervisor,
                                                CopyList& copies, workspace::Root root, StagePolicy policy,
                                                StageTarget target, GenerationPlace place, bool fresh) {
  const bool writable = root.access == workspace::Access::kReadWrite;
  const std::string remembered = place.manifest_dir.empty() ? "" : manifest_path(place, root.host, writable);
  const std::string parent = parent_of(root.mount);
  const Copy* known = copies.at(root.mount);
  if (known != nullptr && known->host != root.host) known = nullptr;
  StagedGeneration result;
  if (writable && !fresh && known != nullptr && known->kind == Copy::Kind::kOwn) {
    result.how = StagedGeneration::How::kOwnCopy;
    co_return result;
  }
  // What a controller that was killed between unpacking and renaming left, or between taking a copy off the list and
  // removing it.
  Result<std::vector<std::string>> names = copies.names();
  if (parent != place.tree) names = co_await supervisor.list_directory(parent);
  for (const std::string& name : names ? *names : std::vector<std::string>()) {
    const bool dropped = name.starts_with(kKept) && !copies.mentions(parent + "/" + name);
    if (!name.starts_with(kUnfinished) && !(dropped && parent != place.tree)) continue;
    auto removed = co_await supervisor.remove_tree(parent + "/" + name, place.code_uid);
    if (!removed) (void)co_await supervisor.remove_tree(parent + "/" + name, target.uid);
  }

  std::optional<StageManifest> previous;
  // Where the sandbox has one id only, nothing but Landlock keeps the server from its code: then no copy is a source of
  // the next.
  const bool sealed = !writable && place.code_uid != target.uid;
  const bool source = sealed && !fresh && known != nullptr && known->kind == Copy::Kind::kSealed &&
                      known->uid == place.code_uid && known->gid == target.gid;
  if (source && !remembered.empty()) {
    struct Found {
      std::optional<StageManifest> manifest;
      std::optional<StageReport> unchanged;
    };
    auto look = [remembered, root, policy, generation = known->generation] {
      Job job{root, policy, trusted_manifest(remembered, root, generation), {}, 0};
      Found found;
      if (job.previous) found.unchanged = as_it_was(job);
      found.manifest = std::move(job.previous);
      return found;
    };
    auto found = co_await net::offload(pool, std::move(look));
    if (found.unchanged) {
      result.how = StagedGeneration::How::kAsItWas;
      result.report = std::move(*found.unchanged);
      co_return result;
    }
    previous = std::move(found.manifest);
  }

  if (auto made = co_await copies.flush(supervisor); !made) co_return fail(std::move(made).error());
  const uid_t owner = sealed ? place.code_uid : target.uid;
  for (int attempt = 1;; ++attempt) {
    const std::string generation = random_hex(16);
    const std::string destination = fmt::format("{}/{}{}", parent, kUnfinished, generation);
    auto job = std::make_shared<Job>(
        Job{root, policy, previous, {generation, root.host, root.mount, !sealed, writable, {}}, 0});
    const Fill fill = [job](box::StageWriter& writer) { return fill_generation(*job, writer); };
    auto report = co_await stream_into(
        pool, supervisor, {destination, owner, target.gid, false, sealed, previous ? root.mount : "", target.timeout},
        fill);
    if (!report && attempt < kAttempts && report.error().code() == Code::kAborted) continue;
    if (!report && previous &&
        (report.error().code() == Code::kFailedPrecondition || report.error().code() == Code::kNotFound)) {
      log::warning(place.process_id, "{}; copying {} as a whole", report.error().message(), printable(root.host));
      previous.reset();
      continue;
    }
    if (!report) co_return fail(std::move(report).error());
    // While the name leads from one copy to the next, the list may speak of neither.
    if (auto cleared = co_await copies.drop(supervisor, root.mount); !cleared)
      co_return fail(std::move(cleared).error());
    if (auto published = co_await supervisor.publish(destination, root.mount, owner); !published)
      co_return fail(std::move(published).error());
    const Copy::Kind kind = writable ? Copy::Kind::kOwn : sealed ? Copy::Kind::kSealed : Copy::Kind::kOpen;
    auto listed = copies.put({kind, root.host, root.mount, "", generation, owner, target.gid});
    if (!listed) co_return fail(std::move(listed).error());
    result.how = previous ? StagedGeneration::How::kPartly : StagedGeneration::How::kWhole;
    result.sent = job->sent;
    result.report = std::move(*report);
    if (!remembered.empty()) {
      auto save = [job, remembered] { return workspace::save_manifest(remembered, job->next); };
      auto saved = co_await net::offload(pool, std::move(save));
      if (!saved)
        log::warning(place.process_id, "{}; the next start copies {} as a whole", saved.error().message(),
                     printable(root.host));
    }
    co_return result;
  }
}

}  // namespace mcpbox::provision
