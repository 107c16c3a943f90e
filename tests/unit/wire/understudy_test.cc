// A control group that cannot be had is told, and keeps nobody from starting.
#include "box/init/understudy.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>

#include "box/init/start_report.h"
#include "support/temp_tree.h"

namespace mcpbox::box::init {
namespace {

TEST(Understudy, goes_on_without_a_group_and_says_so) {
  test::TempTree tree;
  wire::BuildCgroup group;
  group.directory = tree.dir("box.1");
  group.servers = {{wire::GroupSetting::Value::kProcesses, "pids.max"}};
  auto groups = ServerGroups::open({group});
  ASSERT_TRUE(groups);
  tree.dir("box.1/s1");  // in the way of the group
  Roots roots;
  Understudy next(roots, *groups, {});
  wire::Spawn spec;
  spec.id = "one";
  spec.argv = {"/nowhere/program"};
  spec.uid = spec.gid = 12345;
  spec.cwd = "/";
  auto report = make_start_report();
  ASSERT_TRUE(report);
  const auto taken = next.take(spec, {0, 1, 2}, report->write.get());
  ASSERT_TRUE(taken);
  report->write.reset();
  pollfd there{report->read.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&there, 1, 10'000), 1);
  StartReport packet;
  ASSERT_EQ(receive_report(report->read.get(), packet), Received::kPacket);
  EXPECT_EQ(packet.kind, StartReport::Kind::kNoGroup);
  EXPECT_EQ(packet.error.error_number, EEXIST);
  ASSERT_EQ(::poll(&there, 1, 10'000), 1);
  ASSERT_EQ(receive_report(report->read.get(), packet), Received::kPacket);
  EXPECT_EQ(packet.kind, StartReport::Kind::kError) << "of the program, which is not there";
  EXPECT_NE(packet.error.step.find("control group"), 0u);
  ::waitpid(taken->pid, nullptr, 0);
}

}  // namespace
}  // namespace mcpbox::box::init
