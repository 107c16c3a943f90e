// What the controller does when an answer is missing or late.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "box/link/supervisor.h"
#include "box/wire/messages.h"
#include "support/result_matcher.h"
#include "support/run_task.h"

namespace mcpbox::box {
namespace {

using std::chrono::milliseconds;
using test::fails;
using test::succeeds;
using wire::MessageType;

// A PID 1 that answers as the test says: with bytes for a frame, or not at all.
class ScriptedInit {
 public:
  using Script = std::function<std::string(const wire::Frame&)>;
  explicit ScriptedInit(Script script) : script_(std::move(script)) {
    char pattern[] = "/tmp/mcpbox-spawn-XXXXXX";
    base_ = ::mkdtemp(pattern);
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 4), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~ScriptedInit() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
    std::filesystem::remove_all(base_);
  }
  std::string path() const { return base_ + "/s"; }
  // Everything, once the controller has hung up.
  std::vector<MessageType> all_asked() {
    thread_.join();
    return asked_;
  }

 private:
  void serve() {
    UniqueFd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    wire::FrameReader reader;
    char buffer[4096];
    for (ssize_t got = 0; (got = ::recv(peer.get(), buffer, sizeof buffer, 0)) > 0;) {
      reader.feed(std::string_view(buffer, static_cast<std::size_t>(got)));
      for (auto frame = reader.next(); frame && *frame; frame = reader.next()) {
        const wire::Frame& request = **frame;
        asked_.push_back(request.type);
        const std::string bytes =
            request.type == MessageType::kHello
                ? *wire::encode_frame(MessageType::kReply, request.id, 0,
                                      *wire::encode(wire::HelloReply{wire::kProtocolVersion, 7, true, 5, "6.1"}))
                : script_(request);
        if (!bytes.empty()) ::send(peer.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      }
    }
  }
  Script script_;
  std::string base_;
  UniqueFd listener_;
  std::vector<MessageType> asked_;
  std::thread thread_;
};

template <class Message>
std::string reply(const wire::Frame& request, const Message& message) {
  return *wire::encode_frame(MessageType::kReply, request.id, 0, *wire::encode(message));
}
std::string refusal(const wire::Frame& request, Code code) {
  return *wire::encode_frame(MessageType::kErrorReply, request.id, 0,
                             *wire::encode(wire::make_error(code, "start process 'p'", "no")));
}

ProcessSpec some_process() {
  ProcessSpec spec;
  spec.id = "p";
  spec.argv = {"true"};
  spec.cwd = "/";
  spec.uid = spec.gid = 1'900'000'001;
  return spec;
}

struct SupervisorSpawn : testing::Test {
  boost::asio::io_context loop;
  std::unique_ptr<Supervisor> connect(const ScriptedInit& init) {
    auto made = test::run_task(
        loop, Supervisor::connect(loop.get_executor(), init.path(), std::chrono::seconds(10), milliseconds(200)));
    EXPECT_THAT(made, succeeds());
    return made ? std::move(*made) : nullptr;
  }
  // What the controller asked for until its spawn failed.
  std::vector<MessageType> asked_for(ScriptedInit::Script script, Code expected) {
    ScriptedInit init(std::move(script));
    auto supervisor = connect(init);
    EXPECT_EQ(test::run_task(loop, supervisor->spawn(some_process())).error().code(), expected);
    supervisor.reset();
    return init.all_asked();
  }
};

const std::vector<MessageType> kTakenBack{MessageType::kHello, MessageType::kSpawn, MessageType::kKillUid,
                                          MessageType::kForget};

TEST_F(SupervisorSpawn, what_was_refused_is_left_alone) {
  const auto asked = asked_for([](const wire::Frame& request) { return refusal(request, Code::kAlreadyExists); },
                               Code::kAlreadyExists);
  EXPECT_EQ(asked, (std::vector<MessageType>{MessageType::kHello, MessageType::kSpawn}));
}

TEST_F(SupervisorSpawn, what_was_not_answered_in_time_is_killed_and_forgotten) {
  const auto asked = asked_for(
      [](const wire::Frame& request) -> std::string {
        if (request.type == MessageType::kSpawn) return {};
        if (request.type == MessageType::kKillUid) return reply(request, wire::KillUidReply{0});
        return reply(request, wire::Done{});
      },
      Code::kTimeout);
  EXPECT_EQ(asked, kTakenBack);
}

TEST_F(SupervisorSpawn, what_came_without_its_pipes_is_killed_and_forgotten) {
  const auto asked = asked_for(
      [](const wire::Frame& request) {
        if (request.type == MessageType::kSpawn) return reply(request, wire::SpawnReply{7});
        if (request.type == MessageType::kKillUid) return reply(request, wire::KillUidReply{0});
        return refusal(request, Code::kNotFound);
      },
      Code::kDataLoss);
  EXPECT_EQ(asked, kTakenBack);
}

// It does not want to end: killed again.
TEST_F(SupervisorSpawn, what_still_runs_is_killed_again) {
  int forgets = 0;
  const auto asked = asked_for(
      [&](const wire::Frame& request) -> std::string {
        if (request.type == MessageType::kSpawn) return {};
        if (request.type == MessageType::kKillUid) return reply(request, wire::KillUidReply{1});
        return ++forgets == 2 ? reply(request, wire::Done{}) : refusal(request, Code::kFailedPrecondition);
      },
      Code::kTimeout);
  EXPECT_EQ(std::ranges::count(asked, MessageType::kKillUid), 2);
}

TEST_F(SupervisorSpawn, what_never_ends_is_given_up_after_three_rounds) {
  const auto asked = asked_for(
      [&](const wire::Frame& request) -> std::string {
        if (request.type == MessageType::kSpawn) return {};
        if (request.type == MessageType::kKillUid) return reply(request, wire::KillUidReply{1});
        return refusal(request, Code::kFailedPrecondition);
      },
      Code::kTimeout);
  EXPECT_EQ(std::ranges::count(asked, MessageType::kKillUid), 3);
  EXPECT_EQ(std::ranges::count(asked, MessageType::kForget), 3);
}

// The next controller of the sandbox kills what it finds.
TEST_F(SupervisorSpawn, taking_back_ends_with_the_link) {
  ScriptedInit init([](const wire::Frame& request) -> std::string {
    if (request.type == MessageType::kSpawn) return {};
    return std::string(64, '\xff');  // no frame: the link is given up
  });
  auto supervisor = connect(init);
  EXPECT_THAT(test::run_task(loop, supervisor->spawn(some_process())), fails(Code::kTimeout));
  EXPECT_FALSE(test::run_task(loop, supervisor->spawn(some_process())));
  supervisor.reset();
  EXPECT_EQ(init.all_asked(),
            (std::vector<MessageType>{MessageType::kHello, MessageType::kSpawn, MessageType::kKillUid}));
}

TEST_F(SupervisorSpawn, after_a_cancelled_start_the_next_one_waits_until_it_is_taken_back) {
  std::atomic<int> spawned = 0;
  ScriptedInit init([&](const wire::Frame& request) -> std::string {
    if (request.type == MessageType::kSpawn) return ++spawned == 1 ? std::string() : refusal(request, Code::kNotFound);
    if (request.type == MessageType::kKillUid) return reply(request, wire::KillUidReply{0});
    return reply(request, wire::Done{});
  });
  auto supervisor = connect(init);
  const auto cancelled = test::run_cancelled(loop, supervisor->spawn(some_process()), [&] { return spawned == 1; });
  if (cancelled) EXPECT_THAT(*cancelled, fails(Code::kCancelled));
  EXPECT_THAT(test::run_task(loop, supervisor->spawn(some_process())), fails(Code::kNotFound));
  supervisor.reset();
  auto wanted = kTakenBack;
  wanted.push_back(MessageType::kSpawn);
  EXPECT_EQ(init.all_asked(), wanted);
}

// It waits behind what removes trees.
TEST_F(SupervisorSpawn, a_rename_gets_the_time_of_trees) {
  ScriptedInit init([](const wire::Frame& request) {
    std::this_thread::sleep_for(milliseconds(500));  // more than other requests get
    return reply(request, wire::Done{});
  });
  auto supervisor = connect(init);
  EXPECT_THAT(test::run_task(loop, supervisor->publish("/workspace/a", "/workspace/b", 7)), succeeds());
}

}  // namespace
}  // namespace mcpbox::box
