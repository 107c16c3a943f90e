#include "sys/standard_descriptors.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

namespace mcpbox::sys {
namespace {

// Runs `body` in a child whose descriptors it may close; its result is the exit code.
int in_child(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(StandardDescriptors, those_that_are_closed_are_replaced_and_the_next_file_gets_none_of_their_numbers) {
  for (int closed = 1; closed < 8; ++closed) {
    EXPECT_EQ(in_child([closed] {
                for (int fd = 0; fd < 3; ++fd) {
                  if ((closed >> fd & 1) != 0) ::close(fd);
                }
                if (!open_standard_descriptors()) return 1;
                return ::open("/", O_RDONLY) > 2 ? 0 : 2;
              }),
              0)
        << closed;
  }
}

TEST(StandardDescriptors, stdin_is_at_its_end_stdout_fails_and_stderr_drops) {
  EXPECT_EQ(in_child([] {
              for (int fd = 0; fd < 3; ++fd) ::close(fd);
              if (!open_standard_descriptors()) return 1;
              char byte = 'x';
              if (::read(0, &byte, 1) != 0) return 2;
              if (is_writable(1) || ::write(1, &byte, 1) != -1 || errno != EBADF) return 3;
              return is_writable(2) && ::write(2, &byte, 1) == 1 ? 0 : 4;
            }),
            0);
}

TEST(StandardDescriptors, those_that_are_open_stay_as_they_are) {
  EXPECT_EQ(in_child([] {
              const int marker = ::open("/dev/zero", O_RDWR);
              for (int fd = 0; fd < 3; ++fd) ::dup2(marker, fd);
              if (!open_standard_descriptors()) return 1;
              char byte = 'x';
              return ::read(0, &byte, 1) == 1 && byte == 0 && is_writable(1) ? 0 : 2;
            }),
            0);
}

}  // namespace
}  // namespace mcpbox::sys
