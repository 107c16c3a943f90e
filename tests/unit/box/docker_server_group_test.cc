// Which control group is a container's, from what the kernel says of its first process.
#include <gtest/gtest.h>
#include <unistd.h>

#include "box/docker/server_group.h"
#include "support/result_matcher.h"
#include "support/temp_tree.h"

namespace mcpbox::box {
namespace {

const std::string kContainer(64, 'c');

TEST(DockerServerGroup, is_the_one_that_has_the_containers_name) {
  const std::string before = "5:memory:/docker/other\n4:cpuset:/\n",
                    after = "2:cpuacct:/docker/x\n1:name=systemd:/\n0::/\n";
  EXPECT_EQ(cpu_group_of(before + "3:cpu:/docker/" + kContainer + "\n" + after, kContainer), "docker/" + kContainer);
  EXPECT_EQ(cpu_group_of("3:cpu,cpuacct:/docker/" + kContainer, kContainer), "docker/" + kContainer);
  EXPECT_EQ(cpu_group_of("3:cpuacct,cpu:/system.slice/docker-" + kContainer + ".scope\n", kContainer),
            "system.slice/docker-" + kContainer + ".scope");
  EXPECT_EQ(cpu_group_of("3:cpu:/" + kContainer + "\n", kContainer), kContainer);
}

TEST(DockerServerGroup, is_none_in_a_text_that_says_anything_else) {
  const std::string good = "3:cpu:/docker/" + kContainer + "\n";
  ASSERT_TRUE(cpu_group_of(good, kContainer));
  for (const std::string& text : {
           std::string(),
           std::string("\n\n"),
           std::string("::\n"),
           std::string("cpu\n"),
           std::string("3:cpu\n"),
           std::string("3:cpu:\n"),
           std::string("3:cpu:/\n"),
           "3:cpu:docker/" + kContainer + "\n",
           "3:cpu:/docker/" + kContainer + "/\n",
           "3:cpu:/docker/" + kContainer + "/servers/s1\n",
           "3:cpu:/docker/" + kContainer + " (deleted)\n",
           "3:cpu:/docker/" + std::string(64, 'd') + "\n",
           "3:cpu:/docker/x" + kContainer + "\n",
           "3:cpu:/docker/" + kContainer.substr(1) + "\n",
           "3:cpu:/../" + kContainer + "\n",
           "3:cpu:/docker/./" + kContainer + "\n",
           "3:cpu://" + kContainer + "\n",
           "3:cpuset:/docker/" + kContainer + "\n",
           "3:name=cpu:/docker/" + kContainer + "\n",
           "0::/docker/" + kContainer + "\n",
           good + "4:cpu:/docker/" + kContainer + "\n",
           good + "4:cpu:/\n",
       })
    EXPECT_FALSE(cpu_group_of(text, kContainer)) << text;
}

// Folders in place of control groups are none.
TEST(DockerServerGroup, is_not_looked_for_where_the_kernel_has_none_of_version_1) {
  test::TempTree tree;
  tree.file("1/cgroup", "3:cpu:/docker/" + kContainer + "\n");
  tree.file("groups/cpu/docker/" + kContainer + "/cgroup.procs", "1\n");
  EXPECT_THAT(open_server_group({tree.root(), tree.path("groups")}, 1, kContainer), test::fails(Code::kUnsupported));
  EXPECT_THAT(open_server_group({tree.root(), tree.path("none")}, 1, kContainer), test::fails(Code::kUnsupported));
  EXPECT_FALSE(open_server_group({}, ::getpid(), kContainer)) << "this process is in no container of that name";
  EXPECT_FALSE(open_server_group({}, 0, kContainer));
}

}  // namespace
}  // namespace mcpbox::box
