#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/unique_fd.h"
#include "box/link/supervisor_socket.h"
#include "box/wire/messages.h"
#include "integration/init/fixture.h"

namespace mcpbox::test {
namespace {

using InitLifecycle = Init;

TEST_F(InitLifecycle, says_what_the_kernel_can_do) {
  const box::SupervisorInfo& info = supervisor->info();
  EXPECT_EQ(info.protocol_version, box::wire::kProtocolVersion);
  EXPECT_TRUE(info.seccomp);
  EXPECT_NE(info.boot_token, 0u);
  EXPECT_FALSE(info.kernel.empty());
}

TEST_F(InitLifecycle, hands_processes_to_the_next_controller_and_keeps_their_pipes_open) {
  auto cat = must_spawn(spec("cat", {"cat"}));
  auto ended = must_spawn(spec("ended", {"sh", "-c", "echo last words; exit 7"}));
  EXPECT_EQ(exit_of("ended").code, 7);
  const auto token = supervisor->info().boot_token;
  supervisor.reset();
  exits.clear();

  supervisor = connect();
  ASSERT_TRUE(supervisor);
  EXPECT_EQ(supervisor->info().boot_token, token);
  supervisor->on_exit([this](const std::string& id, const box::ProcessExit& how) { exits[id] = how; });
  auto listed = run(supervisor->list());
  ASSERT_THAT(listed, succeeds());
  ASSERT_EQ(listed->size(), 2u);
  EXPECT_EQ((*listed)[0].id, "cat");
  EXPECT_TRUE((*listed)[0].running);
  EXPECT_EQ((*listed)[0].uid, kAlice);
  EXPECT_EQ((*listed)[1].exit->code, 7);
  EXPECT_EQ(exits.at("ended").code, 7);  // replayed
  write_text(cat.pipes.in.get(), "once more\n");
  EXPECT_EQ(read_line(cat.pipes.out.get()), "once more");
}

TEST_F(InitLifecycle, lets_a_second_controller_take_over) {
  std::string lost;
  supervisor->on_lost([&](const Error& error) { lost = error.message(); });
  auto second = connect();
  ASSERT_TRUE(second);
  EXPECT_THAT(run(second->list()), succeeds());
  loop.restart();
  loop.run_for(std::chrono::milliseconds(0));
  for (int turn = 0; turn < 1000 && lost.empty(); ++turn) {
    loop.restart();
    loop.run_one_for(std::chrono::milliseconds(10));
  }
  EXPECT_NE(lost.find("another mcpbox took over"), std::string::npos) << lost;
  EXPECT_EQ(run(supervisor->list()).error().code(), Code::kUnavailable);
  EXPECT_THAT(run(second->list()), succeeds());
}

TEST_F(InitLifecycle, shuts_down_when_told) {
  auto cat = must_spawn(spec("cat", {"cat"}));
  ASSERT_THAT(run(supervisor->shutdown()), succeeds());
  EXPECT_EQ(sandbox->wait(10), 0);
  EXPECT_EQ(read_to_end(cat.pipes.out.get()), "");
}

TEST_F(InitLifecycle, ends_on_sigterm_from_outside) {
  ASSERT_EQ(::kill(sandbox->pid(), SIGTERM), 0);
  EXPECT_EQ(sandbox->wait(10), 0);
}

TEST_F(InitLifecycle, survives_garbage_and_a_controller_that_does_not_read) {
  for (const std::string& garbage :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(64, '\0'), std::string("\xff\xff\xff\xff", 4)}) {
    auto socket = box::connect_unix(sandbox->socket());
    ASSERT_TRUE(socket);
    ASSERT_GT(::send(socket->get(), garbage.data(), garbage.size(), MSG_NOSIGNAL), 0);
    pollfd closed{socket->get(), POLLIN, 0};
    ASSERT_EQ(::poll(&closed, 1, 20'000), 1);
    char byte = 0;
    EXPECT_LE(::recv(socket->get(), &byte, 1, 0), 0);  // dropped
  }
  EXPECT_THAT(run(supervisor->list()), succeeds());

  ASSERT_THAT(run(write_file("/workspace/big", std::string(1 << 20, 'x'))), succeeds());
  auto deaf = box::connect_unix(sandbox->socket());
  ASSERT_TRUE(deaf);
  std::string requests =
      *box::wire::encode_frame(box::wire::MessageType::kHello, 1, 0, *box::wire::encode(box::wire::Hello{}));
  for (std::uint64_t id = 2; id < 40; ++id) {
    requests += *box::wire::encode_frame(box::wire::MessageType::kReadFile, id, 0,
                                         *box::wire::encode(box::wire::ReadFile{"/workspace/big", 1 << 20}));
  }
  ASSERT_EQ(::send(deaf->get(), requests.data(), requests.size(), MSG_NOSIGNAL), static_cast<ssize_t>(requests.size()));
  pollfd hung_up{deaf->get(), 0, 0};
  EXPECT_EQ(::poll(&hung_up, 1, 30'000), 1);  // POLLHUP: it was dropped, with its answers unread
  auto next = connect();
  ASSERT_TRUE(next);
  EXPECT_THAT(run(next->list()), succeeds());
}

class InitEphemeral : public Init {
 protected:
  void SetUp() override { start({"--ephemeral"}); }
};

TEST_F(InitEphemeral, sandbox_ends_with_its_controller) {
  auto cat = must_spawn(spec("cat", {"cat"}));
  supervisor.reset();
  EXPECT_EQ(sandbox->wait(10), 0);
  EXPECT_EQ(read_to_end(cat.pipes.out.get()), "");
}

TEST_F(InitEphemeral, sandbox_survives_a_take_over) {
  auto second = connect();
  ASSERT_TRUE(second);
  supervisor.reset();
  EXPECT_THAT(run(second->list()), succeeds());
}

}  // namespace
}  // namespace mcpbox::test
