// Looking at a server's memory as its user, without being in its hands.
#include "box/init/close_look.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <vector>

#include "base/unique_fd.h"

namespace mcpbox::box::init {
namespace {

constexpr uid_t kServer = 1'900'000'011, kNeighbour = 1'900'000'012;
constexpr std::uint64_t kMiB = 1u << 20;

void become(uid_t uid) {
  if (::setresgid(uid, uid, uid) != 0 || ::setresuid(uid, uid, uid) != 0) ::_exit(99);
  ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

struct CloseLook : testing::Test {
  std::vector<pid_t> children;

  ~CloseLook() override {
    for (const pid_t child : children) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    }
  }
  // Returns when `first` has run in the child, which then waits for its end.
  pid_t child(const std::function<void()>& first) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      first();
      (void)!::write(ends[1], "", 1);
      for (;;) ::pause();
    }
    children.push_back(pid);
    ::close(ends[1]);
    char byte = 0;
    EXPECT_EQ(::read(ends[0], &byte, 1), 1);
    ::close(ends[0]);
    return pid;
  }
  static LookRequest request(std::vector<pid_t> pids) {
    LookRequest out;
    out.uid = out.gid = kServer;
    out.pids = std::move(pids);
    out.time = std::chrono::seconds(60);
    return out;
  }
  // In a process of its own, as PID 1 does it.
  static std::uint64_t look(const LookRequest& what) { return whole_look(what).bytes; }
  static LookedClosely whole_look(const LookRequest& what) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      const auto found = parse_look(look_closely(what));
      const std::uint64_t told[] = {found ? found->bytes : ~0ull, found && found->all ? 1u : 0u};
      (void)!::write(ends[1], told, sizeof told);
      ::_exit(0);
    }
    ::close(ends[1]);
    std::uint64_t told[2] = {};
    EXPECT_EQ(::read(ends[0], told, sizeof told), static_cast<ssize_t>(sizeof told));
    ::close(ends[0]);
    ::waitpid(pid, nullptr, 0);
    LookedClosely found;
    found.bytes = told[0];
    found.all = told[1] != 0;
    return found;
  }
};

TEST_F(CloseLook, counts_what_is_shared_once_and_a_neighbours_process_not_at_all) {
  const UniqueFd shared(::memfd_create("shared", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(shared.get(), 64 * kMiB), 0);
  // The kernel touches the pages, so that no sanitizer keeps books about them.
  const auto touch = [&] {
    const int how = MAP_SHARED | MAP_POPULATE;
    if (::mmap(nullptr, 64 * kMiB, PROT_READ | PROT_WRITE, how, shared.get(), 0) == MAP_FAILED) ::_exit(98);
  };
  const auto server = [&] { touch(), become(kServer); };
  const pid_t one = child(server), two = child(server);
  const pid_t neighbour = child([&] { touch(), become(kNeighbour); });
  // What a process of this program has in any case, which a sanitizer makes more.
  const auto nothing = [] { become(kServer); };
  const std::uint64_t others = look(request({child(nothing), child(nothing)}));
  // Of three who share it each has a third.
  EXPECT_GT(look(request({one, two})), 40 * kMiB);
  EXPECT_LT(look(request({one, two})), others + 60 * kMiB);
  EXPECT_EQ(look(request({neighbour})), 0u);
}

TEST_F(CloseLook, is_over_in_its_time_also_when_those_it_looked_at_count_nothing) {
  const pid_t server = child([] { become(kServer); });
  const pid_t neighbour = child([] { become(kNeighbour); });
  LookRequest hurried = request({server, server});
  hurried.time = std::chrono::milliseconds(0);
  const LookedClosely one = whole_look(hurried);
  EXPECT_GT(one.bytes, 0u) << "one it always looks at";
  EXPECT_FALSE(one.all);
  hurried.pids = {neighbour, neighbour, server};
  const LookedClosely none = whole_look(hurried);
  EXPECT_EQ(none.bytes, 0u);
  EXPECT_FALSE(none.all);
}

TEST_F(CloseLook, is_out_of_reach_for_whom_it_looks_at) {
  const pid_t server = child([] { become(kServer); });
  std::vector<pid_t> many(1'000'000, server);
  const pid_t looking = ::fork();
  if (looking == 0) {
    (void)look_closely(request(std::move(many)));
    ::_exit(0);
  }
  children.push_back(looking);
  // Once it has the server's user as its effective one it looks.
  const auto effective = [looking] {
    char name[64];
    ::snprintf(name, sizeof name, "/proc/%d/status", looking);
    UniqueFd file(::open(name, O_RDONLY | O_CLOEXEC));
    char text[2048] = {};
    (void)!::read(file.get(), text, sizeof text - 1);
    unsigned real = 0, own = 0, caps = 1;
    const char* line = ::strstr(text, "\nUid:\t");
    if (line != nullptr) ::sscanf(line, "\nUid:\t%u %u", &real, &own);
    line = ::strstr(text, "\nCapEff:\t");
    if (line != nullptr) ::sscanf(line, "\nCapEff:\t%x", &caps);
    return caps == 0 ? own : 0;
  };
  for (int i = 0; i < 20'000 && effective() != kServer; ++i) ::usleep(1000);
  ASSERT_EQ(effective(), kServer);
  const pid_t attacker = ::fork();
  if (attacker == 0) {
    become(kServer);
    int hits = 0;
    if (::kill(looking, SIGSTOP) == 0) hits |= 1;
    if (::kill(looking, SIGKILL) == 0) hits |= 2;
    const sched_param none{};
    if (::sched_setscheduler(looking, SCHED_IDLE, &none) == 0) hits |= 4;
    if (::setpriority(PRIO_PROCESS, static_cast<id_t>(looking), 19) == 0) hits |= 8;
    rlimit nothing{0, 0};
    if (::prlimit(looking, RLIMIT_CPU, &nothing, nullptr) == 0) hits |= 16;
    cpu_set_t processor;
    CPU_ZERO(&processor);
    CPU_SET(0, &processor);
    if (::sched_setaffinity(looking, sizeof processor, &processor) == 0) hits |= 32;
    ::_exit(hits);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(attacker, &status, 0), attacker);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "1 stop, 2 kill, 4 schedule, 8 priority, 16 limit, 32 processors";
}

}  // namespace
}  // namespace mcpbox::box::init
