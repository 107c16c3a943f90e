// A sandbox with its supervisor link, for tests.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>

#include "box/link/supervisor.h"
#include "support/init_sandbox.h"
#include "support/result_matcher.h"
#include "support/run_task.h"

namespace mcpbox::test {

constexpr uid_t kAlice = 1'900'000'001;
constexpr uid_t kBob = 1'900'000'002;

// The priorities of all processes that have the uid, as the host sees them.
constexpr int kIdle = 20;  // as the kernel takes the policy SCHED_IDLE, whatever the nice value is
inline std::set<int> priorities_of(uid_t uid) {
  std::set<int> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    struct stat info{};
    if (::stat(entry.path().c_str(), &info) != 0 || info.st_uid != uid) continue;
    std::string text;
    std::getline(std::ifstream(entry.path() / "stat"), text);
    const std::size_t name = text.rfind(')');
    if (name == std::string::npos) continue;
    std::istringstream fields(text.substr(name + 1));
    std::string field;
    int nice = 0;
    for (int number = 3; number <= 41 && fields >> field; ++number) {
      if (number == 19) nice = ::atoi(field.c_str());
    }
    found.insert(::atoi(field.c_str()) == SCHED_IDLE ? kIdle : nice);
  }
  return found;
}

class Init : public ::testing::Test {
 protected:
  void SetUp() override { start({}); }
  void TearDown() override {
    supervisor.reset();
    sandbox.reset();
  }
  void start(std::vector<std::string> extra, bool closed_stdio = false, bool priorities = true) {
    sandbox = std::make_unique<InitSandbox>(std::move(extra), closed_stdio, priorities);
    supervisor = connect();
    ASSERT_TRUE(supervisor);
    supervisor->on_exit([this](const std::string& id, const box::ProcessExit& how) { exits[id] = how; });
  }
  std::unique_ptr<box::Supervisor> connect(std::chrono::milliseconds request_time = std::chrono::seconds(30)) {
    auto connected =
        run(box::Supervisor::connect(loop.get_executor(), sandbox->socket(), std::chrono::seconds(20), request_time));
    if (!connected) {
      ADD_FAILURE() << connected.error().message();
      return nullptr;
    }
    return std::move(*connected);
  }
  Task<Result<void>> make_tree(std::string path, uid_t uid, gid_t gid, std::vector<std::string> children) {
    return supervisor->prepare({{{std::move(path), uid, gid, std::move(children)}}, {}});
  }
  Task<Result<void>> write_file(std::string path, std::string content) {
    return supervisor->prepare({{}, {{std::move(path), std::move(content)}}});
  }
  template <class T>
  T run(Task<T> task) {
    return run_task(loop, std::move(task));
  }
  static box::ProcessSpec spec(std::string id, std::vector<std::string> argv, uid_t uid = kAlice) {
    box::ProcessSpec out;
    out.id = std::move(id);
    out.argv = std::move(argv);
    out.env = {"PATH=/usr/local/bin:/usr/bin:/bin"};
    out.cwd = "/";
    out.uid = uid;
    out.gid = uid;
    return out;
  }
  box::Supervisor::Spawned must_spawn(box::ProcessSpec what) {
    auto spawned = run(supervisor->spawn(std::move(what)));
    if (!spawned) {
      ADD_FAILURE() << spawned.error().message();
      return {};
    }
    return std::move(*spawned);
  }
  // Runs the loop until the exit was reported.
  box::ProcessExit exit_of(const std::string& id) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    loop.restart();
    while (!exits.contains(id) && std::chrono::steady_clock::now() < deadline) {
      loop.run_one_until(deadline);
      if (loop.stopped()) loop.restart();
    }
    if (!exits.contains(id)) ADD_FAILURE() << "no exit of " << id;
    return exits[id];
  }
  // Starts a program, reads its stdout to the end and waits for it.
  struct Output {
    std::string out, err;
    box::ProcessExit exit;
  };
  Output output_of(box::ProcessSpec what) {
    const std::string id = what.id;
    auto spawned = must_spawn(std::move(what));
    Output result;
    if (!spawned.pipes.out) return result;
    spawned.pipes.in.reset();
    (void)run(supervisor->close_stdin(id));
    result.exit = exit_of(id);
    // PID 1 keeps a copy of our ends, so only of the other ends there is an end; what was written is in the pipe.
    result.out = read_to_end(spawned.pipes.out.get());
    result.err = read_to_end(spawned.pipes.err.get());
    (void)run(supervisor->forget(id));
    exits.erase(id);
    return result;
  }
  // Until end of file, for at most 20 seconds.
  static std::string read_to_end(int fd) {
    std::string out;
    char buffer[4096];
    while (true) {
      pollfd ready{fd, POLLIN, 0};
      if (::poll(&ready, 1, 20'000) <= 0) {
        ADD_FAILURE() << "the output has no end";
        return out;
      }
      const ssize_t got = ::read(fd, buffer, sizeof buffer);
      if (got <= 0) return out;
      out.append(buffer, static_cast<std::size_t>(got));
    }
  }
  static std::string read_line(int fd) {
    std::string out;
    char byte = 0;
    pollfd ready{fd, POLLIN, 0};
    while (::poll(&ready, 1, 20'000) > 0 && ::read(fd, &byte, 1) == 1) {
      if (byte == '\n') return out;
      out += byte;
    }
    ADD_FAILURE() << "no line came, but: " << out;
    return out;
  }
  static void write_text(int fd, std::string_view text) {
    ASSERT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  boost::asio::io_context loop;
  std::map<std::string, box::ProcessExit> exits;
  std::unique_ptr<InitSandbox> sandbox;
  std::unique_ptr<box::Supervisor> supervisor;
};

}  // namespace mcpbox::test
