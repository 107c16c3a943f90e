#include "workspace/mounts.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <filesystem>

#include "workspace/path_text.h"

namespace mcpbox::workspace {
namespace {

std::string located(const MountTable& table, const std::string& path, std::uint64_t mount = 0) {
  const auto at = table.locate(path, mount);
  return at ? std::to_string(major(at->device)) + ":" + std::to_string(minor(at->device)) + " " + at->path : "nowhere";
}

TEST(Mounts, say_where_a_path_lies_in_its_file_system) {
  const MountTable table(
      "20 1 254:0 / / rw - ext4 /dev/vda rw\n"
      "30 20 254:1 / /home rw,relatime shared:1 - ext4 /dev/vdb rw\n"
      "31 30 254:1 /u/.ssh/keys /home/u/project/k rw - ext4 /dev/vdb rw\n"
      "32 20 0:31 /@home /data rw - btrfs /dev/vdc rw\n");
  EXPECT_EQ(located(table, "/"), "254:0 /");
  EXPECT_EQ(located(table, "/srv/a"), "254:0 /srv/a");
  EXPECT_EQ(located(table, "/home"), "254:1 /");
  EXPECT_EQ(located(table, "/homes/u"), "254:0 /homes/u");
  EXPECT_EQ(located(table, "/home/u/.ssh"), "254:1 /u/.ssh");
  EXPECT_EQ(located(table, "/home/u/project/k"), "254:1 /u/.ssh/keys");
  EXPECT_EQ(located(table, "/home/u/project/k/work"), "254:1 /u/.ssh/keys/work");
  EXPECT_EQ(located(table, "/home/u/project/k2"), "254:1 /u/project/k2");
  EXPECT_EQ(located(table, "/data/u/.ssh"), "0:31 /@home/u/.ssh");
}

TEST(Mounts, believe_the_kernel_which_of_those_on_top_of_each_other_it_is) {
  const MountTable table(
      "20 1 254:0 / / rw - ext4 /dev/vda rw\n"
      "21 20 0:40 / /m rw - tmpfs a rw\n"
      "22 21 0:41 / /m rw - tmpfs b rw\n"
      "23 20 0:42 / /m/hidden rw - tmpfs c rw\n");
  EXPECT_EQ(located(table, "/m/x"), "0:41 /x") << "the last is on top";
  EXPECT_EQ(located(table, "/m/x", 21), "0:40 /x");
  EXPECT_EQ(located(table, "/m/hidden/x", 22), "0:41 /hidden/x");
  EXPECT_EQ(located(table, "/m/x", 99), "nowhere") << "mounted since";
  EXPECT_EQ(located(table, "/m/x", 23), "nowhere") << "it does not lie there";
}

TEST(Mounts, are_read_with_octal_escapes_and_what_was_removed_as_it_was_called) {
  const MountTable table(
      "20 1 254:0 /a\\040b\\011c\\134d\\012e /x\\040y rw - ext4 /dev/vda rw\n"
      "21 1 254:0 /u/.ssh/keys//deleted /k rw - ext4 /dev/vda rw\n"
      "22 1 254:0 //deleted /l rw - ext4 /dev/vda rw\n"
      "23 1 254:0 /not\\9octal /m\\04 rw - ext4 /dev/vda rw\n");
  ASSERT_EQ(table.mounts().size(), 4u);
  EXPECT_EQ(table.mounts()[0].shows.path, "/a b\tc\\d\ne");
  EXPECT_EQ(table.mounts()[0].at, "/x y");
  EXPECT_EQ(table.mounts()[1].shows.path, "/u/.ssh/keys");
  EXPECT_EQ(table.mounts()[2].shows.path, "/");
  EXPECT_EQ(table.mounts()[3].shows.path, "/not\\9octal");
  EXPECT_EQ(table.mounts()[3].at, "/m\\04");
}

TEST(Mounts, leave_out_what_is_no_line_or_no_path) {
  const MountTable table(
      "\nnonsense\n1 2 3\n20 1 254 / / rw\nx 1 254:0 / / rw\n20 1 254:x / / rw\n"
      "24 1 0:4 net:[4026531840] /run/netns/a rw - nsfs nsfs rw\n25 1 0:5 / relative rw - tmpfs t rw\n");
  EXPECT_TRUE(table.mounts().empty());
}

TEST(Mounts, compare_by_whole_components_and_within_one_file_system) {
  const FsPlace ssh{makedev(254, 1), "/u/.ssh"};
  EXPECT_TRUE(is_beneath(ssh, ssh));
  EXPECT_TRUE(is_beneath({makedev(254, 1), "/u/.ssh/keys"}, ssh));
  EXPECT_TRUE(is_beneath(ssh, {makedev(254, 1), "/"}));
  EXPECT_FALSE(is_beneath({makedev(254, 1), "/u/.ssh-notes"}, ssh));
  EXPECT_FALSE(is_beneath({makedev(254, 2), "/u/.ssh/keys"}, ssh));
  EXPECT_FALSE(is_beneath({makedev(254, 1), "/u"}, ssh));
}

TEST(Mounts, of_this_machine_hold_whatever_is_opened_by_its_name_and_identity) {
  const auto table = MountTable::read();
  ASSERT_TRUE(table.has_value()) << table.error().message();
  EXPECT_FALSE(table->mounts().empty());
  const auto opened = look_at(std::string("/proc/self/ns/../status"));
  ASSERT_TRUE(opened.has_value());
  EXPECT_EQ(base_name(opened->path), "status");
  EXPECT_THAT(opened->path, testing::MatchesRegex("/proc/[0-9]+/status"));
  struct stat status{};
  ASSERT_EQ(::stat("/proc/self/status", &status), 0);
  EXPECT_EQ(opened->id, sys::id_of(status));
  EXPECT_EQ(table->locate("/proc", look_at(std::string("/proc"))->mount)->path, "/");
  EXPECT_EQ(look_at(std::string("/proc/nothing")).error(), ENOENT);
}

}  // namespace
}  // namespace mcpbox::workspace
