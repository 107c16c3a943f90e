#include "box/init/disk_watch.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
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

}  // namespace
}  // namespace mcpbox::box::init
