#include "box/init/disk_watch.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>

namespace mcpbox::box::init {
namespace {

using namespace std::chrono_literals;

constexpr unsigned kServers = 300;  // more than its link takes at once
constexpr uid_t kFirstServer = 54'000;

// Each is told of, by the first walker and by the one after it. Needs root, as PID 1 is.
TEST(DiskWatchTest, a_walker_knows_all_servers_also_when_it_is_not_the_first) {
  if (::getuid() != 0) return;
  std::string root = testing::TempDir() + "watch-XXXXXX";
  ASSERT_NE(::mkdtemp(root.data()), nullptr);
  ASSERT_EQ(::chmod(root.c_str(), 0755), 0);
  for (const char* name : {"/a", "/b", "/c"}) std::ofstream(root + name) << "x";
  std::set<uid_t> told;
  unsigned rounds = 0;
  EventLoop loop;
  DiskWatch watch(loop, [&](uid_t uid, const wire::PassedLimit&) {
    told.insert(uid);
    if (told.size() < kServers) return;
    told.clear();
    if (++rounds == 2) return loop.stop();
    pid_t walker = 0;
    std::ifstream("/proc/self/task/" + std::to_string(::getpid()) + "/children") >> walker;
    if (walker <= 0) return loop.stop();
    ::kill(walker, SIGKILL);
    ::waitpid(walker, nullptr, 0);
    loop.defer([&watch, walker] { EXPECT_TRUE(watch.reaped(walker)); });
  });
  for (unsigned i = 0; i < kServers; ++i)
    watch.watch(kFirstServer + i, kFirstServer, wire::ServerLimits{0, 0, 0, 1, {root}, {}});
  loop.at(EventLoop::Clock::now() + 30s, [&] { loop.stop(); });
  EXPECT_EQ(loop.run(), 0);
  EXPECT_EQ(rounds, 2u);
  std::filesystem::remove_all(root);
}

struct WatchedFolder : testing::Test {
  WatchedFolder() {
    root = testing::TempDir() + "watch-XXXXXX";
    EXPECT_NE(::mkdtemp(root.data()), nullptr);
    EXPECT_EQ(::chmod(root.c_str(), 0755), 0);
  }
  ~WatchedFolder() override { std::filesystem::remove_all(root); }
  wire::ServerLimits limits(std::uint64_t files) const { return {0, 0, 0, files, {root}, {}}; }

  std::string root;
};

// Each server's folders have names that no message takes: its walker begins with them, and is no broken one.
TEST_F(WatchedFolder, an_order_of_any_length_reaches_a_walker) {
  if (::getuid() != 0) return;
  for (const char* name : {"/a", "/b"}) std::ofstream(root + name) << "x";
  wire::ServerLimits many = limits(1);
  for (int i = 0; i < 4000; ++i) many.own.push_back("/none/" + std::string(100, 'x'));
  EventLoop loop;
  uid_t next = kFirstServer;
  DiskWatch watch(loop, [&](uid_t uid, const wire::PassedLimit&) {
    if (uid != next) return;
    if (++next == kFirstServer + 6) return loop.stop();
    watch.watch(next, kFirstServer, many);
  });
  std::function<void()> reap = [&] {
    if (const pid_t ended = ::waitpid(-1, nullptr, WNOHANG); ended > 0) watch.reaped(ended);
    loop.at(EventLoop::Clock::now() + 10ms, reap);
  };
  reap();
  watch.watch(next, kFirstServer, limits(1));
  loop.at(EventLoop::Clock::now() + 30s, [&] { loop.stop(); });
  EXPECT_EQ(loop.run(), 0);
  EXPECT_EQ(next, kFirstServer + 6);
}

}  // namespace
}  // namespace mcpbox::box::init
