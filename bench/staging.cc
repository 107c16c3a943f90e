// How long a project of 20,000 files takes into a sandbox, next to `cp -r` and `rsync -a` of the same tree on the same
// disk in the same run: at first, again when nothing changed, and again when one file did. What counts is the ratio.
//
// usage: staging [FILES] [MIB]   needs root (the sandbox is made of namespaces, without an engine) and rsync
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "base/text.h"
#include "provision/stage/copies.h"
#include "provision/stage/generation.h"
#include "support/init_sandbox.h"
#include "support/run_task.h"
#include "support/temp_tree.h"
#include "usage.h"

namespace {

using namespace mcpbox;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr uid_t kServer = 1'900'000'001;
constexpr uid_t kCode = 2'100'000'001;
constexpr int kPasses = 3;

[[noreturn]] void give_up(const std::string& what) {
  fmt::print(stderr, "staging: {}\n", what);
  std::exit(1);
}

double milliseconds(const std::function<void()>& work) {
  const auto began = Clock::now();
  work();
  return std::chrono::duration<double, std::milli>(Clock::now() - began).count();
}

void must_run(std::vector<std::string> argv) {
  std::vector<char*> pointers;
  for (std::string& word : argv) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  pid_t pid = 0;
  int status = 0;
  if (::posix_spawnp(&pid, pointers[0], nullptr, nullptr, pointers.data(), environ) != 0 ||
      ::waitpid(pid, &status, 0) != pid || status != 0)
    give_up(argv[0] + " failed");
}

// Files of different sizes, the mean being bytes / files, 40 to a folder: most small, as in real projects.
void make_project(const test::TempTree& tree, unsigned files, std::uint64_t bytes) {
  std::string text(bytes / files * 2, ' ');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i * 7919 % 53 % 26);
  for (unsigned i = 0; i < files; ++i) {
    const std::string path =
        tree.path(fmt::format("project/part{:02}/folder{:03}/module_{:05}.py", i / 40 % 20, i / 40, i));
    if (i % 40 == 0) fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path, std::ios::binary)
        .write(text.data(), static_cast<std::streamsize>(text.size() * (i % 101) / 100));
  }
}

struct Row {
  std::string name;
  double first = 1e12, again = 1e12, one = 1e12;
};

void keep_best(double& best, double now) {
  best = std::min(best, now);
}

// What a start does about a server's copies: read their list, bring the tree in line with it, stage.
Task<Result<provision::StagedGeneration>> stage_as_a_start_does(boost::asio::thread_pool& pool,
                                                                box::Supervisor& supervisor, workspace::Root root,
                                                                provision::StagePolicy policy,
                                                                provision::StageTarget target,
                                                                provision::GenerationPlace place, bool fresh) {
  auto copies = co_await provision::CopyList::load(pool, supervisor, place, {root}, target, fresh);
  if (!copies) co_return fail(std::move(copies).error());
  auto settled = co_await copies->settle(supervisor, "bench", {root}, target, fresh);
  if (!settled) co_return fail(std::move(settled).error());
  auto staged = co_await provision::stage_generation(pool, supervisor, *copies, root, policy, target, place, fresh);
  // A start takes this with it.
  if (auto noted = co_await copies->flush(supervisor); !noted) co_return fail(std::move(noted).error());
  co_return staged;
}

}  // namespace

int main(int argc, char** argv) {
  if (const auto code = mcpbox::bench::usage(argc, argv, 2,
                                             "staging [FILES] [MIB]\n"
                                             "         a folder of FILES files (20000) and MIB (60). Needs root and "
                                             "rsync. Prints how long it takes into a sandbox:\n"
                                             "         whole, unchanged, one file changed; beside cp and rsync.\n"))
    return *code;
  ::signal(SIGPIPE, SIG_IGN);
  const unsigned files = argc > 1 ? static_cast<unsigned>(std::stoul(argv[1])) : 20'000;
  const std::uint64_t bytes = (argc > 2 ? std::stoull(argv[2]) : 60) << 20;
  if (files == 0) give_up("there must be files");
  const test::TempTree tree;
  make_project(tree, files, bytes);
  std::string changed = tree.path("project/part00/folder000/module_00001.py");

  boost::asio::io_context loop;
  boost::asio::thread_pool pool{2};
  test::InitSandbox sandbox;
  auto connected =
      test::run_task(loop, box::Supervisor::connect(loop.get_executor(), sandbox.socket(), std::chrono::seconds(20)));
  if (!connected) give_up(connected.error().message());
  box::Supervisor& supervisor = **connected;
  const std::string process = "/workspace/.mcp/bench";
  if (!test::run_task(loop, supervisor.prepare({{{process, kServer, kServer, {"home"}}}, {}})))
    give_up("cannot make the process's tree");
  workspace::Root root;
  root.host = tree.path("project");
  root.mount = process + "/workspace";
  provision::StagePolicy policy;
  policy.allowed_roots = {tree.root()};
  const provision::StageTarget target{kServer, kServer};
  const provision::GenerationPlace place{process, "bench", tree.path("staged"), kCode};
  const auto stage = [&](bool fresh, provision::StagedGeneration::How how) {
    auto staged = test::run_task(loop, stage_as_a_start_does(pool, supervisor, root, policy, target, place, fresh));
    if (!staged) give_up(staged.error().message());
    if (staged->how != how) give_up("the copy was made in another way than it should have been");
    return staged->sent;
  };

  Row cp{"cp -r"}, rsync{"rsync -a"}, ours{"mcpbox"};
  int edits = 0;
  const auto edit = [&] { std::ofstream(changed, std::ios::binary) << "# edit " << ++edits << "\n"; };
  std::uint64_t sent = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    for (const char* old : {"cp", "rsync"}) fs::remove_all(tree.path(old));
    const auto copy = [&] {
      fs::remove_all(tree.path("cp"));
      must_run({"cp", "-r", tree.path("project"), tree.path("cp")});
    };
    const std::vector<std::string> synchronise{"rsync", "-a", "--delete", tree.path("project") + "/",
                                               tree.path("rsync/")};
    keep_best(cp.first, milliseconds([&] { must_run({"cp", "-r", tree.path("project"), tree.path("cp")}); }));
    keep_best(rsync.first, milliseconds([&] { must_run(synchronise); }));
    keep_best(ours.first, milliseconds([&] { stage(true, provision::StagedGeneration::How::kWhole); }));
    keep_best(cp.again, milliseconds(copy));
    keep_best(rsync.again, milliseconds([&] { must_run(synchronise); }));
    keep_best(ours.again, milliseconds([&] { stage(false, provision::StagedGeneration::How::kAsItWas); }));
    edit();
    keep_best(cp.one, milliseconds(copy));
    keep_best(rsync.one, milliseconds([&] { must_run(synchronise); }));
    keep_best(ours.one, milliseconds([&] { sent = stage(false, provision::StagedGeneration::How::kPartly); }));
  }
  fmt::print("{} files, {}; best of {}; in brackets: times `cp -r`\n", files, human_bytes(bytes), kPasses);
  fmt::print("{:<12}{:>22}{:>22}{:>22}\n", "", "whole", "nothing changed", "one file changed");
  for (const Row& row : {cp, rsync, ours}) {
    const auto cell = [](double time, double base) { return fmt::format("{:.0f} ms ({:.2f})", time, time / base); };
    fmt::print("{:<12}{:>22}{:>22}{:>22}\n", row.name, cell(row.first, cp.first), cell(row.again, cp.again),
               cell(row.one, cp.one));
  }
  fmt::print("files sent by mcpbox for one change: {}\n", sent);
  connected->reset();
  pool.join();
  return 0;
}
