// A pull that is cancelled, and transfers from and to a sandbox that is frozen.
#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <filesystem>
#include <fstream>
#include <optional>

#include "base/digest.h"
#include "provision/stage/copies.h"
#include "provision/stage/generation.h"
#include "provision/stage/pull.h"
#include "provision/stage/stage_pipe.h"
#include "support/fake_supervisor.h"
#include "support/run_task.h"
#include "support/temp_tree.h"
#include "workspace/stage_manifest.h"

namespace mcpbox::provision {
namespace {

// More than a pipe holds.
Result<workspace::StageReport> fill_much(box::StageWriter& writer) {
  const auto read = [](char* buffer, std::size_t room) -> Result<std::size_t> {
    std::fill_n(buffer, room, 'f');
    return room;
  };
  if (auto sent = writer.file("f", 1'000'000'000, false, read); !sent) return fail(std::move(sent).error());
  return workspace::StageReport{};
}

struct PullCopiesTest : testing::Test {
  test::TempTree host;
  test::FakeTree tree;
  test::FakeSupervisor supervisor{tree};
  boost::asio::thread_pool pool{2};
  boost::asio::io_context loop;
  std::string copy = "/workspace/.mcp/one/workspace";
  StagePolicy policy;
  StageTarget user;
  GenerationPlace place;
  std::vector<workspace::Root> roots;

  PullCopiesTest() {
    ::signal(SIGPIPE, SIG_IGN);
    user.uid = user.gid = 1'900'000'007;
    place.tree = "/workspace/.mcp/one";
    place.process_id = "one";
    place.manifest_dir = host.dir("staged");
    place.code_uid = place.code_before = 2'033'000'007;
    place.server_before = user.uid;
    host.dir("p");
    policy.allowed_roots = {host.root()};
    workspace::Root root;
    root.host = host.path("p");
    root.mount = copy;
    root.access = workspace::Access::kReadWrite;
    roots = {root};
  }
  ~PullCopiesTest() override { pool.join(); }

  Task<Result<void>> stage() {
    auto copies = co_await CopyList::load(pool, supervisor, place, roots, user, false);
    if (!copies) co_return fail(std::move(copies).error());
    if (auto settled = co_await copies->settle(supervisor, "one", roots, user, false); !settled)
      co_return fail(std::move(settled).error());
    auto staged = co_await stage_generation(pool, supervisor, *copies, roots[0], policy, user, place, false);
    if (!staged) co_return fail(std::move(staged).error());
    box::ProcessSpec server;
    server.id = "one";
    server.uid = user.uid;
    server.prepare = copies->take_preparation();
    auto spawned = co_await supervisor.spawn(std::move(server));
    if (!spawned) co_return fail(std::move(spawned).error());
    co_return Result<void>{};
  }
  Task<Result<std::vector<PullOutcome>>> pull() {
    return pull_copies(pool, supervisor, roots, policy, user, place, {});
  }
  std::string on_host(const std::string& name) {
    std::ifstream file(host.path("p/" + name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // Of a pull; empty when all is removed.
  std::string spools() {
    std::string names;
    for (const auto& entry : std::filesystem::directory_iterator(place.manifest_dir)) {
      if (entry.path().filename().string().starts_with("pull-")) names += entry.path().filename().string() + " ";
    }
    return names;
  }
  // What a cancelled coroutine left to the pool and to the loop ends.
  bool clears_up() {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!spools().empty() && std::chrono::steady_clock::now() < until) {
      loop.restart();
      loop.run_for(std::chrono::milliseconds(1));
    }
    return spools().empty();
  }
};

TEST_F(PullCopiesTest, a_cancelled_pull_knows_what_it_has_written) {
  constexpr int kFiles = 400;
  const auto name = [](int i) { return "f" + std::to_string(1000 + i); };
  for (int i = 0; i < kFiles; ++i) host.file("p/" + name(i), "old");
  ASSERT_TRUE(test::run_task(loop, stage()));
  for (int i = 0; i < kFiles; ++i) tree.nodes[copy + "/" + name(i)].content = "new";
  // Cancelled as soon as the host's first file has changed: while the loop waits for the rest.
  const auto writes = [&] { return on_host(name(0)) == "new"; };
  const auto pulled = test::run_cancelled(loop, pull(), writes);
  EXPECT_FALSE(pulled);
  EXPECT_TRUE(clears_up());
  ASSERT_EQ(on_host(name(kFiles - 1)), "new");
  auto manifest = workspace::load_manifest(manifest_path(place, roots[0].host, true));
  ASSERT_TRUE(manifest);
  for (const auto& entry : manifest->entries) EXPECT_EQ(entry.detail, sha256_hex("new")) << entry.path;
}

TEST_F(PullCopiesTest, a_frozen_sandbox_holds_no_thread_of_the_pool) {
  host.file("p/f", std::string(4'000'000, 'f'));
  ASSERT_TRUE(test::run_task(loop, stage()));
  supervisor.frozen = true;
  supervisor.before = [](const std::string& name) -> Task<Result<void>> {
    if (name != "unpack" && name != "pack") co_return Result<void>{};
    co_await net::sleep_for(std::chrono::milliseconds(20));
    co_return fail(Code::kTimeout, "PID 1 does not answer");
  };
  auto unpacked = test::run_task(loop, stream_into(pool, supervisor, {}, fill_much), std::chrono::seconds(10));
  EXPECT_EQ(unpacked.error().message(), "PID 1 does not answer");
  auto pulled = test::run_task(loop, pull(), std::chrono::seconds(10));
  EXPECT_EQ(pulled.error().message(), "PID 1 does not answer");
}

TEST_F(PullCopiesTest, a_cancelled_transfer_with_a_frozen_sandbox_holds_no_thread_of_the_pool) {
  host.file("p/f", "f");
  ASSERT_TRUE(test::run_task(loop, stage()));
  supervisor.frozen = true;
  bool waits = false;
  supervisor.before = [&](const std::string& name) -> Task<Result<void>> {
    if (name != "unpack" && name != "pack") co_return Result<void>{};
    waits = true;
    co_await net::sleep_for(std::chrono::minutes(10));
    co_return Result<void>{};
  };
  EXPECT_FALSE(test::run_cancelled(loop, stream_into(pool, supervisor, {}, fill_much), [&] { return waits; }));
  waits = false;
  EXPECT_FALSE(test::run_cancelled(loop, pull(), [&] { return waits; }));
  EXPECT_TRUE(clears_up());
  pool.join();  // hangs when a thread does
}

TEST_F(PullCopiesTest, a_frozen_sandbox_that_never_answers_costs_a_thread_the_requests_time) {
  supervisor.frozen = true;
  supervisor.before = [](const std::string& name) -> Task<Result<void>> {
    if (name == "unpack") co_await net::sleep_for(std::chrono::seconds(2));
    co_return Result<void>{};
  };
  std::optional<Code> why;
  const Fill fill = [&](box::StageWriter& writer) {
    auto filled = fill_much(writer);
    why = filled ? Code::kInternal : filled.error().code();
    return filled;
  };
  box::Supervisor::UnpackRequest request;
  request.timeout = std::chrono::milliseconds(50);
  EXPECT_FALSE(test::run_task(loop, stream_into(pool, supervisor, request, fill), std::chrono::seconds(10)));
  EXPECT_EQ(why, Code::kTimeout);
}

TEST_F(PullCopiesTest, what_a_killed_daemon_had_received_goes_and_nothing_else) {
  host.file("staged/pull-994e2bea07efd43b/0", "half of a file");
  host.file("staged/one-12345678", "a manifest");
  host.file("staged/pull-12345678-own", "the manifest of a server called pull");
  host.file("p/f", "f");
  std::filesystem::create_directory_symlink(host.path("p"), host.path("staged/pull-994e2bea07efd43b/out"));
  EXPECT_EQ(forget_cut_off_pulls(place.manifest_dir), 1u);
  EXPECT_FALSE(std::filesystem::exists(host.path("staged/pull-994e2bea07efd43b")));
  EXPECT_TRUE(std::filesystem::exists(host.path("staged/one-12345678")));
  EXPECT_TRUE(std::filesystem::exists(host.path("staged/pull-12345678-own")));
  EXPECT_TRUE(std::filesystem::exists(host.path("p/f")));
  EXPECT_EQ(forget_cut_off_pulls(host.path("nowhere")), 0u);
}

}  // namespace
}  // namespace mcpbox::provision
