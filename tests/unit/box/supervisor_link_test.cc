#include "box/link/supervisor_link.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "box/disk_bound.h"
#include "box/process.h"
#include "support/said_to_options.h"

namespace mcpbox::box {
namespace {

std::string frame(wire::MessageType type, std::uint64_t id, std::string_view payload, std::uint16_t fds = 0) {
  return *wire::encode_frame(type, id, fds, payload);
}
std::vector<UniqueFd> some_fds(int count) {
  std::vector<UniqueFd> out;
  for (int i = 0; i < count; ++i) out.emplace_back(::open("/dev/null", O_RDWR | O_CLOEXEC));
  return out;
}

TEST(SupervisorLink, numbers_requests) {
  SupervisorLink link;
  auto first = link.request(wire::List{});
  auto second = link.request(wire::Forget{"x"});
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->id, 1u);
  EXPECT_EQ(second->id, 2u);
  wire::FrameReader reader;
  reader.feed(second->bytes);
  auto sent = reader.next();
  ASSERT_TRUE(sent && *sent);
  EXPECT_EQ((*sent)->type, wire::MessageType::kForget);
  EXPECT_EQ(wire::decode<wire::Forget>((*sent)->payload)->id, "x");
}

TEST(SupervisorLink, refuses_a_request_that_is_too_large) {
  SupervisorLink link;
  EXPECT_EQ(link.request(wire::Forget{std::string(wire::kMaxString + 1, 'x')}).error().code(), Code::kInvalidArgument);
}

TEST(SupervisorLink, says_what_to_do_when_no_more_processes_can_be_made) {
  const Error error = to_error(wire::make_errno_error(EAGAIN, "start a helper: fork"));
  EXPECT_EQ(error.code(), Code::kResourceExhausted);
  EXPECT_TRUE(error.message().starts_with(
      "start a helper: fork: Resource temporarily unavailable; the sandbox or the server "));
  for (const char* name : {"pids_limit of box.limits", "raise", "isolation: dedicated"})
    EXPECT_NE(error.message().find(name), std::string::npos) << name;
  EXPECT_EQ(to_error(wire::make_errno_error(EIO, "read x")).message().find("raise"), std::string::npos);
  EXPECT_EQ(to_error(wire::make_errno_error(EAGAIN, "open 'start'")).message().find("raise"), std::string::npos)
      << "somebody has a lease on the file";
  const test::SaidToOptions options;
  EXPECT_NE(to_error(wire::make_errno_error(EAGAIN, "fork")).message().find("(--pids)"), std::string::npos);
}

TEST(SupervisorLink, finds_replies_and_events_in_any_cut) {
  const std::string bytes =
      frame(wire::MessageType::kReply, 1, "one") +
      frame(wire::MessageType::kExited, 0, *wire::encode(wire::Exited{"p", {3, 0, false, {}, 1, 2, 3}})) +
      frame(wire::MessageType::kErrorReply, 2, *wire::encode(wire::make_errno_error(ENOENT, "exec 'foo'")));
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    SupervisorLink link;
    ASSERT_TRUE(link.feed(bytes.substr(0, cut), {}));
    ASSERT_TRUE(link.feed(bytes.substr(cut), {}));
    auto reply = link.next();
    ASSERT_TRUE(reply);
    EXPECT_EQ(std::get<SupervisorLink::Reply>(*reply).payload.value(), "one");
    auto exited = link.next();
    ASSERT_TRUE(exited);
    EXPECT_EQ(std::get<wire::Exited>(*exited).exit.code, 3);
    auto error = link.next();
    ASSERT_TRUE(error);
    EXPECT_EQ(std::get<SupervisorLink::Reply>(*error).id, 2u);
    EXPECT_EQ(std::get<SupervisorLink::Reply>(*error).payload.error().message(),
              "exec 'foo': No such file or directory");
    EXPECT_EQ(std::get<SupervisorLink::Reply>(*error).payload.error().code(), Code::kNotFound);
    EXPECT_FALSE(link.next());
  }
}

TEST(SupervisorLink, gives_each_reply_its_own_descriptors) {
  SupervisorLink link;
  const std::string bytes = frame(wire::MessageType::kReply, 1, "", 1) + frame(wire::MessageType::kReply, 2, "", 2);
  ASSERT_TRUE(link.feed(bytes, some_fds(3)));
  EXPECT_EQ(std::get<SupervisorLink::Reply>(*link.next()).fds.size(), 1u);
  EXPECT_EQ(std::get<SupervisorLink::Reply>(*link.next()).fds.size(), 2u);
}

TEST(SupervisorLink, gives_up_on_a_peer_that_breaks_the_protocol) {
  EXPECT_EQ(SupervisorLink().feed(frame(wire::MessageType::kReply, 1, "", 1), {}).error().code(), Code::kDataLoss);
  EXPECT_FALSE(SupervisorLink().feed(frame(wire::MessageType::kSpawn, 1, ""), {}));
  EXPECT_FALSE(SupervisorLink().feed(frame(wire::MessageType::kExited, 0, "x"), {}));
  EXPECT_FALSE(SupervisorLink().feed(frame(wire::MessageType::kErrorReply, 1, "x"), {}));
  EXPECT_FALSE(SupervisorLink().feed("", some_fds(300)));
}

TEST(SupervisorLink, makes_a_peers_words_printable) {
  const Error error = to_error(wire::make_error(Code::kInternal, "a\x1b[2J", "b\nc"));
  EXPECT_EQ(error.message().find('\x1b'), std::string::npos);
  EXPECT_EQ(error.message().find('\n'), std::string::npos);
}

TEST(ProcessExit, describes_itself) {
  ProcessExit exit;
  exit.code = 3;
  EXPECT_EQ(exit.describe(), "exit code 3");
  exit.code = -1;
  exit.signal = 9;
  EXPECT_EQ(exit.describe(), "killed by SIGKILL");
  exit.killed_for_memory = true;
  EXPECT_EQ(exit.describe(), "killed by SIGKILL (out of memory)");
  exit.killed_for_memory = false;
  exit.signal = 60;
  EXPECT_EQ(exit.describe(), "killed by signal 60");
  EXPECT_EQ(exit.advice(), "");
}

TEST(ProcessExit, names_the_limit_that_was_passed_and_what_was_used) {
  ProcessExit exit;
  exit.signal = 9;
  exit.limit = {LimitKind::kMemory, 1536ull << 20, (1612ull << 20) - 1};
  EXPECT_EQ(exit.describe(), "it used 1,612 MiB of memory, its limit is 1,536 (box.memory_mb)");
  EXPECT_EQ(exit.sentence("one"),
            "server 'one' was ended: it used 1,612 MiB of memory, its limit is 1,536 (box.memory_mb); raise "
            "the limit if it needs more, or find out what it needs it for");
  exit.limit = {LimitKind::kProcesses, 512, 512};
  EXPECT_EQ(exit.describe(), "it used 512 processes and threads, its limit is 512 (box.pids_limit)");
  exit.limit = {LimitKind::kDisk, 16ull << 20, (16ull << 20) + 1};
  EXPECT_EQ(exit.describe(), "it used 17 MiB of disk, its limit is 16 (box.disk_mb)");
  exit.limit = {LimitKind::kFiles, 200'000, 1'200'001};
  EXPECT_EQ(exit.describe(), "it used 1,200,001 files, its limit is 200,000 (box.max_files)");
  exit.limit = {LimitKind::kFiles, 200'000, (1ull << 40) + 1200};
  EXPECT_EQ(
      exit.sentence("one"),
      "server 'one' was ended: it has a folder in which nobody can count, below 500 others in each other or closed "
      "to its own user; its limit is 200,000 files (box.max_files); find out what makes such folders");
  exit.limit = {LimitKind::kFloor, 1ull << 30, 5ull << 30};
  EXPECT_EQ(exit.describe(),
            "the disk was about to be full (1,024 MiB have to stay free), and it wrote most: 5,120 MiB lately");
  {
    const test::SaidToOptions said;
    exit.limit = {LimitKind::kMemory, 1536ull << 20, (1612ull << 20) - 1};
    EXPECT_EQ(exit.describe(), "it used 1,612 MiB of memory, its limit is 1,536 (--memory)");
    exit.limit = {LimitKind::kFloor, 1ull << 30, 5ull << 30};
    EXPECT_EQ(exit.advice(), "free space on that file system, or lower --disk");
  }
  exit.limit.which = static_cast<LimitKind>(99);  // of a newer PID 1
  EXPECT_FALSE(exit.describe().empty());
}

struct FullBound final : DiskBound {
  Task<Result<void>> tighten(ServerLimits) override { co_return Result<void>{}; }
  PassedLimit reached() const override {
    return full ? PassedLimit{LimitKind::kDisk, 27ull << 20, 29ull << 20} : PassedLimit{};
  }
  bool full = true;
};

TEST(ProcessExit, says_what_the_file_system_refused_to_who_failed_by_itself) {
  FullBound bound;
  ProcessExit failed;
  failed.code = 1;
  explain_end(failed, nullptr);
  EXPECT_EQ(failed.describe(), "exit code 1");
  explain_end(failed, &bound);
  EXPECT_EQ(failed.sentence("one"),
            "server 'one' ended: exit code 1, after its file system had refused it more: it used 29 MiB of disk, its "
            "limit is 27 (box.disk_mb); raise the limit if it needs more, or find out what it writes");
  ProcessExit done, stopped, ended;
  done.code = 0;
  stopped.signal = SIGTERM;
  ended.signal = SIGKILL;
  ended.limit = {LimitKind::kMemory, 1, 2};
  for (ProcessExit* exit : {&done, &stopped, &ended}) explain_end(*exit, &bound);
  EXPECT_EQ(done.describe(), "exit code 0");
  EXPECT_EQ(stopped.describe(), "killed by SIGTERM");
  EXPECT_EQ(ended.limit.which, LimitKind::kMemory);
  bound.full = false;
  ProcessExit other;
  other.code = 3;
  explain_end(other, &bound);
  EXPECT_EQ(other.describe(), "exit code 3");
}

}  // namespace
}  // namespace mcpbox::box
