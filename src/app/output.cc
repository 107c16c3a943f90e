#include "app/output.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "app/exit_code.h"
#include "base/secrets.h"

namespace mcpbox::app {
namespace {

constexpr std::size_t kCollect = 64u << 10;
constexpr int kStderrPatience = 2000;  // milliseconds that a stderr that takes nothing may hold us up

struct Results {
  std::string collected;
  int error = 0;  // of the first write that failed
};

Results& results() {
  static Results instance;
  return instance;
}

// Our caller may have made the file non-blocking. Returns errno, 0 when everything was written.
int write_all(int fd, std::string_view text, int patience) {
  while (!text.empty()) {
    const ssize_t size = ::write(fd, text.data(), text.size());
    if (size >= 0) {
      text.remove_prefix(static_cast<std::size_t>(size));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return errno;
    pollfd room{fd, POLLOUT, 0};
    if (::poll(&room, 1, patience) == 0) return EAGAIN;
  }
  return 0;
}

}  // namespace

void write_out(std::string_view text) {
  Results& out = results();
  if (out.error != 0) return;
  out.collected += text;
  if (out.collected.size() >= kCollect) (void)flush_out();
}

void write_err(std::string_view text) {
  (void)flush_out();
  (void)write_all(STDERR_FILENO, sentence_without_secrets(text), kStderrPatience);
}

bool flush_out() {
  Results& out = results();
  if (out.error == 0) out.error = write_all(STDOUT_FILENO, out.collected, -1);
  out.collected.clear();
  return out.error == 0;
}

int finish(int code) {
  Results& out = results();
  (void)flush_out();
  // Some file systems say only here that the disk is full.
  const int copy = out.error == 0 ? ::dup(STDOUT_FILENO) : -1;
  if (copy >= 0 && ::close(copy) != 0 && errno != EINTR) out.error = errno;
  if (out.error == 0) return code;
  print_err("mcpbox: stdout: {}; the output did not arrive entire\n", std::strerror(out.error));
  return code == kOk ? static_cast<int>(kFailed) : code;
}

}  // namespace mcpbox::app
