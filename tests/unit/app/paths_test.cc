#include "app/compose/paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <set>
#include <vector>

#include "box/bind_equipment.h"
#include "support/temp_tree.h"
#include "sys/unix_listener.h"

namespace mcpbox::app {
namespace {

using testing::HasSubstr;

struct PathsTest : testing::Test {
  test::TempTree tree;
  void SetUp() override {
    ::setenv("MCPBOX_RUN_DIR", tree.path("run").c_str(), 1);
    ::unsetenv("MCPBOX_STATE_DIR");
    ::unsetenv("MCPBOX_SOCKET");
  }
  void TearDown() override {
    for (const char* name : {"MCPBOX_RUN_DIR", "MCPBOX_STATE_DIR", "MCPBOX_SOCKET", "MCPBOX_INIT"}) ::unsetenv(name);
  }
};

mode_t mode_of(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 0777 : 0;
}

TEST_F(PathsTest, directories_are_made_private_with_their_parents) {
  const auto paths = make_paths(tree.path("a/b/state"), "");
  ASSERT_TRUE(paths) << paths.error().message();
  EXPECT_EQ(mode_of(tree.path("a/b/state")), 0700u);
  EXPECT_EQ(mode_of(tree.path("run")), 0700u);
  EXPECT_EQ(paths->socket, tree.path("run/control.sock"));
  EXPECT_TRUE(make_paths(tree.path("a/b/state"), ""));
}

TEST_F(PathsTest, a_directory_that_others_can_enter_is_refused_and_named) {
  tree.dir("state");
  ::chmod(tree.path("state").c_str(), 0755);
  const auto paths = make_paths(tree.path("state"), "");
  ASSERT_FALSE(paths);
  EXPECT_EQ(paths.error().code(), Code::kPermissionDenied);
  EXPECT_THAT(paths.error().message(), HasSubstr(tree.path("state")));
  EXPECT_EQ(mode_of(tree.path("state")), 0755u) << "it must not be changed behind its owner's back";
}

TEST_F(PathsTest, a_link_a_file_and_a_directory_of_another_user_are_refused) {
  tree.dir("real");
  ::chmod(tree.path("real").c_str(), 0700);
  tree.link("link", tree.path("real"));
  EXPECT_FALSE(make_paths(tree.path("link"), ""));
  tree.file("file", "");
  EXPECT_FALSE(make_paths(tree.path("file"), ""));
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(tree.path("real").c_str(), 12345, 12345), 0);
    EXPECT_FALSE(make_paths(tree.path("real"), ""));
  }
}

TEST_F(PathsTest, variables_and_arguments_choose_in_order) {
  ::setenv("MCPBOX_STATE_DIR", tree.path("from-variable").c_str(), 1);
  ::setenv("MCPBOX_SOCKET", "/x/variable.sock", 1);
  EXPECT_EQ(make_paths("", "")->state_dir, tree.path("from-variable"));
  EXPECT_EQ(make_paths("", "")->socket, "/x/variable.sock");
  EXPECT_EQ(default_socket(), "/x/variable.sock");
  EXPECT_EQ(make_paths(tree.path("given"), "/x/given.sock")->state_dir, tree.path("given"));
  EXPECT_EQ(make_paths(tree.path("given"), "/x/given.sock")->socket, "/x/given.sock");
}

TEST_F(PathsTest, the_instance_id_is_drawn_once) {
  const auto id = instance_id(tree.root());
  ASSERT_TRUE(id);
  EXPECT_EQ(id->size(), 32u);
  EXPECT_EQ(instance_id(tree.root()).value(), *id);
  EXPECT_EQ(mode_of(tree.path("instance")), 0600u);
  unsigned files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(tree.root())) files += entry.exists();
  EXPECT_EQ(files, 1u) << "nothing temporary stays";
}

TEST_F(PathsTest, first_starts_at_the_same_time_agree_on_one_instance_id) {
  for (int round = 0; round < 20; ++round) {
    const std::string dir = tree.dir("round" + std::to_string(round));
    std::vector<std::future<std::string>> starts;
    for (int i = 0; i < 8; ++i)
      starts.push_back(std::async(std::launch::async, [&dir] { return instance_id(dir).value_or("failed"); }));
    std::set<std::string> ids;
    for (auto& start : starts) ids.insert(start.get());
    EXPECT_EQ(ids.size(), 1u);
    EXPECT_FALSE(ids.contains("failed"));
  }
}

TEST_F(PathsTest, an_instance_file_that_holds_something_else_is_named_and_left_alone) {
  for (const std::string& content :
       {std::string(), std::string("short"), std::string(32, 'G'), std::string(40, 'a'), std::string(5000, 'a')}) {
    tree.file("instance", content);
    const auto id = instance_id(tree.root());
    ASSERT_FALSE(id) << content.substr(0, 50);
    EXPECT_EQ(id.error().code(), Code::kDataLoss);
    EXPECT_THAT(id.error().message(), HasSubstr(tree.path("instance")));
  }
  std::filesystem::remove(tree.path("instance"));
  tree.file("target", std::string(32, 'a'));
  tree.link("instance", tree.path("target"));
  EXPECT_FALSE(instance_id(tree.root()));
}

TEST_F(PathsTest, the_directory_of_a_sandbox_that_is_being_made_is_not_stale) {
  const std::string instance = std::string(32, 'a');
  Paths paths;
  paths.run_dir = tree.dir("run");
  const std::string run = "mcpbox-aaaaaaaa-run-0f";
  const std::string made = box::control_directory_name(run, box::control_nonce().value());
  tree.dir("run/" + made);
  tree.dir("run/" + box::control_directory_name(run, "1-1-0f"));
  tree.dir("run/mcpbox-aaaaaaaa-shared");
  tree.dir("run/mcpbox-bbbbbbbb-shared");
  remove_stale_files(paths, instance);
  std::set<std::string> left;
  for (const auto& entry : std::filesystem::directory_iterator(paths.run_dir)) left.insert(entry.path().filename());
  EXPECT_EQ(left, (std::set<std::string>{made, "mcpbox-bbbbbbbb-shared"}));
}

TEST_F(PathsTest, the_directory_of_a_sandbox_that_answers_is_not_stale_whoever_made_it) {
  Paths paths;
  paths.run_dir = tree.dir("run");
  for (const char* nonce : {"1-1-0f", "1-1-1f"}) tree.dir(std::string("run/mcpbox-aaaaaaaa-shared.") + nonce);
  auto living = sys::UnixListener::listen({tree.path("run/mcpbox-aaaaaaaa-shared.1-1-0f/control.sock")});
  ASSERT_TRUE(living);
  {
    const UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{AF_UNIX, {}};
    tree.path("run/mcpbox-aaaaaaaa-shared.1-1-1f/control.sock").copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  remove_stale_files(paths, std::string(32, 'a'));
  EXPECT_TRUE(std::filesystem::exists(tree.path("run/mcpbox-aaaaaaaa-shared.1-1-0f/control.sock")));
  EXPECT_FALSE(std::filesystem::exists(tree.path("run/mcpbox-aaaaaaaa-shared.1-1-1f")));
}

TEST_F(PathsTest, mcpbox_init_that_is_not_there_is_said_with_what_to_do) {
  ::setenv("MCPBOX_INIT", tree.path("nothing").c_str(), 1);
  const auto missing = find_init();
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), Code::kNotFound);
  EXPECT_THAT(missing.error().message(), HasSubstr("MCPBOX_INIT"));
  tree.file("init", "", 0755);
  tree.link("link", tree.path("init"));
  ::setenv("MCPBOX_INIT", tree.path("link").c_str(), 1);
  EXPECT_EQ(find_init().value(), tree.path("init"));
}

}  // namespace
}  // namespace mcpbox::app
