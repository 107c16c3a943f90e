// How equipment gets into sandboxes that can show folders of the host.
#include "box/bind_equipment.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <optional>
#include <set>

#include "support/no_descriptors.h"
#include "support/result_matcher.h"
#include "support/run_task.h"
#include "support/temp_tree.h"

namespace mcpbox::box {
namespace {

using test::fails;
using test::succeeds;

struct BindEquipmentTest : testing::Test {
  test::TempTree tree;
  BindEquipment equipment;

  SandboxSpec spec() {
    SandboxSpec out;
    out.name = "mcpbox-one";
    out.equipment = Equipment{"/usr/bin/mcpbox-init", tree.root(), "", "", "", false, "", "0f"};
    return out;
  }
  std::string directory() { return tree.path("mcpbox-one.0f"); }
  std::size_t directories() const {
    const std::filesystem::directory_iterator all(tree.root());
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
  }
};

std::vector<std::string> targets(const SandboxSpec& spec) {
  std::vector<std::string> out;
  for (const Mount& mount : spec.profile.mounts) out.push_back(mount.target);
  return out;
}

TEST_F(BindEquipmentTest, the_least_is_pid_1_its_control_directory_and_a_work_space) {
  auto what = spec();
  ASSERT_THAT(equipment.prepare(what), succeeds());
  EXPECT_EQ(targets(what), (std::vector<std::string>{"/.box/mcpbox-init", "/.boxrun", "/workspace"}));
  EXPECT_EQ(what.profile.mounts[2].kind, Mount::Kind::kScratch);
  EXPECT_EQ(what.init_argv, (std::vector<std::string>{"/.box/mcpbox-init", "--control", "/.boxrun/control.sock",
                                                      "--owner", std::to_string(::geteuid()), "--root", "/workspace"}));
}

TEST_F(BindEquipmentTest, everything_has_its_place_and_its_argument) {
  auto what = spec();
  what.equipment->trust_store = "/etc/ca.pem";
  what.equipment->way_out = "/run/way";
  what.equipment->cache = "cache";
  what.equipment->work_space = "work";
  what.remove_on_exit = true;
  what.profile.mounts = {{Mount::Kind::kScratch, "", "/home/me/proj", false}};
  ASSERT_THAT(equipment.prepare(what), succeeds());
  EXPECT_EQ(targets(what),
            (std::vector<std::string>{"/home/me/proj", "/.box/mcpbox-init", "/.boxrun", "/.boxnet", "/.boxnet/egress",
                                      "/.box/ca-bundle.pem", "/workspace", "/cache"}));
  EXPECT_TRUE(what.profile.mounts.back().read_only);
  const auto& words = what.init_argv;
  EXPECT_EQ(std::ranges::count(words, "--root"),
            3);  // the work space, the cache, the folder that stands for a staged one
  EXPECT_EQ(std::ranges::count(words, "3128:/.boxnet/egress/egress.sock"), 1);
  const auto name = std::ranges::find(words, "--sandbox");
  ASSERT_LT(name, words.end() - 1);
  EXPECT_EQ(*(name + 1), "mcpbox-one");
  EXPECT_EQ(words.back(), "--ephemeral");
}

TEST_F(BindEquipmentTest, the_control_directory_of_a_sandbox_that_was_not_made_goes) {
  auto what = spec();
  {
    auto control = equipment.prepare(what);
    ASSERT_THAT(control, succeeds());
    struct stat status{};
    ASSERT_EQ(::stat(directory().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0700u);
  }
  EXPECT_FALSE(std::filesystem::exists(directory()));
}

// Two processes make the sandbox of one name, as installers do; the engine lets one of them have it.
TEST_F(BindEquipmentTest, who_loses_the_name_leaves_the_winners_directory) {
  BindEquipment another;
  auto lost = spec();
  auto won = spec();
  lost.equipment->control_nonce.clear();
  won.equipment->control_nonce.clear();
  std::optional losing(equipment.prepare(lost));
  auto winning = another.prepare(won);
  ASSERT_THAT(*losing, succeeds());
  ASSERT_THAT(winning, succeeds());
  EXPECT_EQ(directories(), 2u);
  losing.reset();
  EXPECT_TRUE(std::filesystem::exists(won.labels.at("io.mcpbox.control")));
  EXPECT_EQ(directories(), 1u);
  another.made(std::move(*winning), "id");
  another.removed("id");
  EXPECT_EQ(directories(), 0u);
}

TEST_F(BindEquipmentTest, a_directory_that_an_earlier_controller_made_goes_with_its_sandbox) {
  auto what = spec();
  {
    BindEquipment earlier;
    auto control = earlier.prepare(what);
    ASSERT_THAT(control, succeeds());
    earlier.made(std::move(*control), "id");
  }
  equipment.removed("id");
  EXPECT_TRUE(std::filesystem::exists(directory())) << "nobody said where it is";
  EXPECT_FALSE(equipment.knows("id"));
  equipment.learn({"id", "mcpbox-one", what.labels, true, std::nullopt, false});
  EXPECT_TRUE(equipment.knows("id"));
  equipment.removed("id");
  EXPECT_FALSE(std::filesystem::exists(directory()));
}

TEST_F(BindEquipmentTest, a_directory_says_whether_its_maker_lives) {
  const std::string mine = control_directory_name("mcpbox-one", control_nonce().value());
  EXPECT_TRUE(mine.starts_with("mcpbox-one."));
  EXPECT_TRUE(control_maker_is_alive(mine));
  {
    const test::NoDescriptors none;
    EXPECT_TRUE(control_maker_is_alive(mine)) << "it cannot be looked up";
    EXPECT_THAT(control_nonce(), fails(Code::kResourceExhausted));
  }
  const std::string pid = std::to_string(::getpid());
  for (const std::string& other : {std::string("mcpbox-one"), std::string("mcpbox-one.egress"), "mcpbox-one." + pid,
                                   "mcpbox-one." + pid + "-1-0f", std::string("mcpbox-one.--")}) {
    EXPECT_FALSE(control_maker_is_alive(other)) << other;
  }
}

TEST_F(BindEquipmentTest, it_lives_as_long_as_the_sandbox) {
  auto what = spec();
  auto control = equipment.prepare(what);
  ASSERT_THAT(control, succeeds());
  equipment.made(std::move(*control), "id");
  EXPECT_TRUE(std::filesystem::exists(directory()));
  equipment.removed("another");
  EXPECT_TRUE(std::filesystem::exists(directory()));
  equipment.removed("id");
  EXPECT_FALSE(std::filesystem::exists(directory()));
}

TEST_F(BindEquipmentTest, a_link_in_its_place_is_refused) {
  ASSERT_EQ(::symlink("/tmp", directory().c_str()), 0);
  auto what = spec();
  EXPECT_THAT(equipment.prepare(what), fails(Code::kPermissionDenied, directory()));
}

TEST_F(BindEquipmentTest, dials_where_the_sandbox_says_that_its_socket_is) {
  boost::asio::io_context loop;
  const auto dial = [&](SandboxState state) {
    return test::run_task(loop, equipment.dial(loop.get_executor(), std::move(state), std::chrono::milliseconds(30)));
  };
  EXPECT_THAT(dial({"id", "one", {}, true, std::nullopt, false}), fails(Code::kFailedPrecondition));
  EXPECT_THAT(dial({"id", "one", {{"io.mcpbox.control", "../x"}}, true, std::nullopt, false}),
              fails(Code::kFailedPrecondition));
  auto what = spec();
  auto control = equipment.prepare(what);
  ASSERT_THAT(control, succeeds());
  EXPECT_THAT(dial({"id", "one", what.labels, true, std::nullopt, false}), fails(Code::kTimeout, directory()));
}

TEST_F(BindEquipmentTest, what_differs_has_another_hash) {
  const auto base = spec();
  std::set<std::string> hashes{base.hash()};
  for (auto change : std::initializer_list<void (*)(SandboxSpec&)>{
           [](SandboxSpec& s) { s.equipment->trust_store = "/x"; }, [](SandboxSpec& s) { s.equipment->way_out = "/x"; },
           [](SandboxSpec& s) { s.equipment->cache = "x"; }, [](SandboxSpec& s) { s.equipment->cache_writable = true; },
           [](SandboxSpec& s) { s.equipment->work_space = "x"; }, [](SandboxSpec& s) { s.equipment->init = "/x"; },
           [](SandboxSpec& s) { s.equipment->run_dir = "/x"; }, [](SandboxSpec& s) { s.remove_on_exit = true; },
           [](SandboxSpec& s) { s.profile.image = "x"; },
           [](SandboxSpec& s) { s.profile.mounts = {{Mount::Kind::kBind, "/a", "/a"}}; },
           [](SandboxSpec& s) {
             s.profile.mounts = {{Mount::Kind::kBind, "/a", "/a", true, 0, 0755, sys::FileId{1, 2}}};
           }}) {
    auto other = base;
    change(other);
    EXPECT_TRUE(hashes.insert(other.hash()).second);
  }
  auto renamed = base;
  renamed.name = "another";
  renamed.equipment->control_nonce = "another";
  EXPECT_EQ(renamed.hash(), base.hash());
}

}  // namespace
}  // namespace mcpbox::box
