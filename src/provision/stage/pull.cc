#include "provision/stage/pull.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "base/digest.h"
#include "base/errno_error.h"
#include "base/log.h"
#include "base/text.h"
#include "box/link/pipe_wait.h"
#include "box/wire/stage_stream.h"
#include "net/offload.h"
#include "net/wait.h"

namespace mcpbox::provision {
namespace {

// box's reader and workspace's receiver do not know each other; they meet here.
class ReceiverSink final : public box::wire::StageSink {
 public:
  explicit ReceiverSink(workspace::PullReceiver& receiver) : receiver_(receiver) {}
  Result<void> directory(std::string_view path) override { return receiver_.directory(path); }
  Result<void> file(std::string_view path, std::uint64_t size, bool executable) override {
    return receiver_.file(path, size, executable);
  }
  Result<void> data(std::string_view bytes) override { return receiver_.data(bytes); }
  Result<void> file_end() override { return receiver_.file_end(); }
  Result<void> link(std::string_view path, std::string_view target) override { return receiver_.link(path, target); }
  Result<void> keep(std::string_view, std::uint64_t, bool) override {
    return fail(Code::kDataLoss, "the sandbox sent a reference instead of a file");
  }

 private:
  workspace::PullReceiver& receiver_;
};

// All that one pull holds; the pool's job may outlive the coroutine.
struct PullJob {
  workspace::PullTarget target;
  workspace::StageManifest base;
  bool base_known = true;
  UniqueFd root;
  std::string spool;
  std::optional<workspace::PullReceiver> receiver;
  std::optional<Result<void>> received;

  ~PullJob() { clear(); }
  // Removes what came. Blocks, like everything here.
  void clear() {
    std::error_code ignored;
    if (!spool.empty()) std::filesystem::remove_all(spool, ignored);
    spool.clear();
  }
};

// Whoever lets go of it last, the pool removes what came: a spool may hold thousands of files.
std::shared_ptr<PullJob> make_job(boost::asio::thread_pool& pool) {
  return {new PullJob, [&pool](PullJob* job) { boost::asio::post(pool, [owned = std::unique_ptr<PullJob>(job)] {}); }};
}

constexpr std::string_view kSpool = "pull-";  // where a pull keeps what comes, in the folder of the manifests

// Opens where it goes, reads what was staged, makes a place for what comes.
Result<void> prepare_pull(PullJob& job, const GenerationPlace& place, const Copy& copy, bool elsewhere) {
  auto opened = workspace::open_stage_root(job.target.host, job.target.allowed_roots, job.target.rules);
  if (!opened) return fail(opened.error());
  job.root = std::move(*opened);
  if (!elsewhere) {
    auto manifest = workspace::load_manifest(manifest_path(place, copy.host, true));
    job.base_known =
        manifest && manifest->digests && manifest->host == copy.host && copy.generation == manifest->generation;
    if (job.base_known) job.base = std::move(*manifest);
  }
  ::mkdir(place.manifest_dir.c_str(), 0700);
  const std::string spool = fmt::format("{}/{}{}", place.manifest_dir, kSpool, random_hex(8));
  if (::mkdir(spool.c_str(), 0700) != 0) return fail(errno_error(errno, "make '" + spool + "'"));
  job.spool = spool;
  job.receiver.emplace(job.target, job.base, job.root.get(), spool);
  return {};
}

Result<void> receive_pull(PullJob& job, int stream, box::PipeWait& wait) {
  ReceiverSink sink(*job.receiver);
  box::wire::StageReader reader(sink);
  std::vector<char> buffer(256 * 1024);
  while (!reader.done()) {
    auto got = wait.read_some(stream, buffer.data(), buffer.size(), "read what the sandbox sends");
    if (!got) return fail(std::move(got).error());
    if (*got == 0) return fail(Code::kUnavailable, "what the sandbox sends ended in the middle");
    if (auto fed = reader.feed(std::string_view(buffer.data(), *got)); !fed) return fed;
  }
  return {};
}

struct Settled {
  Result<void> done;
  workspace::PullReport report;
  std::optional<Error> unsaved;
};

// Writes to the host and notes what was written as one job: a pull that is cancelled or fails in the middle must not
// leave files of the server's that the next pull takes for changes made on this host. `manifest`: empty = nothing is
// noted.
Settled settle_and_save(PullJob& job, const workspace::PullChoice& choice, const std::string& manifest) {
  Settled settled;
  settled.done = workspace::settle_pull(*job.receiver, job.base, job.root.get(), choice, settled.report);
  if (settled.report.applied && !manifest.empty()) {
    if (auto saved = workspace::save_manifest(manifest, settled.report.base); !saved)
      settled.unsaved = std::move(saved).error();
  }
  return settled;
}

Task<Result<PullOutcome>> pull_with(std::shared_ptr<PullJob> job, boost::asio::thread_pool& pool,
                                    box::Supervisor& supervisor, Copy copy, StagePolicy policy, StageTarget target,
                                    GenerationPlace place, PullOptions options) {
  const bool elsewhere = !options.to.empty();
  if (place.manifest_dir.empty())
    co_return fail(Code::kUnsupported, "nothing can be brought back without a state directory");

  job->target.host = elsewhere ? options.to : copy.host;
  job->target.allowed_roots = policy.allowed_roots;
  job->target.rules = policy.rules;
  auto prepare = [job, place, copy, elsewhere] { return prepare_pull(*job, place, copy, elsewhere); };
  auto prepared = co_await net::offload(pool, std::move(prepare));
  if (!prepared) co_return fail(std::move(prepared).error());

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) co_return fail(errno_error(errno, "pipe for pulling"));
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const auto executor = co_await boost::asio::this_coro::executor;
  const auto done = std::make_shared<net::Signal>(executor);
  ::fcntl(read_end.get(), F_SETFL, O_NONBLOCK);
  const auto wait = std::make_shared<box::PipeWait>(target.timeout);
  const box::PipeWaitGuard guard(*wait);
  boost::asio::post(pool, [job, done, executor, wait, in = std::move(read_end)]() mutable {
    auto received = receive_pull(*job, in.get(), *wait);
    in.reset();
    boost::asio::post(executor, [job, done, received = std::move(received)]() mutable {
      job->received = std::move(received);
      done->notify();
    });
  });
  box::Supervisor::PackRequest request;
  request.path = copy.path;
  request.uid = copy.uid;
  request.gid = copy.gid;
  for (const std::string_view name : workspace::default_ignored_names()) request.skip.emplace_back(name);
  request.entries = job->target.limits.entries;
  request.bytes = job->target.limits.bytes;
  request.file_bytes = job->target.limits.file_bytes;
  request.timeout = target.timeout;
  auto packed = co_await supervisor.pack(std::move(request), std::move(write_end));
  wait->stop();
  while (!job->received) co_await done->wait();
  Result<void>& received = *job->received;
  // What we refuse breaks the pipe; what the packer refuses ends the stream. The cause is said.
  if (!received && received.error().code() != Code::kUnavailable) co_return fail(std::move(received).error());
  if (!packed) co_return fail(std::move(packed).error());
  if (!received) co_return fail(std::move(received).error());

  const bool remember = !elsewhere && job->base_known;
  auto settle = [job, choice = options.choice, path = remember ? manifest_path(place, copy.host, true) : ""] {
    return settle_and_save(*job, choice, path);
  };
  auto settled = co_await net::offload(pool, std::move(settle));
  if (settled.unsaved)
    log::warning(place.process_id, "{}; the next pull takes what came now for conflicts", settled.unsaved->message());
  if (!settled.done) co_return fail(std::move(settled.done).error());
  PullOutcome outcome;
  outcome.from = copy.host;
  outcome.target = job->target.host;
  outcome.base_known = job->base_known;
  outcome.unreadable = packed->skipped;
  outcome.report = std::move(settled.report);
  co_return outcome;
}

Task<Result<PullOutcome>> pull_copy(boost::asio::thread_pool& pool, box::Supervisor& supervisor, Copy copy,
                                    StagePolicy policy, StageTarget target, GenerationPlace place,
                                    PullOptions options) {
  const auto job = make_job(pool);
  auto outcome = co_await pull_with(job, pool, supervisor, std::move(copy), std::move(policy), target, std::move(place),
                                    std::move(options));
  auto clear = [job] {
    job->clear();
    return true;
  };
  (void)co_await net::offload(pool, std::move(clear));
  co_return outcome;
}

// The folders whose copies there are, for a message.
std::string folders_of(const std::vector<Copy>& copies) {
  std::string text;
  for (const Copy& copy : copies) text += (text.empty() ? "" : ", ") + printable(copy.host, 500);
  return text;
}

}  // namespace

Task<Result<std::vector<PullOutcome>>> pull_copies(boost::asio::thread_pool& pool, box::Supervisor& supervisor,
                                                   std::vector<workspace::Root> roots, StagePolicy policy,
                                                   StageTarget user, GenerationPlace place, PullOptions options) {
  std::erase_if(roots, [](const workspace::Root& root) { return root.mode != workspace::RootMode::kStage; });
  auto copies = co_await CopyList::load(pool, supervisor, place, roots, user, false);
  if (!copies) co_return fail(std::move(copies).error());
  const std::vector<Copy> kept = copies->kept();
  const std::string of_kept =
      kept.empty() ? "" : fmt::format("; it keeps copies of {} (--of FOLDER)", folders_of(kept));
  std::vector<Copy> which;
  if (!options.of.empty()) {
    const Copy* copy = copies->own_of(options.of);
    if (copy == nullptr) {
      co_return fail(Code::kFailedPrecondition,
                     fmt::format("it has no copy of {} that it could have changed{}", printable(options.of), of_kept));
    }
    which.push_back(*copy);
  } else {
    std::erase_if(roots, [](const workspace::Root& root) { return root.access != workspace::Access::kReadWrite; });
    if (roots.empty()) {
      co_return fail(Code::kFailedPrecondition,
                     fmt::format("it has no copy that it may change: set `host_path_mode: rw`{}", of_kept));
    }
    if (roots.size() > 1 && !options.to.empty()) {
      co_return fail(Code::kInvalidArgument,
                     fmt::format("it has copies of {} folders; --to takes one: name it with --of", roots.size()));
    }
    for (const workspace::Root& root : roots) {
      const Copy* copy = copies->own_of(root.host);
      if (copy == nullptr) {
        co_return fail(Code::kFailedPrecondition,
                       fmt::format("there is no copy of {} that the server could have changed: it was not started yet, "
                                   "or only since it may write{}",
                                   printable(root.host), of_kept));
      }
      which.push_back(*copy);
    }
  }
  std::vector<PullOutcome> outcomes;
  for (Copy& copy : which) {
    auto pulled = co_await pull_copy(pool, supervisor, std::move(copy), policy, user, place, options);
    if (!pulled) co_return fail(std::move(pulled).error());
    outcomes.push_back(std::move(*pulled));
  }
  co_return outcomes;
}

std::size_t forget_cut_off_pulls(const std::string& manifest_dir) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::vector<fs::path> left;
  for (fs::directory_iterator at(manifest_dir, error), end; !error && at != end; at.increment(error)) {
    // A manifest of a server called "pull" begins so too, and is a file.
    if (at->path().filename().string().starts_with(kSpool) &&
        at->symlink_status(error).type() == fs::file_type::directory)
      left.push_back(at->path());
  }
  for (const fs::path& spool : left) {
    fs::remove_all(spool, error);
    if (error)
      log::warning("pull", "{} of a pull that was cut off is not removed: {}", spool.string(), error.message());
  }
  return left.size();
}

}  // namespace mcpbox::provision
