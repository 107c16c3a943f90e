// The native engine alone: what a server sees, what it does not reach, what killed sandboxes leave, how long a start
// takes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/keyctl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>

#include "base/digest.h"
#include "base/unique_fd.h"
#include "box/native/engine.h"
#include "box/native/record.h"
#include "box/sandbox.h"
#include "net/wait.h"
#include "support/result_matcher.h"
#include "support/run_task.h"
#include "support/temp_tree.h"

namespace mcpbox::box {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct Native : testing::Test {
  boost::asio::io_context loop;
  test::TempTree folder;
  std::unique_ptr<Engine> engine;
  EngineInfo info;
  std::string instance = random_hex(16);

  void SetUp() override {
    ::chmod(folder.root().c_str(), 0755);
    ::chmod(folder.dir("run").c_str(), 0700);
    ::chmod(folder.dir("tool").c_str(), 0755);
    fs::copy_file(NATIVE_VIEW, folder.path("tool/view.py"));
    engine =
        make_native_engine(loop.get_executor(), {folder.dir("state"), NATIVE_INIT, "/sys/fs/cgroup", {}, {}, one_id()});
    auto probed = run(engine->probe());
    ASSERT_THAT(probed, test::succeeds());
    info = *probed;
  }
  // As an ordinary user without newuidmap: MCPBOX_CONTRACT_ENGINE=native-one-id.
  static bool one_id() {
    const char* engine = std::getenv("MCPBOX_CONTRACT_ENGINE");
    return engine != nullptr && std::string_view(engine) == "native-one-id";
  }
  template <class T>
  T run(Task<T> task) {
    return test::run_task(loop, std::move(task));
  }
  SandboxOptions options(const std::string& name) {
    SandboxOptions out;
    out.instance = instance;
    out.name = name;
    out.profile.image = "host";
    out.profile.mounts = {{Mount::Kind::kBind, folder.path("tool"), "/opt/tool", true, 0}};
    out.init_path = NATIVE_INIT;
    out.run_dir = folder.path("run");
    out.uids = info.traits.uids;
    return out;
  }
  static std::string text_of(const UniqueFd& pipe) {
    const int flags = ::fcntl(pipe.get(), F_GETFL);
    ::fcntl(pipe.get(), F_SETFL, flags & ~O_NONBLOCK);
    std::string out;
    char buffer[4096];
    for (ssize_t got = 0; (got = ::read(pipe.get(), buffer, sizeof buffer)) > 0;)
      out.append(buffer, static_cast<std::size_t>(got));
    return out;
  }
  std::size_t left() {
    std::size_t count = 0;
    std::error_code none;  // nothing was ever made
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder.path("state/native/sandboxes"), none))
      ++count;
    return count;
  }
};

TEST_F(Native, shows_a_server_nothing_of_the_host_and_keeps_the_canaries_out_of_reach) {
  const std::string file = folder.file("canary", "secret", 0644);
  UniqueFd tcp(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(tcp.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(tcp.get(), 4), 0);
  ASSERT_EQ(::getsockname(tcp.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  const std::string name = "mcpbox-canary-" + random_hex(6);
  UniqueFd abstract(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un local{};
  local.sun_family = AF_UNIX;
  name.copy(local.sun_path + 1, name.size());
  ASSERT_EQ(::bind(abstract.get(), reinterpret_cast<sockaddr*>(&local),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())),
            0);
  ASSERT_EQ(::listen(abstract.get(), 4), 0);
  const key_t key = static_cast<key_t>(0x4d430000 + (::getpid() & 0xffff));
  const int shm = ::shmget(key, 4096, IPC_CREAT | 0666);
  ASSERT_GE(shm, 0);
  const std::string key_name = "mcpbox-canary-" + std::to_string(key);
  const long ring_key = ::syscall(SYS_add_key, "user", key_name.c_str(), "canary", 6, KEY_SPEC_USER_KEYRING);
  ASSERT_GE(ring_key, 0);
  // Everybody may look for it and read it, so that nothing but the sandbox is in the way.
  ASSERT_EQ(::syscall(SYS_keyctl, KEYCTL_SETPERM, ring_key, 0x3f3f3f3fu), 0);

  auto session = run(Sandbox::open(*engine, options("view")));
  ASSERT_THAT(session, test::succeeds());
  ProcessSpec spec;
  spec.id = "view";
  spec.argv = {"/usr/bin/env",
               "python3",
               "/opt/tool/view.py",
               file,
               std::to_string(::getpid()),
               std::to_string(ntohs(address.sin_port)),
               name,
               std::to_string(key)};
  spec.env = {"PATH=/usr/local/bin:/usr/bin:/bin"};
  spec.cwd = "/";
  spec.uid = spec.gid = info.traits.uids.first + 5;
  spec.confine.read_only = {"/opt/tool"};
  auto spawned = run((*session)->supervisor().spawn(spec));
  ASSERT_THAT(spawned, test::succeeds());
  spawned->pipes.in.reset();
  std::string seen;
  char buffer[4096];
  for (const UniqueFd* pipe : {&spawned->pipes.out, &spawned->pipes.err}) {
    const int flags = ::fcntl(pipe->get(), F_GETFL);
    ::fcntl(pipe->get(), F_SETFL, flags & ~O_NONBLOCK);
    (void)run((*session)->supervisor().close_stdin("view"));
    for (ssize_t got = 0; (got = ::read(pipe->get(), buffer, sizeof buffer)) > 0;)
      seen.append(buffer, static_cast<std::size_t>(got));
  }
  auto processes = run((*session)->supervisor().list());
  ASSERT_THAT(processes, test::succeeds());
  EXPECT_EQ(processes->size(), 1u);
  EXPECT_THAT(run((*session)->close()), test::succeeds());
  ::shmctl(shm, IPC_RMID, nullptr);
  ::syscall(SYS_keyctl, KEYCTL_UNLINK, ring_key, KEY_SPEC_USER_KEYRING);

  std::ifstream golden(std::string(NATIVE_VIEW).substr(0, std::string(NATIVE_VIEW).rfind('/')) + "/view.golden");
  std::stringstream expected;
  expected << golden.rdbuf();
  EXPECT_EQ(seen, expected.str());
  EXPECT_EQ(seen.find("REACHED"), std::string::npos);
}

TEST_F(Native, leaves_nothing_of_sandboxes_that_are_killed_at_random_moments) {
  std::minstd_rand random(static_cast<unsigned>(::getpid()));
  std::set<pid_t> processes;
  std::vector<std::string> ephemeral;
  const char* asked = std::getenv("MCPBOX_TEST_KILLS");
  const int rounds = asked != nullptr ? std::atoi(asked) : 60;
  for (int i = 0; i < rounds; ++i) {
    SandboxOptions wanted = options("kill-" + std::to_string(i));
    wanted.ephemeral = i % 2 == 0;
    auto session = run(Sandbox::open(*engine, wanted));
    ASSERT_THAT(session, test::succeeds());
    if (wanted.ephemeral) ephemeral.push_back(Sandbox::sandbox_name(wanted));
    auto record = read_sandbox(folder.path("state/native/sandboxes/" + Sandbox::sandbox_name(wanted)));
    ASSERT_TRUE(record);
    processes.insert(record->keeper.pid);
    processes.insert(record->first.pid);
    run([](int microseconds) -> Task<bool> {
      co_await net::sleep_for(std::chrono::milliseconds(microseconds / 1000));
      co_return true;
    }(static_cast<int>(random() % 8000)));
    // The keeper, PID 1, or the controller's end of the link.
    const unsigned victim = random() % 3;
    if (victim == 0) ::kill(record->keeper.pid, SIGKILL);
    if (victim == 1) ::kill(record->first.pid, SIGKILL);
    session->reset();
    EXPECT_THAT(run(engine->remove(record->record.id)), test::succeeds());
    for (const std::string& group : record->record.cgroups) EXPECT_FALSE(fs::exists(group)) << group;
  }
  EXPECT_EQ(left(), 0u);
  // The others' control directories wait for a controller that would adopt them.
  for (const std::string& name : ephemeral) EXPECT_FALSE(fs::exists(folder.path("run/" + name))) << name;
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) EXPECT_EQ(line.find(folder.root()), std::string::npos) << line;
  for (const pid_t pid : processes) {
    std::ifstream comm("/proc/" + std::to_string(pid) + "/comm");
    std::string name;
    std::getline(comm, name);
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::stringstream text;
    text << stat.rdbuf();
    EXPECT_TRUE(name != "mcpbox-init" || text.str().find(") Z ") != std::string::npos) << pid;
  }
}

// By a loss of power between the folder and its record: no list shows it, and its name was taken for ever.
TEST_F(Native, removes_what_a_cut_off_start_left_in_the_place_of_a_sandbox) {
  SandboxOptions wanted = options("cut-off");
  wanted.ephemeral = true;
  const std::string left_there = folder.path("state/native/sandboxes/" + Sandbox::sandbox_name(wanted));
  fs::create_directories(left_there + "/root");
  std::ofstream(left_there + "/record").close();
  const timespec hour_ago{::time(nullptr) - 3600, 0};
  const timespec times[] = {hour_ago, hour_ago};
  ASSERT_EQ(::utimensat(AT_FDCWD, left_there.c_str(), times, 0), 0);
  auto session = run(Sandbox::open(*engine, wanted));
  ASSERT_THAT(session, test::succeeds());
  EXPECT_THAT(run((*session)->close()), test::succeeds());
}

TEST_F(Native, refuses_images_with_a_reason) {
  EXPECT_EQ(run(engine->image("debian:12")).error().code(), Code::kUnsupported);
  EXPECT_EQ(left(), 0u);
}

// A node under nvm's layout, below a home that only its user may enter.
TEST_F(Native, shows_a_toolchain_of_a_home_and_nothing_else_of_it) {
  const std::string prefix = folder.path("home/.nvm/versions/node/v22.1.0");
  fs::create_directories(prefix + "/bin");
  fs::copy_file(fs::canonical("/usr/bin/node"), prefix + "/bin/node");
  folder.file("home/secret", "canary", 0644);
  ::chmod(folder.path("home").c_str(), 0700);
  NativeOptions native{folder.dir("state"), NATIVE_INIT};
  native.tools = {{prefix, prefix}};
  native.tool_path = {prefix + "/bin"};
  native.only_one_id = one_id();
  engine = make_native_engine(loop.get_executor(), native);
  info = *run(engine->probe());
  SandboxOptions wanted = options("tools");
  wanted.tools = info.traits.tools;
  auto session = run(Sandbox::open(*engine, wanted));
  ASSERT_THAT(session, test::succeeds());
  ProcessSpec spec;
  spec.id = "node";
  spec.argv = {"node", "-e",
               "const fs=require('fs'),h=process.argv[1];let "
               "w='no';try{fs.writeFileSync(process.execPath+'.new','')}catch(e){w=e.code}"
               "console.log(process.execPath,fs.existsSync(h+'/secret'),w)",
               folder.path("home")};
  spec.env = {"PATH=" + prefix + "/bin:/usr/bin"};
  spec.cwd = "/";
  spec.uid = spec.gid = info.traits.uids.first + 5;
  spec.confine.read_only = info.traits.tools.folders;
  auto spawned = run((*session)->supervisor().spawn(spec));
  ASSERT_THAT(spawned, test::succeeds());
  spawned->pipes.in.reset();
  EXPECT_EQ(text_of(spawned->pipes.out) + text_of(spawned->pipes.err), prefix + "/bin/node false EROFS\n");
  EXPECT_THAT(run((*session)->close()), test::succeeds());
}

// Prints the figure; what is good enough is for the benchmark to say.
TEST_F(Native, tells_how_long_a_start_takes) {
  std::vector<double> ours, theirs;
  for (int i = 0; i < 30; ++i) {
    SandboxOptions wanted = options("time-" + std::to_string(i));
    wanted.ephemeral = true;
    auto began = Clock::now();
    auto session = run(Sandbox::open(*engine, wanted));
    ASSERT_TRUE(session);
    ours.push_back(std::chrono::duration<double, std::milli>(Clock::now() - began).count());
    ASSERT_THAT(run((*session)->close()), test::succeeds());
    if (::access("/usr/bin/bwrap", X_OK) != 0) continue;
    began = Clock::now();
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl("/usr/bin/bwrap", "bwrap", "--unshare-all", "--ro-bind", "/", "/", "true", nullptr);
      ::_exit(127);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (status == 0) theirs.push_back(std::chrono::duration<double, std::milli>(Clock::now() - began).count());
  }
  std::ranges::sort(ours);
  std::ranges::sort(theirs);
  RecordProperty("start_p50_ms", std::to_string(ours[ours.size() / 2]));
  std::printf("create to answering supervisor: p50 %.1f ms, max %.1f ms; bwrap --unshare-all true: p50 %.1f ms\n",
              ours[ours.size() / 2], ours.back(), theirs.empty() ? 0.0 : theirs[theirs.size() / 2]);
}

}  // namespace
}  // namespace mcpbox::box
