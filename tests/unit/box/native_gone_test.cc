// What cannot be looked at is not gone: the native engine without descriptors, and with records that cannot be read.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <filesystem>

#include "base/text.h"
#include "box/native/engine.h"
#include "box/native/record.h"
#include "box/wire/build_spec.h"
#include "net/wait.h"
#include "support/no_descriptors.h"
#include "support/result_matcher.h"
#include "support/run_task.h"
#include "support/temp_tree.h"
#include "sys/small_file.h"

namespace mcpbox::box {
namespace {

using test::fails;
using test::succeeds;

// Field 22 of /proc/PID/stat; the name of such a child holds no space.
std::string start_of(pid_t pid) {
  const std::string stat = sys::read_file(fmt::format("/proc/{}/stat", pid)).value();
  return std::string(split(stat, ' ')[21]);
}

struct NativeGone : testing::Test {
  test::TempTree tree;
  boost::asio::io_context loop;
  std::unique_ptr<Engine> engine = make_native_engine(loop.get_executor(), {tree.dir("state"), "/nonexistent/init"});
  std::string boot{trim(sys::read_file("/proc/sys/kernel/random/boot_id").value())};
  std::vector<pid_t> children;

  ~NativeGone() override {
    for (const pid_t child : children) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    }
  }
  pid_t child() {
    const pid_t pid = ::fork();
    if (pid == 0) {
      for (;;) ::pause();
    }
    children.push_back(pid);
    return pid;
  }
  // In place of PID 1 and its keeper.
  std::string sandbox(const std::string& name, pid_t keeper, pid_t first) {
    NativeRecord record;
    record.id = name + ".00000001";
    record.name = name;
    record.boot = boot;
    record.volumes = {"own"};
    tree.file("state/native/sandboxes/" + name + "/record", write_record(record));
    if (keeper != 0) {
      tree.file("state/native/sandboxes/" + name + "/pid",
                fmt::format("{} {} {} {}\n", keeper, start_of(keeper), first, start_of(first)));
    }
    return record.id;
  }
  std::string directory(const std::string& name) { return tree.path("state/native/sandboxes/" + name); }
  template <class T>
  T run(Task<T> task) {
    return test::run_task(loop, std::move(task));
  }
  static std::size_t open_files() {
    std::size_t count = 0;
    for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) count += !each.path().empty();
    return count;
  }
};

TEST_F(NativeGone, a_sandbox_that_cannot_be_looked_at_is_neither_gone_nor_ended) {
  const std::string id = sandbox("one", child(), child());
  ASSERT_TRUE(run(engine->inspect(id))->running);
  {
    const test::NoDescriptors none;
    EXPECT_THAT(run(engine->inspect(id)), fails(Code::kResourceExhausted));
    EXPECT_THAT(run(engine->remove(id)), fails(Code::kResourceExhausted));
    EXPECT_THAT(run(engine->list({})), fails(Code::kResourceExhausted));
    EXPECT_THAT(run(engine->list_volumes({})), fails(Code::kResourceExhausted));
    EXPECT_THAT(run(engine->remove_volume("own")), fails(Code::kResourceExhausted));
  }
  {
    const test::NoDescriptors one(1);  // enough for the directory
    EXPECT_THAT(run(engine->list({})), fails(Code::kResourceExhausted));
    EXPECT_THAT(run(engine->remove_volume("own")), fails(Code::kResourceExhausted));
  }
  EXPECT_TRUE(run(engine->inspect(id))->running);
  EXPECT_EQ(run(engine->list({}))->size(), 1u);
}

TEST_F(NativeGone, a_pid_file_that_cannot_be_read_says_nothing_about_the_end) {
  const std::string id = sandbox("one", child(), child());
  std::filesystem::rename(directory("one") + "/pid", directory("one") + "/was");
  std::filesystem::create_symlink("was", directory("one") + "/pid");
  EXPECT_THAT(run(engine->inspect(id)), fails(Code::kPermissionDenied, "/pid"));
  EXPECT_THAT(run(engine->remove(id)), fails(Code::kPermissionDenied, "/pid"));
  EXPECT_THAT(run(engine->list({})), fails(Code::kPermissionDenied, "/pid"));
}

TEST_F(NativeGone, directories_without_a_record_are_no_sandboxes) {
  sandbox("one", child(), child());
  tree.dir("state/native/sandboxes/half");
  tree.file("state/native/sandboxes/broken/record", "{");
  auto found = run(engine->list({}));
  ASSERT_THAT(found, succeeds());
  EXPECT_EQ(found->size(), 1u);
}

TEST_F(NativeGone, a_sandbox_that_is_being_made_uses_its_volumes) {
  tree.dir("state/native/volumes/own/data");
  sandbox("one", 0, 0);
  EXPECT_THAT(run(engine->remove_volume("own")), fails(Code::kFailedPrecondition, "one"));
}

// Killed by the kernel for memory, or by us for being slow: nobody but us can take it back.
TEST_F(NativeGone, what_a_builder_began_that_ended_without_an_answer_is_removed) {
  wire::BuildReply reply;
  reply.made = true;
  wire::Encoder encoder;
  encoder(reply);
  tree.file("reply", encoder.take());
  const std::string place = directory("one");
  const std::string script = "#!/bin/sh\ncat <&3 >'" + tree.path("spec") + "'\n" + "if grep -aq '\"id\":' '" +
                             tree.path("spec") + "'; then\n" +  // a sandbox; else a removal
                             "  mkdir -p '" + place + "'\n" + "  grep -ao '{\"boot\".*\"volumes\":\\[[^]]*\\]}' '" +
                             tree.path("spec") + "' >'" + place + "/record'\n  kill -9 $$\nfi\nrm -r '" + place +
                             "'\ncat '" + tree.path("reply") + "' >&4\n";
  tree.file("init", script, 0755);
  engine = make_native_engine(
      loop.get_executor(),
      {.state_dir = tree.path("state"), .init_path = tree.path("init"), .cgroup_root = tree.dir("none")});
  SandboxSpec spec;
  spec.name = "one";
  spec.profile.image = "host";
  spec.init_argv = {"/.box/mcpbox-init"};
  EXPECT_THAT(run(engine->create(spec)), fails(Code::kInternal, "without an answer"));
  EXPECT_TRUE(std::filesystem::exists(tree.path("spec")));
  EXPECT_FALSE(std::filesystem::exists(place));
}

TEST_F(NativeGone, a_volume_that_was_half_removed_is_whole_again) {
  tree.file("state/native/volumes/own/labels", "{}");
  ASSERT_THAT(run(engine->ensure_volume("own", {})), succeeds());
  struct stat info{};
  ASSERT_EQ(::stat(tree.path("state/native/volumes/own/data").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0711u);
  EXPECT_EQ(run(engine->list_volumes({})).value(), std::vector<std::string>{"own"});
  tree.file("state/native/volumes/own/data/kept", "x");
  ASSERT_THAT(run(engine->ensure_volume("own", {})), succeeds());
  EXPECT_TRUE(std::filesystem::exists(tree.path("state/native/volumes/own/data/kept")));
  for (const auto& each : std::filesystem::directory_iterator(tree.path("state/native/volumes")))
    EXPECT_EQ(each.path().filename(), "own");
}

TEST_F(NativeGone, a_cancelled_wait_for_the_end_leaves_no_descriptor) {
  const pid_t first = child();
  const std::string id = sandbox("one", child(), first);
  ::kill(first, SIGKILL);
  ::waitpid(first, nullptr, 0);
  std::erase(children, first);
  run([]() -> Task<bool> {  // the loop opens what it needs
    co_await net::sleep_for(std::chrono::milliseconds(1));
    co_return true;
  }());
  const std::size_t before = open_files();
  const auto waits = [&] { return open_files() > before; };
  EXPECT_FALSE(test::run_cancelled(loop, engine->inspect(id), waits, std::chrono::seconds(10)));
  loop.restart();
  loop.run_for(std::chrono::milliseconds(50));
  EXPECT_EQ(open_files(), before);
}

}  // namespace
}  // namespace mcpbox::box
