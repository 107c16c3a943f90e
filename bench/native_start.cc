// How long a native sandbox takes to start, next to bubblewrap in the same run; and how long `mcpbox run --engine
// native` takes to the first reply, next to the command alone. Needs no container engine.
//
// usage: native_start [ROUNDS]
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/unique_fd.h"
#include "box/native/engine.h"
#include "box/sandbox.h"
#include "usage.h"

namespace {

using namespace mcpbox;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point began) {
  return std::chrono::duration<double, std::milli>(Clock::now() - began).count();
}

void report(const char* what, std::vector<double> times) {
  if (times.empty()) return fmt::print("{:<52} not there\n", what);
  std::ranges::sort(times);
  fmt::print("{:<52} p50 {:6.1f} ms  p95 {:6.1f} ms\n", what, times[times.size() / 2], times[times.size() * 95 / 100]);
}

// Starts a program, writes a line and waits for the line that comes back. Negative when it failed.
double first_reply(std::vector<std::string> words) {
  int to[2], from[2];
  if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0) return -1;
  UniqueFd to_read(to[0]), to_write(to[1]), from_read(from[0]), from_write(from[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, to_read.get(), 0);
  ::posix_spawn_file_actions_adddup2(&actions, from_write.get(), 1);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const auto began = Clock::now();
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return -1;
  from_write.reset();
  constexpr std::string_view kLine = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n";
  char byte = 0;
  double took = -1;
  if (::write(to_write.get(), kLine.data(), kLine.size()) > 0 && ::read(from_read.get(), &byte, 1) == 1)
    took = since(began);
  to_write.reset();
  while (::read(from_read.get(), &byte, 1) > 0) {
  }
  ::waitpid(pid, nullptr, 0);
  return took;
}

}  // namespace

int main(int argc, char** argv) {
  if (const auto code = mcpbox::bench::usage(argc, argv, 1,
                                             "native_start [ROUNDS]\n"
                                             "         ROUNDS of each (40). Prints how long a native sandbox takes "
                                             "until its PID 1 answers, bwrap beside it, and\n"
                                             "         `mcpbox run --engine native` to the first reply.\n"))
    return *code;
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 40;
  const std::string bin = std::filesystem::canonical("/proc/self/exe").parent_path().parent_path().string() + "/bin";
  const std::string echo = std::filesystem::canonical("/proc/self/exe").parent_path().string() + "/bench_echo";
  std::string folder = "/tmp/mcpbox-bench-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return 1;
  for (const char* name : {"/run", "/state"}) {
    if (::mkdir((folder + name).c_str(), 0700) != 0) return 1;
  }

  boost::asio::io_context loop;
  auto engine = box::make_native_engine(loop.get_executor(), {folder + "/state", bin + "/mcpbox-init"});
  std::vector<double> ours, bwrap, direct, through;
  const auto measure = [&]() -> Task<void> {
    auto info = co_await engine->probe();
    if (!info) {
      fmt::print(stderr, "native_start: {}\n", info.error().message());
      co_return;
    }
    for (int i = 0; i < rounds; ++i) {
      box::SandboxOptions options;
      options.instance = random_hex(16);
      options.name = "bench";
      options.profile.image = "host";
      options.init_path = bin + "/mcpbox-init";
      options.run_dir = folder + "/run";
      options.uids = info->traits.uids;
      options.ephemeral = true;
      const auto began = Clock::now();
      auto session = co_await box::Sandbox::open(*engine, std::move(options));
      if (!session) {
        fmt::print(stderr, "native_start: {}\n", session.error().message());
        co_return;
      }
      ours.push_back(since(began));
      (void)co_await (*session)->close();
      const auto other = Clock::now();
      pid_t pid = -1;
      std::vector<std::string> words{"bwrap",  "--unshare-all", "--ro-bind", "/",    "/",
                                     "--proc", "/proc",         "--dev",     "/dev", "true"};
      std::vector<char*> arguments;
      for (std::string& word : words) arguments.push_back(word.data());
      arguments.push_back(nullptr);
      int status = 1;
      if (::posix_spawnp(&pid, "bwrap", nullptr, nullptr, arguments.data(), environ) == 0) ::waitpid(pid, &status, 0);
      if (status == 0) bwrap.push_back(since(other));
    }
  };
  boost::asio::co_spawn(loop, measure(), [](std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
  });
  loop.run();

  ::setenv("MCPBOX_STATE_DIR", (folder + "/state").c_str(), 1);
  ::setenv("MCPBOX_RUN_DIR", (folder + "/run").c_str(), 1);
  const std::string tool = std::filesystem::path(echo).parent_path().string();
  for (int i = 0; i < rounds; ++i) {
    if (const double took = first_reply({echo}); took >= 0) direct.push_back(took);
    const double took =
        first_reply({bin + "/mcpbox", "run", "--engine", "native", "--network", "none", "--mount", tool, "--", echo});
    if (took >= 0) through.push_back(took);
  }
  report("sandbox up, supervisor answering", ours);
  report("bwrap --unshare-all --proc --dev … true", bwrap);
  report("a command alone, to its first reply", direct);
  report("mcpbox run --engine native, to the first reply", through);
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return ours.empty() || through.empty() ? 1 : 0;
}
