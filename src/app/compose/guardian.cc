#include "app/compose/guardian.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <utility>

#include "app/compose/engine_setup.h"
#include "app/compose/runtime.h"
#include "base/text.h"
#include "box/engines/locator.h"
#include "box/sandbox.h"
#include "net/wait.h"
#include "sys/process_name.h"
#include "sys/unix_listener.h"

namespace mcpbox::app {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kDone = '\n';  // after the fields, which are ended by NUL each
constexpr std::size_t kMaxWatch = 64u << 10;

struct Watch {
  std::string owner;
  std::string engine;
  std::string instance;
  std::string run_dir;
  std::vector<std::string> names;
};

void remove_control_directory(const Watch& watch, const std::string& name) {
  const std::string dir = watch.run_dir + "/" + name;
  ::unlink((dir + "/control.sock").c_str());
  sys::remove_stale_socket(dir + "/egress.sock", std::chrono::seconds(2));  // its proxy ends when we are gone
  ::rmdir(dir.c_str());
}

Task<int> tidy(Runtime& runtime, const Watch& watch) {
  auto options = locator_options(watch.engine);
  auto located = options ? co_await box::locate_engine(runtime.loop.get_executor(), std::move(*options))
                         : Result<box::LocatedEngine>(fail(std::move(options).error()));
  if (located) {
    // An engine goes on with a request whose client is gone, so a container may appear a moment after our end.
    const auto end = Clock::now() + std::chrono::seconds(30);
    auto quiet_since = Clock::now();
    while (Clock::now() < end && Clock::now() - quiet_since < std::chrono::seconds(2)) {
      box::Labels labels = box::instance_labels(watch.instance);
      labels[box::kOwnerLabel] = watch.owner;
      auto found = co_await located->engine->list(std::move(labels));
      if (!found || !found->empty()) quiet_since = Clock::now();
      if (found) {
        for (const box::SandboxState& sandbox : *found) (void)co_await located->engine->remove(sandbox.id);
      }
      co_await net::sleep_for(std::chrono::milliseconds(200));
    }
  }
  for (const std::string& name : watch.names) remove_control_directory(watch, name);
  co_return 0;
}

// Until the other end is closed: by dismissal, or because its process is no more.
std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t size = ::read(fd, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0 || text.size() > kMaxWatch) return text;
    text.append(buffer.data(), static_cast<std::size_t>(size));
  }
}

[[noreturn]] void guard(std::string owner, int pipe) {
  // Signals to the client's process group, or to a terminal's, are not meant for us.
  ::setsid();
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) ::signal(number, SIG_IGN);
  ::prctl(PR_SET_NAME, "mcpbox-guardian");
  const int null = ::open("/dev/null", O_RDWR);
  if (null < 0 || ::dup2(pipe, 3) < 0) ::_exit(1);
  for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
  ::close_range(4, UINT_MAX, 0);
  (void)!::chdir("/");

  const std::string text = read_all(3);
  if (text.empty() || text.back() == kDone) ::_exit(0);
  const auto fields = split(text, '\0');
  if (fields.size() < 4) ::_exit(0);
  Watch watch{std::move(owner), std::string(fields[0]), std::string(fields[1]), std::string(fields[2]), {}};
  for (std::size_t i = 3; i < fields.size(); ++i) {
    if (!fields[i].empty() && fields[i].find('/') == std::string_view::npos) watch.names.emplace_back(fields[i]);
  }
  ::_exit(run_on_loop([&watch](Runtime& runtime) { return tidy(runtime, watch); }));
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t size = ::write(fd, text.data(), text.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(size));
  }
}

}  // namespace

Guardian Guardian::start() {
  Guardian guardian;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return guardian;
  const UniqueFd read_end(ends[0]);
  guardian.pipe_ = UniqueFd(ends[1]);
  auto owner = sys::own_process();
  if (!owner) {
    guardian.pipe_.reset();
    return guardian;
  }
  const pid_t child = ::fork();
  if (child == 0) guard(std::move(*owner), read_end.get());
  if (child < 0) guardian.pipe_.reset();
  return guardian;
}

void Guardian::watch(std::string_view engine_address, std::string_view instance, std::string_view run_dir,
                     const std::vector<std::string>& names) {
  if (!pipe_) return;
  std::string text;
  for (const std::string_view field : {engine_address, instance, run_dir}) {
    text += field;
    text += '\0';
  }
  for (const std::string& name : names) {
    text += name;
    text += '\0';
  }
  write_all(pipe_.get(), text);
}

void Guardian::dismiss() {
  if (!pipe_) return;
  write_all(pipe_.get(), std::string_view(&kDone, 1));
  pipe_.reset();
}

}  // namespace mcpbox::app
