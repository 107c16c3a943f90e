// mcpbox-init that is started without stdin, stdout and stderr: none of what it opens may take their place.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <filesystem>

#include "integration/init/fixture.h"

namespace mcpbox::test {
namespace {

std::string target_of(pid_t pid, int fd) {
  std::error_code error;
  const auto link = std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd), error);
  return error ? error.message() : link.string();
}

class InitWithoutStdio : public Init {
 protected:
  void SetUp() override { start({}, true); }
};

TEST_F(InitWithoutStdio, opens_dev_null_in_their_place) {
  for (int fd = 0; fd < 3; ++fd) EXPECT_EQ(target_of(sandbox->pid(), fd), "/dev/null") << fd;
}

TEST_F(InitWithoutStdio, gives_servers_their_own_pipes) {
  auto seen = output_of(spec("seen", {"sh", "-c", "readlink /proc/self/fd/0; readlink /proc/self/fd/2 >&2"}));
  EXPECT_TRUE(seen.out.starts_with("pipe:[")) << seen.out;
  EXPECT_TRUE(seen.err.starts_with("pipe:[")) << seen.err;
}

TEST_F(InitWithoutStdio, gives_servers_their_starters_descriptors) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  auto pid = run(supervisor->spawn_direct(spec("direct", {"sh", "-c", "readlink /proc/self/fd/0; echo no >&2"}),
                                          {null.get(), write_end.get(), write_end.get()}));
  ASSERT_THAT(pid, succeeds());
  write_end.reset();
  EXPECT_EQ(read_to_end(read_end.get()), "/dev/null\nno\n");
}

// The mode that makes native sandboxes: it waits for its specification on 3, and answers on 4.
TEST(InitBuilderWithoutStdio, opens_dev_null_in_their_place) {
  int spec[2], reply[2];
  ASSERT_EQ(::pipe2(spec, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(reply, O_CLOEXEC), 0);
  UniqueFd spec_read(::fcntl(spec[0], F_DUPFD_CLOEXEC, 10)), reply_write(::fcntl(reply[1], F_DUPFD_CLOEXEC, 10));
  UniqueFd spec_write(spec[1]), reply_read(reply[0]);
  ::close(spec[0]);
  ::close(reply[1]);
  const std::string program = std::string(::getenv("MCPBOX_BUILD_DIR")) + "/bin/mcpbox-init";
  const pid_t pid = ::fork();
  if (pid == 0) {
    for (int fd = 0; fd < 3; ++fd) ::close(fd);
    ::dup2(spec_read.get(), 3);
    ::dup2(reply_write.get(), 4);
    ::execl(program.c_str(), "mcpbox-init", "--build", nullptr);
    ::_exit(127);
  }
  reply_write.reset();
  // It waits once it reads; by then they are open.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (target_of(pid, 2) != "/dev/null" && std::chrono::steady_clock::now() < deadline) ::usleep(1000);
  for (int fd = 0; fd < 3; ++fd) EXPECT_EQ(target_of(pid, fd), "/dev/null") << fd;
  spec_write.reset();
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 2) << status;  // an empty specification is none
  char byte = 0;
  EXPECT_EQ(::read(reply_read.get(), &byte, 1), 1);  // said so on 4
}

}  // namespace
}  // namespace mcpbox::test
