#include "workspace/stage.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include <map>
#include <thread>

#include "support/temp_tree.h"
#include "sys/directory.h"
#include "sys/small_file.h"
#include "workspace/denied.h"

namespace mcpbox::workspace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

// Remembers the tree as text: "a/", "a/f=content", "a/f*=content" when executable, "l->target".
struct MemorySink final : WalkSink {
  Result<void> directory(std::string_view path) override {
    entries.push_back(std::string(path) + "/");
    return {};
  }
  Result<void> file(std::string_view path, std::uint64_t size, bool executable, int fd) override {
    std::string content;
    if (keep_content)
      content = *sys::read_all(fd, 1 << 20);
    else
      content = std::to_string(size);
    if (after_file) after_file(path);
    entries.push_back(std::string(path) + (executable ? "*=" : "=") + content);
    return {};
  }
  Result<void> symlink(std::string_view path, std::string_view target) override {
    entries.push_back(std::string(path) + "->" + std::string(target));
    return {};
  }
  bool replaces_files() const override { return replaces; }

  bool keep_content = true;
  bool replaces = false;
  std::function<void(std::string_view)> after_file;
  std::vector<std::string> entries;
};

class Stage : public ::testing::Test {
 protected:
  Result<StageReport> stage(const std::string& relative = "p", StageLimits limits = {}) {
    sink_.entries.clear();
    return walk(tree_.path(relative), {tree_.root()}, limits, sink_);
  }
  std::vector<std::string> reasons(const StageReport& report) {
    std::vector<std::string> result;
    for (const auto& skipped : report.skipped) result.push_back(skipped.path + ": " + skipped.reason);
    return result;
  }
  test::TempTree tree_;
  MemorySink sink_;
};

TEST_F(Stage, hands_over_a_sorted_tree_with_modes_reduced_to_executable_or_not) {
  tree_.file("p/b.py", "B");
  tree_.file("p/a/run", "R", 04755);
  tree_.file("p/a/\xC3\xA9 x", "U", 0600);
  tree_.link("p/a/z", "../b.py");
  auto report = stage();
  ASSERT_TRUE(report);
  EXPECT_THAT(sink_.entries, ElementsAre("a/", "a/run*=R", "a/z->../b.py", "a/\xC3\xA9 x=U", "b.py=B"));
  EXPECT_EQ(report->entries, 5u);
  EXPECT_EQ(report->bytes, 3u);
  EXPECT_EQ(report->skipped_total, 0u);
}

TEST_F(Stage, skips_and_reports_what_is_neither_file_nor_directory_nor_inner_link) {
  tree_.file("secret/canary", "CANARY");
  tree_.dir("p/sub");
  ASSERT_EQ(::mkfifo(tree_.path("p/fifo").c_str(), 0600), 0);
  ASSERT_EQ(::mknod(tree_.path("p/zero").c_str(), S_IFCHR | 0666, makedev(1, 5)), 0);
  int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{.sun_family = AF_UNIX};
  tree_.path("p/sock").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(socket);
  tree_.link("p/absolute", tree_.path("secret/canary"));
  tree_.link("p/up", "../secret/canary");
  tree_.link("p/sub/hidden_up", "x/../../../secret");
  tree_.link("p/loop", "loop");
  tree_.link("p/dangling", "sub/nothing");
  auto report = stage();
  ASSERT_TRUE(report);
  EXPECT_THAT(sink_.entries, ElementsAre("dangling->sub/nothing", "loop->loop", "sub/"));
  EXPECT_THAT(reasons(*report),
              UnorderedElementsAre("fifo: FIFO", "zero: character device", "sock: socket",
                                   "absolute: link that leaves the folder", "up: link that leaves the folder",
                                   "sub/hidden_up: link that leaves the folder"));
}

TEST_F(Stage, skips_another_mount_in_the_folder) {
  tree_.dir("p/mnt");
  tree_.file("p/a", "A");
  if (::mount("tmpfs", tree_.path("p/mnt").c_str(), "tmpfs", 0, "size=64k") != 0) {
    ASSERT_EQ(errno, EPERM) << "a test that is not root cannot mount; any other trouble is one";
    return;
  }
  tree_.file("p/mnt/inside", "I");
  auto report = stage();
  ::umount2(tree_.path("p/mnt").c_str(), MNT_DETACH);
  ASSERT_TRUE(report);
  EXPECT_THAT(sink_.entries, ElementsAre("a=A"));
  EXPECT_THAT(reasons(*report), ElementsAre("mnt: another file system is mounted here"));
}

TEST_F(Stage, leaves_caches_and_environments_behind_but_not_packages_of_the_same_name) {
  tree_.file("p/.git/config");
  tree_.file("p/pkg/__pycache__/m.pyc");
  tree_.file("p/node_modules/x/index.js");
  tree_.file("p/venv/pyvenv.cfg");
  tree_.file("p/venv/bin/python");
  tree_.file("p/.venv/bin/python");
  tree_.file("p/pkg/env/__init__.py");
  tree_.file("p/pkg/venv/__init__.py");
  tree_.file("p/pkg/build/x.py");
  tree_.file("p/.env", "KEY=1");
  tree_.file("p/dist/index.js");
  auto report = stage();
  ASSERT_TRUE(report);
  EXPECT_THAT(sink_.entries,
              ElementsAre(".env=KEY=1", "dist/", "dist/index.js=", "pkg/", "pkg/build/", "pkg/build/x.py=", "pkg/env/",
                          "pkg/env/__init__.py=", "pkg/venv/", "pkg/venv/__init__.py="));
  EXPECT_EQ(report->skipped_total, 5u);
}

TEST_F(Stage, obeys_ignore_files_at_every_level_and_lets_them_bring_defaults_back) {
  tree_.file("p/.mcpboxignore", "*.log\n!/vendor/node_modules/\n/only_top\n");
  tree_.file("p/sub/.mcpboxignore", "!keep.log\n");
  tree_.file("p/a.log");
  tree_.file("p/only_top");
  tree_.file("p/sub/only_top");
  tree_.file("p/sub/keep.log");
  tree_.file("p/sub/b.log");
  tree_.file("p/vendor/node_modules/m.js");
  auto report = stage();
  ASSERT_TRUE(report);
  EXPECT_THAT(sink_.entries, ElementsAre(::testing::StartsWith(".mcpboxignore="), "sub/",
                                         ::testing::StartsWith("sub/.mcpboxignore="), "sub/keep.log=", "sub/only_top=",
                                         "vendor/", "vendor/node_modules/", "vendor/node_modules/m.js="));
  EXPECT_THAT(reasons(*report), ElementsAre("a.log: ignored by .mcpboxignore", "only_top: ignored by .mcpboxignore",
                                            "sub/b.log: ignored by .mcpboxignore"));
}

TEST_F(Stage, never_hands_over_credentials) {
  tree_.file("p/.ssh/id_rsa", "KEY");
  tree_.file("p/.aws/credentials", "KEY");
  tree_.file("p/.config/gcloud/token", "KEY");
  tree_.file("p/.config/app.toml", "ok");
  tree_.file("p/.netrc", "KEY");
  auto report = stage();
  ASSERT_TRUE(report);
  EXPECT_THAT(sink_.entries, ElementsAre(".config/", ".config/app.toml=ok"));
  EXPECT_EQ(report->skipped_total, 4u);
}

TEST_F(Stage, leaves_keys_behind_by_name_and_says_which) {
  tree_.file("p/.env", "e");
  tree_.file("p/a.py", "a");
  tree_.file("p/conf/server.pem", "k");
  tree_.file("p/conf/ca.pem", "c");
  tree_.file("p/.npmrc", "t");
  tree_.dir("p/secret.key");  // a folder is no key
  tree_.file("p/.mcpboxignore", "!ca.pem\n");
  auto report = stage();
  ASSERT_TRUE(report);
  EXPECT_THAT(sink_.entries,
              ElementsAre(".env=e", ".mcpboxignore=!ca.pem\n", "a.py=a", "conf/", "conf/ca.pem=c", "secret.key/"));
  EXPECT_THAT(report->secrets.first, ElementsAre(".npmrc", "conf/server.pem"));
  EXPECT_EQ(report->secrets.total, 2u);
  EXPECT_THAT(report->environments.first, ElementsAre(".env"));
  tree_.file("p/.mcpboxignore", ".env\n");
  report = stage();
  EXPECT_EQ(report->environments.total, 0u);
}

TEST_F(Stage, never_hands_over_what_the_configuration_reads_a_secret_from) {
  tree_.file("p/a.txt", "secret");
  tree_.file("p/b.txt", "b");
  tree_.file("p/.mcpboxignore", "!a.txt\n");
  ASSERT_EQ(::link(tree_.path("p/a.txt").c_str(), tree_.path("p/another.txt").c_str()), 0);
  StageRules rules;
  rules.secret_files = {tree_.link("alias", "p/a.txt"), tree_.path("nothing")};
  auto report = walk(tree_.path("p"), {tree_.root()}, {}, sink_, nullptr, rules);
  ASSERT_TRUE(report);
  EXPECT_THAT(sink_.entries, ElementsAre(".mcpboxignore=!a.txt\n", "b.txt=b"));
  EXPECT_EQ(report->skipped_total, 2u);
}

TEST_F(Stage, holds_the_quota_of_entries_exactly) {
  for (int i = 0; i < 10; ++i) tree_.file("p/f" + std::to_string(i));
  EXPECT_TRUE(stage("p", {.entries = 11}));
  EXPECT_TRUE(stage("p", {.entries = 10}));
  auto over = stage("p", {.entries = 9});
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().code(), Code::kResourceExhausted);
}

TEST_F(Stage, holds_the_quota_of_bytes_exactly) {
  tree_.file("p/a", std::string(8192, 'x'));
  tree_.file("p/b", std::string(8192, 'x'));
  EXPECT_TRUE(stage("p", {.bytes = 16385}));
  EXPECT_TRUE(stage("p", {.bytes = 16384}));
  auto over = stage("p", {.bytes = 16383});
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().code(), Code::kResourceExhausted);
}

TEST_F(Stage, holds_the_quota_of_one_file_exactly) {
  tree_.file("p/a", std::string(1000, 'x'));
  EXPECT_TRUE(stage("p", {.file_bytes = 1001}));
  EXPECT_TRUE(stage("p", {.file_bytes = 1000}));
  EXPECT_FALSE(stage("p", {.file_bytes = 999}));
}

TEST_F(Stage, holds_the_quota_of_depth_exactly) {
  tree_.file("p/1/2/3/f");
  EXPECT_TRUE(stage("p", {.depth = 4}));
  EXPECT_TRUE(stage("p", {.depth = 3}));
  auto over = stage("p", {.depth = 2});
  ASSERT_FALSE(over);
  EXPECT_THAT(over.error().message(), HasSubstr("nested more than 2"));
}

TEST_F(Stage, survives_a_tree_of_three_thousand_levels) {
  tree_.dir("p");
  int at = ::open(tree_.path("p").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < 3000; ++i) {
    ASSERT_EQ(::mkdirat(at, "d", 0755), 0);
    int next = ::openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ::close(at);
    at = next;
  }
  ::close(at);
  auto over = stage("p", {.depth = 100'000});
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().code(), Code::kResourceExhausted);
  ASSERT_EQ(std::system(("rm -rf '" + tree_.path("p") + "'").c_str()), 0);
}

TEST_F(Stage, counts_a_sparse_file_with_its_apparent_size) {
  tree_.file("p/sparse");
  ASSERT_EQ(::truncate(tree_.path("p/sparse").c_str(), 50ll << 30), 0);
  EXPECT_FALSE(stage());
  sink_.keep_content = false;
  EXPECT_TRUE(stage("p", {.bytes = 64ull << 30, .file_bytes = 64ull << 30}));
}

TEST_F(Stage, reads_a_changed_file_once_more_when_the_sink_can_take_it_back) {
  tree_.file("p/f", "one");
  int calls = 0;
  sink_.replaces = true;
  sink_.after_file = [&](std::string_view) {
    if (++calls == 1) tree_.file("p/f", "longer");
  };
  ASSERT_TRUE(stage());
  EXPECT_THAT(sink_.entries, ElementsAre("f=one", "f=longer"));
}

TEST_F(Stage, gives_up_on_a_file_that_keeps_changing) {
  tree_.file("p/f", "1");
  int calls = 0;
  sink_.after_file = [&](std::string_view) {
    tree_.file("p/f", std::string(static_cast<std::size_t>(++calls) + 10, 'x'));
  };
  for (bool replaces : {false, true}) {
    calls = 0;
    sink_.replaces = replaces;
    auto result = stage();
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), Code::kAborted);
    EXPECT_EQ(calls, replaces ? 2 : 1);
  }
}

TEST_F(Stage, refuses_folders_outside_the_allowed_ones_and_links_to_them) {
  tree_.dir("allowed/p");
  tree_.dir("allowed-not/p");
  tree_.link("allowed/link", "../allowed-not");
  MemorySink sink;
  EXPECT_TRUE(walk(tree_.path("allowed/p"), {tree_.path("allowed")}, {}, sink));
  for (const char* path : {"allowed-not/p", "allowed/link", "allowed/link/p", "allowed/../allowed-not"}) {
    auto result = walk(tree_.path(path), {tree_.path("allowed")}, {}, sink);
    ASSERT_FALSE(result) << path;
    EXPECT_EQ(result.error().code(), Code::kPermissionDenied) << path << ": " << result.error().message();
  }
  EXPECT_TRUE(walk(tree_.path("allowed-not/p"), {tree_.path("allowed/link")}, {}, sink));
  EXPECT_FALSE(walk(tree_.path("allowed/p"), {}, {}, sink));
  EXPECT_FALSE(walk("relative", {"/"}, {}, sink));
}

TEST_F(Stage, refuses_denied_places_their_parents_and_their_aliases) {
  MemorySink sink;
  tree_.dir("state/inner");
  tree_.dir("home/u/project");
  StageRules rules{.denied = {tree_.path("state")}, .home = tree_.path("home/u")};
  auto refused = [&](const std::string& path) {
    auto result = walk(path, {"/"}, {.entries = 5}, sink, nullptr, rules);
    return !result && result.error().code() == Code::kPermissionDenied;
  };
  for (const char* path :
       {"/", "/etc", "/etc/ssl", "/usr", "/usr/bin", "/proc", "/sys", "/dev", "/root", "/var", "/home"})
    EXPECT_TRUE(refused(path)) << path;
  EXPECT_TRUE(refused(tree_.path("state")));
  EXPECT_TRUE(refused(tree_.path("state/inner")));
  EXPECT_TRUE(refused(tree_.root()));
  EXPECT_TRUE(refused(tree_.path("home/u")));
  EXPECT_TRUE(refused(tree_.path("home")));
  EXPECT_FALSE(refused(tree_.path("home/u/project")));
  tree_.dir("home/u/.ssh/keys");
  EXPECT_TRUE(refused(tree_.path("home/u/.ssh")));
  EXPECT_TRUE(refused(tree_.path("home/u/.ssh/keys")));
}

TEST_F(Stage, refuses_a_folder_that_will_have_a_denied_place_in_it) {
  tree_.dir("p/run");
  tree_.dir("p/src");
  const DeniedPlaces denied({tree_.path("p/run/control.sock"), tree_.path("nowhere/x/control.sock")}, "");
  for (const char* folder : {"p/run", "p"})
    EXPECT_THAT(denied.refuse_root(tree_.path(folder)), HasSubstr("contains " + tree_.path("p/run/control.sock")));
  EXPECT_EQ(denied.refuse_root(tree_.path("p/src")), "");
}

// stat(2) says the same of a bind mount, which takes privileges to make.
TEST_F(Stage, knows_credentials_of_a_home_under_another_name) {
  MemorySink sink;
  tree_.file("home/u/.ssh/id_ed25519", "KEY");
  tree_.file("home/u/.ssh/more/key", "KEY");
  tree_.file("home/u/.config/gcloud/token", "KEY");
  tree_.file("home/u/.netrc", "KEY");
  tree_.file("p/app.py", "ok");
  tree_.link("keys", tree_.path("home/u/.ssh"));
  tree_.link("cloud", tree_.path("home/u/.config/gcloud"));
  ASSERT_EQ(::link(tree_.path("home/u/.netrc").c_str(), tree_.path("p/notes.txt").c_str()), 0);
  const std::string home = tree_.path("home/u");
  const DeniedPlaces denied({}, home);
  for (const char* other : {"keys", "keys/more", "cloud"})
    EXPECT_THAT(denied.refuse_root(tree_.path(other)), HasSubstr("credentials")) << other;
  EXPECT_THAT(denied.refuse_root(tree_.path("home/u/.config")), HasSubstr("contains " + home + "/.config/gcloud"));
  EXPECT_EQ(denied.refuse_root(tree_.path("p")), "");
  auto report = walk(tree_.path("p"), {"/"}, {}, sink, nullptr, {.home = home});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_THAT(sink.entries, ElementsAre("app.py=ok"));
  EXPECT_THAT(reasons(*report), ElementsAre("notes.txt: a place that is never given to a sandbox"));
}

// One walk over everything that issue may hide beside or behind an allowed root.
TEST_F(Stage, never_shows_a_canary_that_lies_next_to_an_allowed_root) {
  for (const char* path : {"canary", "pp/canary", "p.old/canary", "P/canary", "outside/canary"})
    tree_.file(path, "CANARY");
  tree_.file("p/fine", "fine");
  tree_.dir("p/deep/er");
  for (auto [link, to] : {std::pair{"p/up", "../canary"},
                          {"p/deep/up", "../../canary"},
                          {"p/deep/er/up", "../../../outside"},
                          {"p/sideways", "../pp"},
                          {"p/deep/mixed", "er/../../../canary"},
                          {"p/dot", "./../canary"}}) {
    tree_.link(link, to);
  }
  tree_.link("p/absolute", tree_.path("outside"));
  tree_.link("p/proc", "/proc/self/root" + tree_.path("canary"));
  const std::vector<std::string> allowed{tree_.path("p")};
  for (const char* root : {"p", "p/deep", "p/deep/er"}) {
    sink_.entries.clear();
    auto report = walk(tree_.path(root), allowed, {}, sink_);
    ASSERT_TRUE(report) << root << report.error().message();
    for (const std::string& entry : sink_.entries) {
      EXPECT_THAT(entry, ::testing::Not(HasSubstr("CANARY")));
      EXPECT_THAT(entry, ::testing::Not(HasSubstr("->"))) << "a link of these leads out";
    }
  }
  for (const std::string root :
       {"pp", "p.old", "P", "outside", "", "p/../outside", "p/absolute", "p/up", "p/deep/er/up"}) {
    sink_.entries.clear();
    EXPECT_FALSE(walk(tree_.path(root), allowed, {}, sink_)) << root;
    EXPECT_THAT(sink_.entries, ::testing::IsEmpty());
  }
}

TEST_F(Stage, takes_a_hard_link_for_the_file_that_it_is) {
  tree_.file("p/a", "same");
  ASSERT_EQ(::link(tree_.path("p/a").c_str(), tree_.path("p/b").c_str()), 0);
  auto report = stage();
  ASSERT_TRUE(report);
  EXPECT_THAT(sink_.entries, ElementsAre("a=same", "b=same"));
  EXPECT_EQ(report->bytes, 8u);  // each counts
}

TEST_F(Stage, skips_what_cannot_be_read_and_says_so) {
  if (::geteuid() == 0) {
    // root reads everything; what it cannot is what the file system forbids
    ASSERT_EQ(::seteuid(65534), 0);
  }
  test::TempTree own;
  own.file("p/open", "1");
  own.file("p/shut", "2", 0);
  own.dir("p/closed");
  ASSERT_EQ(::chmod(own.path("p/closed").c_str(), 0), 0);
  MemorySink sink;
  auto report = walk(own.path("p"), {own.root()}, {}, sink);
  ::chmod(own.path("p/closed").c_str(), 0700);
  std::filesystem::remove_all(own.path("p"));
  if (::getuid() == 0) ASSERT_EQ(::seteuid(0), 0);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_THAT(sink.entries, ElementsAre("closed/", "open=1"));
  EXPECT_THAT(reasons(*report), UnorderedElementsAre("closed: not readable", "shut: not readable"));
}

TEST_F(Stage, opens_no_file_that_the_sink_has_already) {
  tree_.file("p/a", "1");
  tree_.file("p/b", "2", 0755);
  struct KnowsAll final : WalkSink {
    Result<void> directory(std::string_view) override { return {}; }
    Result<void> file(std::string_view, std::uint64_t, bool, int) override {
      return fail(Code::kInternal, "was opened");
    }
    Result<void> symlink(std::string_view, std::string_view) override { return {}; }
    bool unchanged(std::string_view path, const FileStamp& stamp) override {
      seen.push_back(std::string(path) + (stamp.executable() ? "*" : "") + " " + std::to_string(stamp.size));
      return true;
    }
    std::vector<std::string> seen;
  } sink;
  StageLimits limits;
  limits.bytes = 2;
  auto report = walk(tree_.path("p"), {tree_.root()}, limits, sink);
  // Quotas count what is kept, too: real bytes are those of whole blocks.
  EXPECT_EQ(report.error().code(), Code::kResourceExhausted);
  sink.seen.clear();
  ASSERT_TRUE(walk(tree_.path("p"), {tree_.root()}, {}, sink));
  EXPECT_THAT(sink.seen, ElementsAre("a 1", "b* 1"));
}

// As many steps as the limits of an ignore file allow, for each name: 2,000 of them took 10 s, 50,000 minutes.
TEST_F(Stage, gives_up_on_ignore_files_that_take_too_long) {
  std::string slow = "**/", text;
  for (int i = 0; i < 40; ++i) slow += "*a*";
  for (int i = 0; i < 1500; ++i) text += slow + "/**/b\n";
  tree_.file("p/.mcpboxignore", text);
  const std::string name(200, 'a');
  for (int i = 0; i < 100; ++i) tree_.file("p/" + name + std::to_string(i) + "/cb", "");
  const auto report = stage();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code(), Code::kResourceExhausted);
  EXPECT_THAT(report.error().message(), HasSubstr(".mcpboxignore"));
}

TEST_F(Stage, takes_the_time_for_many_patterns_and_names) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "*generated" + std::to_string(i) + "*\n**/build" + std::to_string(i) + "/**\n";
  tree_.file("p/.mcpboxignore", text);
  for (int i = 0; i < 1000; ++i) tree_.file("p/src/module" + std::to_string(i % 10) + "/file" + std::to_string(i), "");
  EXPECT_TRUE(stage());
}

TEST_F(Stage, ends_when_told_to_stop) {
  tree_.file("p/a");
  std::atomic<bool> stop{true};
  auto result = walk(tree_.path("p"), {tree_.root()}, {}, sink_, &stop);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Code::kCancelled);
}

// A plain recursive copy leaks in every run of this attack.
TEST_F(Stage, leaks_nothing_while_a_directory_is_exchanged_for_a_link) {
  tree_.file("secret/canary", "CANARY");
  tree_.file("p/d/canary", "harmless");
  tree_.file("p/e/canary", "harmless");
  tree_.link("p/x", tree_.path("secret"));
  tree_.link("p/y", tree_.path("secret/canary"));
  std::atomic<bool> done{false};
  std::thread attacker([&] {
    while (!done.load()) {
      ::renameat2(AT_FDCWD, tree_.path("p/d").c_str(), AT_FDCWD, tree_.path("p/x").c_str(), RENAME_EXCHANGE);
      ::renameat2(AT_FDCWD, tree_.path("p/e/canary").c_str(), AT_FDCWD, tree_.path("p/y").c_str(), RENAME_EXCHANGE);
    }
  });
  int completed = 0;
  for (int run = 0; run < 200; ++run) {
    auto report = stage();
    if (report)
      ++completed;
    else
      EXPECT_EQ(report.error().code(), Code::kAborted) << report.error().message();
    for (const std::string& entry : sink_.entries) EXPECT_THAT(entry, ::testing::Not(HasSubstr("CANARY")));
  }
  done = true;
  attacker.join();
  EXPECT_GT(completed, 0);
}

}  // namespace
}  // namespace mcpbox::workspace
