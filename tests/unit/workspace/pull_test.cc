#include "workspace/pull.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "support/temp_tree.h"

namespace mcpbox::workspace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The folder p of the host, what was staged of it, and what the server is said to have.
class Pull : public ::testing::Test {
 protected:
  void SetUp() override {
    tree_.dir("p");
    target_.host = tree_.path("p");
    target_.allowed_roots = {tree_.root()};
  }
  // A file that was staged and is on the host as it was.
  void staged(const std::string& path, const std::string& content, mode_t mode = 0644) {
    tree_.file("p/" + path, content, mode);
    base_.entries.push_back({StageManifest::Kind::kFile, path, {}, sha256_hex(content)});
  }
  void begin() {
    auto root = open_stage_root(target_.host, target_.allowed_roots, target_.rules);
    ASSERT_TRUE(root) << root.error().message();
    root_ = std::move(*root);
    receiver_.emplace(target_, base_, root_.get(), tree_.dir("spool" + std::to_string(++spools_)));
  }
  Result<void> has(const std::string& path, const std::string& content, bool executable = false) {
    if (auto named = receiver_->file(path, content.size(), executable); !named) return named;
    if (auto taken = receiver_->data(content); !taken) return taken;
    return receiver_->file_end();
  }
  PullReport settle(PullChoice choice = {}) {
    PullReport report;
    auto settled = settle_pull(*receiver_, base_, root_.get(), choice, report);
    EXPECT_TRUE(settled) << settled.error().message();
    if (!settled) return {};
    if (report.applied) base_ = report.base;
    return report;
  }
  static std::vector<std::string> said(const PullReport& report) {
    std::vector<std::string> lines;
    for (const PullItem& item : report.items) lines.push_back(std::string(name_of(item.action)) + " " + item.path);
    return lines;
  }
  std::vector<std::string> on_host() {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(tree_.path("p")))
      names.push_back(std::filesystem::relative(entry.path(), tree_.path("p")).string());
    return names;
  }

  test::TempTree tree_;
  PullTarget target_;
  StageManifest base_;
  UniqueFd root_;
  std::optional<PullReceiver> receiver_;
  int spools_ = 0;
};

TEST_F(Pull, brings_back_what_the_server_changed_and_nothing_else) {
  staged("same", "1");
  staged("changed", "2", 0600);
  staged("tool", "3", 0755);
  staged("edited_here", "4");
  tree_.file("p/edited_here", "mine");
  begin();
  ASSERT_TRUE(has("same", "1"));
  ASSERT_TRUE(has("changed", "two"));
  ASSERT_TRUE(has("tool", "three", true));
  ASSERT_TRUE(has("edited_here", "4"));
  ASSERT_TRUE(receiver_->directory("new"));
  ASSERT_TRUE(receiver_->directory("new/deep"));
  ASSERT_TRUE(has("new/deep/run", "#!", true));
  const PullReport report = settle();
  EXPECT_TRUE(report.applied);
  EXPECT_THAT(said(report), UnorderedElementsAre("changed changed", "changed tool", "added new/deep/run"));
  EXPECT_EQ(text_of(tree_.path("p/changed")), "two");
  EXPECT_EQ(text_of(tree_.path("p/edited_here")), "mine");
  struct stat info{};
  ASSERT_EQ(::stat(tree_.path("p/changed").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  ASSERT_EQ(::stat(tree_.path("p/tool").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0755u);
  ASSERT_EQ(::stat(tree_.path("p/new/deep/run").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0755u);
  // What came is the new base: an edit here later is an edit, not a conflict.
  tree_.file("p/changed", "edited after the pull");
  begin();
  ASSERT_TRUE(has("same", "1"));
  ASSERT_TRUE(has("changed", "two"));
  ASSERT_TRUE(has("tool", "three", true));
  ASSERT_TRUE(has("edited_here", "4"));
  ASSERT_TRUE(receiver_->directory("new"));
  ASSERT_TRUE(receiver_->directory("new/deep"));
  ASSERT_TRUE(has("new/deep/run", "#!", true));
  EXPECT_THAT(said(settle()), ElementsAre());
  EXPECT_EQ(text_of(tree_.path("p/changed")), "edited after the pull");
}

TEST_F(Pull, a_dry_run_says_the_same_and_writes_nothing) {
  staged("a", "1");
  begin();
  ASSERT_TRUE(has("a", "one"));
  ASSERT_TRUE(has("b", "two"));
  const PullReport report = settle({.dry_run = true});
  EXPECT_FALSE(report.applied);
  EXPECT_THAT(said(report), UnorderedElementsAre("changed a", "added b"));
  EXPECT_EQ(text_of(tree_.path("p/a")), "1");
  EXPECT_THAT(on_host(), ElementsAre("a"));
}

TEST_F(Pull, a_conflict_stops_all_until_it_is_forced_and_then_keeps_what_was_there) {
  staged("both", "1");
  staged("gone", "1");
  staged("free", "1");
  tree_.file("p/both", "mine");
  tree_.file("p/appeared", "mine too");
  std::filesystem::remove(tree_.path("p/gone"));
  const auto server = [&] {
    begin();
    ASSERT_TRUE(has("both", "theirs"));
    ASSERT_TRUE(has("gone", "theirs"));
    ASSERT_TRUE(has("free", "theirs"));
    ASSERT_TRUE(has("appeared", "theirs"));
  };
  server();
  PullReport report = settle();
  EXPECT_FALSE(report.applied);
  EXPECT_THAT(said(report),
              UnorderedElementsAre("conflict both", "conflict gone", "changed free", "conflict appeared"));
  EXPECT_EQ(text_of(tree_.path("p/free")), "1");
  server();
  report = settle({.force = true});
  EXPECT_TRUE(report.applied);
  for (const char* name : {"both", "gone", "free", "appeared"})
    EXPECT_EQ(text_of(tree_.path(std::string("p/") + name)), "theirs") << name;
  EXPECT_EQ(text_of(tree_.path("p/both.before-pull-1")), "mine");
  EXPECT_EQ(text_of(tree_.path("p/appeared.before-pull-1")), "mine too");
  EXPECT_FALSE(std::filesystem::exists(tree_.path("p/free.before-pull-1")));
}

TEST_F(Pull, the_same_change_on_both_sides_is_none) {
  staged("a", "1");
  tree_.file("p/a", "both");
  begin();
  ASSERT_TRUE(has("a", "both"));
  EXPECT_TRUE(settle().items.empty());
}

TEST_F(Pull, deletes_only_when_told_and_only_what_did_not_change_here) {
  staged("dead", "1");
  staged("edited", "1");
  tree_.file("p/edited", "mine");
  begin();
  PullReport report = settle();
  EXPECT_THAT(said(report), ElementsAre("deleted dead"));
  EXPECT_TRUE(std::filesystem::exists(tree_.path("p/dead")));
  begin();
  report = settle({.delete_missing = true});
  EXPECT_THAT(said(report), UnorderedElementsAre("deleted dead", "conflict edited"));
  EXPECT_TRUE(std::filesystem::exists(tree_.path("p/dead")));
  begin();
  report = settle({.force = true, .delete_missing = true});
  EXPECT_TRUE(report.applied);
  EXPECT_THAT(on_host(), ElementsAre("edited.before-pull-1"));
}

TEST_F(Pull, refuses_what_staging_leaves_behind_and_names_that_are_no_text) {
  tree_.file("p/.mcpboxignore", "*.key\nout/\n/sub/*.log\n!keep.key\n");
  tree_.file("p/sub/.mcpboxignore", "private\n");
  begin();
  for (const char* directory :
       {".git", ".git/hooks", "sub", ".ssh", "out", "node_modules", ".config", ".config/gcloud"})
    ASSERT_TRUE(receiver_->directory(directory)) << directory;
  for (const char* path :
       {".git/hooks/post-commit", ".ssh/authorized_keys", "a.key", "out/x", "sub/x.log", "sub/private", ".mcpboxignore",
        "sub/.mcpboxignore", ".netrc", "node_modules/evil.js", "bad\nname", "esc\x1b[2J", "\xff\xfe",
        "rtl\xE2\x80\xAEname", ".config/gcloud/credentials.db"})
    ASSERT_TRUE(has(path, "EVIL")) << path;
  ASSERT_TRUE(has("keep.key", "wanted"));
  ASSERT_TRUE(has("sub/fine", "wanted"));
  ASSERT_TRUE(receiver_->link("l", "sub/fine"));
  const PullReport report = settle();
  EXPECT_TRUE(report.applied);
  EXPECT_THAT(on_host(), UnorderedElementsAre(".mcpboxignore", "sub", "sub/.mcpboxignore", "keep.key", "sub/fine"));
  EXPECT_THAT(text_of(tree_.path("p/.mcpboxignore")), HasSubstr("out/"));
  EXPECT_GE(report.refused_total, 13u);
}

TEST_F(Pull, never_leaves_the_folder_nor_writes_through_links_or_over_other_things) {
  tree_.file("outside/canary", "CANARY");
  tree_.link("p/link", tree_.path("outside"));
  tree_.link("p/file_link", tree_.path("outside/canary"));
  tree_.dir("p/folder");
  tree_.file("p/plain", "x");
  ASSERT_EQ(::mkfifo(tree_.path("p/fifo").c_str(), 0600), 0);
  begin();
  for (const char* path : {"../x", "/x", "..", "a/../x"}) {
    begin();
    auto taken = has(path, "EVIL");
    if (taken) EXPECT_TRUE(settle().items.empty() || !std::filesystem::exists(tree_.path("x"))) << path;
  }
  begin();
  for (const char* directory : {"link", "plain"}) ASSERT_TRUE(receiver_->directory(directory));
  for (const char* path : {"link/canary", "link/new", "file_link", "folder", "fifo", "plain/x"})
    ASSERT_TRUE(has(path, "EVIL")) << path;
  const PullReport report = settle({.force = true, .delete_missing = true});
  for (const PullItem& item : report.items) EXPECT_EQ(item.action, PullAction::kRefused) << item.path;
  EXPECT_EQ(report.items.size(), 6u);
  EXPECT_EQ(text_of(tree_.path("outside/canary")), "CANARY");
  EXPECT_FALSE(std::filesystem::exists(tree_.path("outside/new")));
  EXPECT_EQ(text_of(tree_.path("p/plain")), "x");
}

TEST_F(Pull, refuses_a_stream_that_contradicts_itself) {
  begin();
  ASSERT_TRUE(has("a", "1"));
  EXPECT_EQ(has("a", "2").error().code(), Code::kDataLoss);
  EXPECT_EQ(receiver_->directory("a").error().code(), Code::kDataLoss);
  begin();
  ASSERT_TRUE(has("d/without_a_directory", "1"));
  EXPECT_TRUE(settle().items.empty());
}

TEST_F(Pull, holds_its_quotas_exactly) {
  target_.limits = {.entries = 2, .bytes = 10, .file_bytes = 6, .depth = 1};
  begin();
  EXPECT_TRUE(has("a", "123456"));
  EXPECT_EQ(receiver_->file("b", 5, false).error().code(), Code::kResourceExhausted);
  begin();
  EXPECT_EQ(receiver_->file("a", 7, false).error().code(), Code::kResourceExhausted);
  begin();
  EXPECT_TRUE(has("a", "123456"));
  EXPECT_TRUE(has("b", "1234"));
  EXPECT_EQ(has("c", "").error().code(), Code::kResourceExhausted);
  target_.limits.entries = 10;
  begin();
  EXPECT_TRUE(receiver_->directory("d"));
  EXPECT_TRUE(has("d/x", "1"));
  EXPECT_TRUE(receiver_->directory("d/e"));
  EXPECT_TRUE(has("d/e/x", "1"));
  const PullReport report = settle();
  EXPECT_THAT(said(report), UnorderedElementsAre("added d/x", "refused d/e"));
}

TEST_F(Pull, does_not_write_into_another_mount) {
  tree_.dir("p/mnt");
  if (::mount("tmpfs", tree_.path("p/mnt").c_str(), "tmpfs", 0, "size=64k") != 0) {
    ASSERT_EQ(errno, EPERM) << "a test that is not root cannot mount; any other trouble is one";
    return;
  }
  begin();
  ASSERT_TRUE(receiver_->directory("mnt"));
  ASSERT_TRUE(has("mnt/x", "EVIL"));
  const PullReport report = settle({.force = true});
  EXPECT_FALSE(std::filesystem::exists(tree_.path("p/mnt/x")));
  ::umount2(tree_.path("p/mnt").c_str(), MNT_DETACH);
  EXPECT_THAT(said(report), ElementsAre("refused mnt/x"));
}

TEST_F(Pull, knows_after_an_error_in_the_middle_what_it_has_written) {
  staged("a", "1");
  staged("b", "2");
  begin();
  ASSERT_TRUE(has("a", "one"));
  ASSERT_TRUE(has("b", "two"));
  ASSERT_TRUE(std::filesystem::remove(receiver_->changed().back().spooled));
  PullReport report;
  EXPECT_FALSE(settle_pull(*receiver_, base_, root_.get(), {}, report));
  EXPECT_TRUE(report.applied);
  base_ = report.base;
  begin();
  ASSERT_TRUE(has("a", "one and a half"));
  ASSERT_TRUE(has("b", "two"));
  EXPECT_THAT(said(settle()), UnorderedElementsAre("changed a", "changed b"));
}

}  // namespace
}  // namespace mcpbox::workspace
