// Whose copy a server gets, whatever its configuration was before, and wherever mcpbox was killed.
#include "provision/stage/copies.h"

#include <gmock/gmock.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <filesystem>
#include <thread>

#include "base/digest.h"
#include "provision/stage/generation.h"
#include "support/fake_supervisor.h"
#include "support/run_task.h"
#include "support/temp_tree.h"
#include "workspace/stage_manifest.h"

namespace mcpbox::provision {
namespace {

using testing::HasSubstr;
using workspace::Access;
using workspace::Root;

constexpr uid_t kUser = 1'900'000'007;
constexpr uid_t kCode = 2'033'000'007;

struct CopiesTest : testing::Test {
  boost::asio::io_context loop;
  boost::asio::thread_pool pool{2};
  test::TempTree host;
  test::FakeTree tree;
  std::string top = "/workspace/.mcp/one";
  std::string workspace = top + "/workspace";
  StageTarget user;
  GenerationPlace place;

  CopiesTest() {
    ::signal(SIGPIPE, SIG_IGN);
    user.uid = user.gid = kUser;
    place.tree = top;
    place.process_id = "one";
    place.manifest_dir = host.dir("staged");
    place.code_uid = place.code_before = kCode;
    place.server_before = kUser;
    for (const char* folder : {"a", "b"}) host.file(std::string(folder) + "/name", folder);
  }
  ~CopiesTest() override { pool.join(); }

  Root root(const std::string& folder, const std::string& mount, Access access = Access::kReadWrite) const {
    Root root;
    root.host = host.path(folder);
    root.mount = mount;
    root.access = access;
    return root;
  }

  // What a start does with the copies.
  Task<Result<std::vector<std::string>>> stage(box::Supervisor& supervisor, std::vector<Root> roots, bool fresh) {
    auto copies = co_await CopyList::load(pool, supervisor, place, roots, user, fresh);
    if (!copies) co_return fail(std::move(copies).error());
    auto notes = co_await copies->settle(supervisor, "one", roots, user, fresh);
    if (!notes) co_return notes;
    StagePolicy policy;
    policy.allowed_roots = {host.root()};
    for (const Root& root : roots) {
      auto staged = co_await stage_generation(pool, supervisor, *copies, root, policy, user, place, fresh);
      if (!staged) co_return fail(std::move(staged).error());
    }
    box::ProcessSpec server;
    server.id = "one";
    server.uid = user.uid;
    server.prepare = copies->take_preparation();
    auto spawned = co_await supervisor.spawn(std::move(server));
    if (!spawned) co_return fail(std::move(spawned).error());
    co_return notes;
  }
  Result<std::vector<std::string>> start(std::vector<Root> roots, bool fresh = false) {
    test::FakeSupervisor supervisor(tree);
    return test::run_task(loop, stage(supervisor, std::move(roots), fresh));
  }
  void start_well(std::vector<Root> roots, bool fresh = false) {
    auto started = start(std::move(roots), fresh);
    ASSERT_TRUE(started) << started.error().message();
  }
  // Where the copy of the folder is that the server could change; empty: nowhere.
  std::string own_of(const std::string& folder) {
    test::FakeSupervisor supervisor(tree);
    auto look = [&]() -> Task<std::string> {
      auto copies = co_await CopyList::load(pool, supervisor, place, {}, user, false);
      const Copy* copy = copies ? copies->own_of(host.path(folder)) : nullptr;
      co_return copy != nullptr ? copy->path : "";
    };
    return test::run_task(loop, look());
  }
};

TEST_F(CopiesTest, each_folder_has_its_own_and_the_one_that_is_not_used_is_kept) {
  start_well({root("a", workspace)});
  EXPECT_EQ(tree.text(workspace + "/name"), "a");
  tree.file(workspace + "/mine", "of a", kUser, kUser);
  const auto notes = start({root("b", workspace)});
  ASSERT_TRUE(notes);
  EXPECT_THAT(testing::PrintToString(*notes), HasSubstr("mcpbox pull one --of " + host.path("a")));
  EXPECT_EQ(tree.text(workspace + "/name"), "b");
  EXPECT_FALSE(tree.has(workspace + "/mine"));
  EXPECT_EQ(tree.text(own_of("a") + "/mine"), "of a");
  start_well({root("a", workspace)});
  EXPECT_EQ(tree.text(workspace + "/mine"), "of a");
  EXPECT_EQ(tree.text(own_of("b") + "/name"), "b");
}

TEST_F(CopiesTest, a_server_that_begins_anew_has_nothing_of_what_it_wrote) {
  start_well({root("a", workspace)});
  for (const char* file : {"/home/mine", "/tmp/mine", "/workspace/mine"}) tree.file(top + file, "x", kUser, kUser);
  start_well({root("a", workspace)});
  for (const char* file : {"/home/mine", "/tmp/mine", "/workspace/mine"}) EXPECT_TRUE(tree.has(top + file)) << file;
  start_well({root("a", workspace)}, true);
  for (const char* file : {"/home/mine", "/tmp/mine", "/workspace/mine"}) EXPECT_FALSE(tree.has(top + file)) << file;
  EXPECT_EQ(tree.text(workspace + "/name"), "a");
  // Without a folder of the host it has one of its own.
  start_well({});
  tree.file(workspace + "/mine", "x", kUser, kUser);
  start_well({}, true);
  EXPECT_TRUE(tree.has(workspace));
  EXPECT_FALSE(tree.has(workspace + "/mine"));
}

TEST_F(CopiesTest, what_was_taken_off_the_list_and_not_removed_goes_with_the_next_start) {
  const std::string kept = "/.kept-0123456789abcdef";
  start_well({root("a", workspace)});
  start_well({root("b", workspace)});  // a's is kept
  tree.directory(top + kept, kUser, kUser);
  tree.file(top + kept + "/old", "of nobody", kUser, kUser);
  start_well({root("b", workspace)});
  EXPECT_FALSE(tree.has(top + kept));
  EXPECT_EQ(tree.text(own_of("a") + "/name"), "a");
  EXPECT_EQ(tree.text(workspace + "/name"), "b");
  // Beside the copies of several folders.
  start_well({root("a", workspace + "/a"), root("b", workspace + "/b")});
  tree.file(workspace + "/a/mine", "of a", kUser, kUser);
  start_well({root("b", workspace + "/b")});
  tree.directory(workspace + kept, kUser, kUser);
  start_well({root("b", workspace + "/b")}, true);
  EXPECT_FALSE(tree.has(workspace + kept));
  EXPECT_EQ(tree.text(own_of("a") + "/mine"), "of a");
}

TEST_F(CopiesTest, a_dropped_copy_that_was_not_removed_is_not_the_work_folder_of_the_next_start) {
  start_well({root("a", workspace, Access::kReadOnly)});
  test::FakeSupervisor killed(tree);
  killed.before = [](const std::string& name) -> Task<Result<void>> {
    if (name == "remove_tree") co_return fail(Code::kUnavailable, "killed");
    co_return Result<void>{};
  };
  EXPECT_FALSE(test::run_task(loop, stage(killed, {}, false)));
  start_well({});
  EXPECT_EQ(tree.nodes[workspace].uid, kUser);
  EXPECT_FALSE(tree.has(workspace + "/name"));
}

TEST_F(CopiesTest, what_is_to_be_read_never_comes_from_another_folder_or_owner) {
  start_well({root("a", workspace, Access::kReadOnly)});
  EXPECT_EQ(tree.nodes[workspace + "/name"].uid, kCode);
  start_well({root("b", workspace, Access::kReadOnly)});
  EXPECT_EQ(tree.text(workspace + "/name"), "b");
  place.code_uid = kCode + 1;
  start_well({root("b", workspace, Access::kReadOnly)});
  EXPECT_EQ(tree.nodes[workspace + "/name"].uid, kCode + 1);
}

// Each request is a round trip and a process in the sandbox.
TEST_F(CopiesTest, a_start_asks_for_what_it_needs_at_once) {
  using Requests = std::vector<std::string>;
  const auto asked = [&](std::vector<Root> roots) {
    test::FakeSupervisor supervisor(tree);
    EXPECT_TRUE(test::run_task(loop, stage(supervisor, std::move(roots), false)));
    return supervisor.requests;
  };
  EXPECT_EQ(asked({}), (Requests{"look", "spawn"}));
  EXPECT_TRUE(tree.has(top + "/home"));
  EXPECT_TRUE(tree.has(workspace));
  EXPECT_EQ(asked({}), (Requests{"look", "spawn"}));
  tree = {};
  const std::vector<Root> roots{root("a", workspace, Access::kReadOnly)};
  // What changed a moment before it was read is read again.
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(asked(roots), (Requests{"look", "prepare", "unpack", "publish", "spawn"}));
  EXPECT_EQ(asked(roots), (Requests{"look", "spawn"}));
}

// What earlier versions left: a note beside each copy, a manifest named after the mount.
struct OldTree : CopiesTest {
  std::string hash(const std::string& text) const { return sha256_hex(text).substr(0, 16); }
  void old_copy(const std::string& folder, const std::string& mount, const std::string& kind, uid_t owner,
                bool manifest = true) {
    for (const std::string& above : {std::string("/workspace/.mcp"), top}) {
      if (!tree.has(above)) tree.directory(above, 0, 0);
    }
    tree.directory(mount, owner, kUser);
    tree.file(mount + "/name", folder, owner, kUser);
    tree.file(mount + "/mine", "of " + folder, owner, kUser);
    tree.file(top + "/.staged-" + hash(mount), kind + " 0123456789abcdef", 0, 0);
    tree.directory(top + "/home", kUser, kUser);
    tree.file(top + "/home/cache", "warm", kUser, kUser);
    tree.directory(top + "/tmp", kUser, kUser);
    if (!manifest) return;
    workspace::StageManifest noted;
    noted.generation = "0123456789abcdef";
    noted.host = host.path(folder);
    noted.mount = mount;
    noted.writable = kind == "rw";
    ASSERT_TRUE(workspace::save_manifest(place.manifest_dir + "/one-" + hash(mount), noted));
  }
};

TEST_F(OldTree, its_copy_goes_on_being_used) {
  old_copy("a", workspace, "rw", kUser);
  start_well({root("a", workspace)});
  EXPECT_EQ(tree.text(workspace + "/mine"), "of a");
  EXPECT_FALSE(tree.has(top + "/.staged-" + hash(workspace)));
  EXPECT_TRUE(std::filesystem::exists(manifest_path(place, host.path("a"), true)));
  // And at every start that finds the list.
  start_well({root("a", workspace)});
  start_well({root("b", workspace)});
  start_well({root("a", workspace)});
  EXPECT_EQ(tree.text(workspace + "/mine"), "of a");
  EXPECT_EQ(tree.text(top + "/.copies").find("\t0\t"), std::string::npos) << "an id that is not known";
}

TEST_F(OldTree, a_copy_without_a_manifest_is_taken_for_the_folders_that_is_mounted_there) {
  old_copy("a", workspace, "rw", kUser, false);
  start_well({root("a", workspace)});
  EXPECT_EQ(tree.text(workspace + "/mine"), "of a");
}

TEST_F(OldTree, its_copy_of_another_folder_is_kept) {
  old_copy("a", workspace, "rw", kUser);
  start_well({root("b", workspace)});
  EXPECT_EQ(tree.text(workspace + "/name"), "b");
  EXPECT_EQ(tree.text(own_of("a") + "/mine"), "of a");
}

TEST_F(OldTree, two_copies_become_one_at_the_work_space_itself) {
  tree.directory("/workspace/.mcp", 0, 0);
  tree.directory(top, 0, 0);
  tree.directory(workspace, 0, 0);
  old_copy("a", workspace + "/a", "rw", kUser);
  old_copy("b", workspace + "/b", "rw", kUser);
  start_well({root("a", workspace)});
  EXPECT_EQ(tree.text(workspace + "/mine"), "of a");
  EXPECT_EQ(tree.text(own_of("b") + "/mine"), "of b");
}

TEST_F(OldTree, a_server_that_gets_another_user_id_keeps_what_it_had) {
  old_copy("a", workspace, "rw", kUser);
  user.uid = user.gid = kUser + 1;
  start_well({root("a", workspace)});
  EXPECT_EQ(tree.text(workspace + "/mine"), "of a");
  EXPECT_EQ(tree.text(top + "/home/cache"), "warm");
  for (const auto& [path, node] : tree.nodes) EXPECT_NE(node.uid, kUser) << path;
  EXPECT_EQ(tree.nodes[workspace + "/mine"].uid, kUser + 1);
}

TEST_F(OldTree, what_is_to_be_read_is_staged_by_its_new_owner) {
  old_copy("a", workspace, "ro", kCode);
  place.code_uid = kCode + 1;
  start_well({root("a", workspace, Access::kReadOnly)});
  EXPECT_EQ(tree.nodes[workspace + "/name"].uid, kCode + 1);
  EXPECT_FALSE(tree.has(workspace + "/mine"));
}

TEST_F(CopiesTest, a_damaged_list_starts_nothing_until_the_user_drops_the_copies) {
  start_well({root("a", workspace)});
  tree.file(workspace + "/mine", "of a", kUser, kUser);
  for (const char* wrong : {"", "x", "mcpbox copies 1\n", "mcpbox copies 1\ntree\t1\t1\tone\nown\t1\n"}) {
    tree.file(top + "/.copies", wrong, 0, 0);
    const auto refused = start({root("a", workspace)});
    ASSERT_FALSE(refused) << wrong;
    EXPECT_THAT(refused.error().message(), HasSubstr("--fresh"));
  }
  EXPECT_EQ(tree.text(workspace + "/mine"), "of a");
  start_well({root("a", workspace)}, true);
  EXPECT_FALSE(tree.has(workspace + "/mine"));
}

// Every step of every change fails once, then is cancelled once. What the server had is found again afterwards, and
// nothing of one folder is ever where the other belongs.
TEST_F(CopiesTest, a_change_that_breaks_off_at_any_step_loses_nothing) {
  struct Change {
    std::vector<Root> from, to;
    uid_t uid = kUser;
  };
  const std::vector<Change> changes{
      {{root("a", workspace)}, {root("b", workspace)}},
      {{root("a", workspace + "/a"), root("b", workspace + "/b")},
       {root("b", workspace + "/a"), root("a", workspace + "/b")}},
      {{root("a", workspace)}, {root("b", workspace + "/b"), root("a", workspace + "/a")}},
      {{root("a", workspace + "/a"), root("b", workspace + "/b")}, {root("b", workspace)}},
      {{root("a", workspace)}, {root("a", workspace, Access::kReadOnly)}},
      {{root("a", workspace)}, {}},
      {{root("a", workspace)}, {root("a", workspace)}, kUser + 1},
  };
  for (const Change& change : changes) {
    for (const bool cancelled : {false, true}) {
      for (std::size_t step = 0;; ++step) {
        SCOPED_TRACE(testing::Message() << &change - changes.data() << (cancelled ? " cancelled " : " failed ")
                                        << step);
        tree = {};
        user.uid = user.gid = kUser;
        std::filesystem::remove_all(place.manifest_dir);
        start_well(change.from);
        for (const Root& root : change.from) tree.file(root.mount + "/mine", "of " + root.host, kUser, kUser);

        user.uid = user.gid = change.uid;
        test::FakeSupervisor supervisor(tree);
        std::size_t asked = 0;
        bool reached = false;
        supervisor.before = [&](const std::string&) -> Task<Result<void>> {
          if (asked++ != step) co_return Result<void>{};
          reached = true;
          if (cancelled) co_await net::sleep_for(std::chrono::hours(1));
          co_return fail(Code::kUnavailable, "broken here");
        };
        if (cancelled) {
          (void)test::run_cancelled(loop, stage(supervisor, change.to, false), [&] { return reached; });
        } else {
          (void)test::run_task(loop, stage(supervisor, change.to, false));
        }
        for (const Root& root : change.from) {
          bool there = false;
          for (const auto& [path, node] : tree.nodes) there |= node.content == "of " + root.host;
          EXPECT_TRUE(there) << root.host;
        }
        start_well(change.to);
        for (const Root& root : change.to) {
          const bool was = change.from.front().host == root.host || change.from.back().host == root.host;
          if (root.access == Access::kReadWrite && was)
            EXPECT_EQ(tree.text(root.mount + "/mine"), "of " + root.host);
          else
            EXPECT_FALSE(tree.has(root.mount + "/mine"));
          EXPECT_EQ(host.path(tree.text(root.mount + "/name")), root.host);
        }
        start_well(change.from);
        for (const Root& root : change.from) EXPECT_EQ(tree.text(root.mount + "/mine"), "of " + root.host);
        if (HasFailure()) return;
        if (!reached) break;
      }
    }
  }
}

// A PID 1 that renames, but whose answer comes too late.
struct Late final : test::FakeSupervisor {
  using FakeSupervisor::FakeSupervisor;
  bool renames = true;  // false: not yet
  std::vector<std::pair<std::string, std::string>> to_come;
  Task<Result<void>> publish(std::string from, std::string to, uid_t owner) override {
    if (!renames) {
      to_come.emplace_back(from, to);
    } else if (auto done = co_await FakeSupervisor::publish(from, to, owner); !done) {
      co_return done;
    }
    co_return fail(Code::kTimeout, "no answer");
  }
};

struct LateMove {
  std::vector<std::string> from, to;  // folders; several lie beside each other
};
const std::vector<LateMove> kLateMoves{{{"a"}, {"b"}}, {{"a", "b"}, {"b"}}, {{"a", "b"}, {"a"}}, {{"a"}, {}}};

struct LateCopies : CopiesTest {
  std::vector<Root> roots(const std::vector<std::string>& folders) const {
    std::vector<Root> out;
    for (const std::string& folder : folders)
      out.push_back(root(folder, folders.size() > 1 ? workspace + "/" + folder : workspace));
    return out;
  }
  void begin(const LateMove& move) {
    tree = {};
    std::filesystem::remove_all(place.manifest_dir);
    start_well(roots(move.from));
    for (const Root& root : roots(move.from)) tree.file(root.mount + "/mine", "of " + root.host, kUser, kUser);
  }
  void expect_all_there(const LateMove& move) {
    for (const Root& root : roots(move.from)) {
      bool there = false;
      for (const auto& [path, node] : tree.nodes) there |= node.content == "of " + root.host;
      EXPECT_TRUE(there) << root.host;
    }
  }
};

TEST_F(LateCopies, a_rename_that_was_made_after_all_loses_no_copy) {
  for (const LateMove& move : kLateMoves) {
    SCOPED_TRACE(&move - kLateMoves.data());
    begin(move);
    Late late(tree);
    EXPECT_FALSE(test::run_task(loop, stage(late, roots(move.to), false)));
    start_well(roots(move.to));
    expect_all_there(move);
    start_well(roots(move.to));
    start_well(roots(move.from));
    for (const Root& root : roots(move.from)) EXPECT_EQ(tree.text(root.mount + "/mine"), "of " + root.host);
    if (HasFailure()) return;
  }
}

// The next start is at its n-th request when PID 1 comes to what was asked for before.
TEST_F(LateCopies, a_rename_that_is_made_during_the_next_start_loses_no_copy) {
  for (const LateMove& move : kLateMoves) {
    for (std::size_t step = 0;; ++step) {
      SCOPED_TRACE(testing::Message() << &move - kLateMoves.data() << " at " << step);
      begin(move);
      Late late(tree);
      late.renames = false;
      EXPECT_FALSE(test::run_task(loop, stage(late, roots(move.to), false)));
      ASSERT_EQ(late.to_come.size(), 1u);
      test::FakeSupervisor next(tree);
      std::size_t asked = 0;
      bool published = false;
      next.before = [&](const std::string& name) -> Task<Result<void>> {
        // What waited is done before what was asked for later.
        if (!published && asked++ == step && tree.has(late.to_come[0].first))
          tree.rename(late.to_come[0].first, late.to_come[0].second);
        published |= name == "publish";
        co_return Result<void>{};
      };
      auto started = test::run_task(loop, stage(next, roots(move.to), false));
      EXPECT_TRUE(started) << started.error().message();
      expect_all_there(move);
      start_well(roots(move.from));
      for (const Root& root : roots(move.from)) EXPECT_EQ(tree.text(root.mount + "/mine"), "of " + root.host);
      if (HasFailure()) return;
      if (asked <= step) break;
    }
  }
}

// The list must not speak any more of the place that a copy came from, when another is put there.
TEST_F(LateCopies, a_start_that_breaks_off_after_such_a_rename_loses_no_copy) {
  for (std::size_t step = 0;; ++step) {
    SCOPED_TRACE(step);
    begin(kLateMoves[0]);
    Late late(tree);
    EXPECT_FALSE(test::run_task(loop, stage(late, roots({"b"}), false)));
    test::FakeSupervisor killed(tree);
    std::size_t asked = 0;
    killed.before = [&](const std::string&) -> Task<Result<void>> {
      if (asked++ >= step) co_return fail(Code::kUnavailable, "killed");
      co_return Result<void>{};
    };
    const bool started = test::run_task(loop, stage(killed, roots({"b"}), false)).has_value();
    start_well(roots({"b"}));
    EXPECT_EQ(tree.text(own_of("a") + "/mine"), "of " + host.path("a"));
    EXPECT_EQ(tree.text(workspace + "/name"), "b");
    if (HasFailure() || started) return;
  }
}

}  // namespace
}  // namespace mcpbox::provision
