// The Docker engine on a real engine, found as the program finds it. Without one these tests fail.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "base/digest.h"
#include "base/unique_fd.h"
#include "box/docker/engine.h"
#include "box/docker/server_group.h"
#include "box/engines/locator.h"
#include "net/http_client.h"
#include "net/wait.h"
#include "support/import_image.h"
#include "support/result_matcher.h"
#include "support/run_task.h"

namespace mcpbox::box {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::fails;
using test::succeeds;
using Clock = std::chrono::steady_clock;

// A POSIX ustar archive of empty folders.
std::string tar_of_folders(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) {
    char block[512] = {};
    std::snprintf(block, 100, "%s/", name.c_str());
    std::snprintf(block + 100, 8, "%07o", 0755);
    std::snprintf(block + 108, 8, "%07o", 0);
    std::snprintf(block + 116, 8, "%07o", 0);
    std::snprintf(block + 124, 12, "%011o", 0);
    std::snprintf(block + 136, 12, "%011o", 0);
    std::memcpy(block + 148, "        ", 8);
    block[156] = '5';
    std::memcpy(block + 257, "ustar\00000", 8);
    unsigned sum = 0;
    for (const char c : block) sum += static_cast<unsigned char>(c);
    std::snprintf(block + 148, 8, "%06o", sum);
    out.append(block, sizeof(block));
  }
  return out + std::string(1024, '\0');
}

struct RealEngineTest : testing::Test {
  static inline std::string suffix = random_hex(4);
  static inline std::string image_name = "mcpbox-test:" + suffix;
  boost::asio::io_context loop;
  net::HttpClient http{loop.get_executor()};
  std::unique_ptr<Engine> engine;
  EngineInfo info;
  fs::path folder;
  Labels ours{{"io.mcpbox.instance", "test-" + suffix}};

  void SetUp() override {
    char name[] = "/tmp/mcpbox-engine-XXXXXX";
    folder = ::mkdtemp(name);
    fs::create_directories(folder / "out");
    ::chmod(folder.c_str(), 0755);
    ::chmod((folder / "out").c_str(), 0777);  // PID 1 is root without CAP_DAC_OVERRIDE
    auto located = run(locate_engine(loop.get_executor(), {}));
    ASSERT_THAT(located, test::succeeds());
    engine = std::move(located->engine);
    info = located->info;
    if (auto present = run(engine->image(image_name)); present) return;
    std::ofstream(folder / "root.tar") << tar_of_folders({"etc", "proc", "sys", "dev", "tmp", "run"});
    const auto imported =
        test::import_image(loop, info.address, folder / "root.tar", image_name,
                           {"LABEL io.mcpbox.test=" + suffix, "LABEL io.mcpbox.instance=stolen", "VOLUME /data",
                            "ENV LD_PRELOAD=/evil.so", "ENTRYPOINT [\"/evil\"]", "CMD [\"evil\"]", "USER 1234"});
    ASSERT_EQ(imported, "");
  }
  void TearDown() override {
    if (engine) {
      auto left = run(engine->list({{"io.mcpbox.test", suffix}}));
      if (left) {
        for (const auto& state : *left) EXPECT_TRUE(run(engine->remove(state.id)));
      }
    }
    fs::remove_all(folder);
  }
  static void TearDownTestSuite() {
    boost::asio::io_context loop;
    auto located = test::run_task(loop, locate_engine(loop.get_executor(), {}));
    if (!located) return;
    net::HttpClient http(loop.get_executor());
    const auto volumes = test::run_task(loop, located->engine->list_volumes({{"io.mcpbox.test", suffix}}));
    for (const auto& name : volumes ? *volumes : std::vector<std::string>()) {
      EXPECT_TRUE(test::run_task(loop, located->engine->remove_volume(name)));
    }
    auto request = raw(located->info, "/images/" + image_name + "?force=1");
    request.method = "DELETE";
    auto answer = test::run_task(loop, http.fetch(std::move(request)));
    EXPECT_TRUE(answer && (answer->status == 200 || answer->status == 404));
  }

  template <class T>
  T run(Task<T> task) {
    return test::run_task(loop, std::move(task));
  }
  void pause(std::chrono::milliseconds duration) {
    loop.restart();
    boost::asio::co_spawn(loop, net::sleep_for(duration), [](std::exception_ptr) {});
    loop.run();
  }
  static net::HttpRequest raw(const EngineInfo& info, const std::string& path) {
    auto address = parse_docker_address(info.address);
    net::HttpRequest request;
    request.url = address->base_url + path;
    request.unix_socket = address->unix_socket;
    request.total_timeout = std::chrono::seconds(60);
    return request;
  }
  json inspect_raw(const std::string& id) {
    auto answer = run(http.fetch(raw(info, "/containers/" + id + "/json")));
    return answer && answer->status == 200 ? json::parse(answer->body) : json();
  }
  SandboxSpec spec(const std::string& name, std::vector<std::string> arguments) {
    SandboxSpec out;
    out.name = "mcpbox-test-" + suffix + "-" + name;
    out.profile.image = image_name;
    out.profile.limits.memory_bytes = 64 << 20;
    out.profile.limits.processes = 32;
    out.profile.mounts = {{Mount::Kind::kBind, ENGINE_TEST_INIT, "/.box/init", true, 0},
                          {Mount::Kind::kBind, (folder / "out").string(), "/out", false, 0}};
    out.labels = ours;
    out.labels["io.mcpbox.test"] = suffix;
    out.init_argv = {"/.box/init"};
    out.init_argv.insert(out.init_argv.end(), arguments.begin(), arguments.end());
    return out;
  }
  std::string report(const std::string& name) {
    const auto path = folder / "out" / name;
    const auto deadline = Clock::now() + std::chrono::seconds(20);
    while (!fs::exists(path) && Clock::now() < deadline) {
      pause(std::chrono::milliseconds(5));
    }
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
};

TEST_F(RealEngineTest, the_container_satisfies_the_benchmark_predicates) {
  auto made = run(engine->create(spec("predicates", {"wait"})));
  ASSERT_THAT(made, test::succeeds());
  const auto container = inspect_raw(made->id);
  const auto& host = container["HostConfig"];
  // CIS Docker Benchmark section 5, and the Pod Security Standards' "restricted" profile except runAsNonRoot: PID 1
  // needs uid 0 to switch to a server's uid, with four capabilities and nothing else.
  EXPECT_EQ(host["Privileged"], false);
  EXPECT_EQ(host["CapDrop"], json::array({"ALL"}));
  std::set<std::string> added;
  for (const auto& name : host["CapAdd"]) {
    const auto text = name.get<std::string>();
    added.insert(text.starts_with("CAP_") ? text.substr(4) : text);
  }
  EXPECT_EQ(added, (std::set<std::string>{"SETUID", "SETGID", "KILL", "SETPCAP", "SYS_NICE"}));
  EXPECT_EQ(host["SecurityOpt"], json::array({"no-new-privileges:true"}));
  EXPECT_EQ(host["ReadonlyRootfs"], true);
  EXPECT_EQ(host["NetworkMode"], "none");
  for (const char* mode : {"PidMode", "UTSMode", "UsernsMode"}) EXPECT_EQ(host[mode], "") << mode;
  EXPECT_EQ(host["IpcMode"], "private");
  EXPECT_GT(host["Memory"], 0);
  EXPECT_EQ(host["Memory"], host["MemorySwap"]);
  EXPECT_GT(host["NanoCpus"], 0);
  EXPECT_GT(host["PidsLimit"], 0);
  EXPECT_EQ(host["RestartPolicy"]["Name"], "no");
  EXPECT_TRUE(host["Devices"].is_null() || host["Devices"].empty());
  EXPECT_TRUE(host["PortBindings"].is_null() || host["PortBindings"].empty());
  EXPECT_TRUE(host["Binds"].is_null() || host["Binds"].empty());
  EXPECT_FALSE(host["Ulimits"].empty());
  for (const auto& mount : container["Mounts"]) {
    EXPECT_EQ(mount["Propagation"], "rprivate");
    EXPECT_EQ(mount["Source"].get<std::string>().find("docker.sock"), std::string::npos);
    const std::string target = mount["Destination"];
    EXPECT_TRUE(target == "/.box/init" || target == "/out") << target;  // nothing from the image's VOLUME
  }
}

TEST_F(RealEngineTest, the_sandbox_is_what_was_asked_for_seen_from_inside) {
  auto wanted = spec("inside", {"report", "/out/seen"});
  wanted.profile.mounts.push_back({Mount::Kind::kScratch, "", "/scratch", false, 0});
  wanted.profile.mounts.push_back({Mount::Kind::kVolume, "mcpbox-test-" + suffix + "-volume", "/volume", false, 0});
  wanted.profile.mounts.push_back({Mount::Kind::kMemory, "", "/fast", false, 4 << 20});
  wanted.profile.mounts.push_back({Mount::Kind::kBind, (folder / "out").string(), "/readonly", true, 0});
  auto made = run(engine->create(wanted));
  ASSERT_THAT(made, test::succeeds());
  const auto seen = report("seen");
  const auto has = [&](const std::string& line) { return seen.find(line) != std::string::npos; };
  ASSERT_THAT(run(engine->remove(made->id)), test::succeeds());
  EXPECT_THAT(run(engine->remove_volume("mcpbox-test-" + suffix + "-volume")), test::succeeds());
  EXPECT_TRUE(has("pid 1 uid 0 gid 0\n")) << seen;
  EXPECT_FALSE(has("LD_PRELOAD")) << seen;
  // KILL 5, SETGID 6, SETUID 7, SETPCAP 8, SYS_NICE 23.
  EXPECT_TRUE(has("CapEff:\t00000000008001e0\n")) << seen;
  EXPECT_TRUE(has("CapBnd:\t00000000008001e0\n")) << seen;
  EXPECT_TRUE(has("NoNewPrivs:\t1\n")) << seen;
  EXPECT_TRUE(has("Seccomp:\t2\n")) << seen;
  EXPECT_TRUE(has("create /root-file Read-only file system\n")) << seen;
  EXPECT_TRUE(has("create /tmp/file ok\n")) << seen;
  EXPECT_TRUE(has("create /data/file Read-only file system\n")) << seen;
  EXPECT_TRUE(has("create /scratch/file ok\n")) << seen;
  EXPECT_TRUE(has("create /volume/file ok\n")) << seen;
  EXPECT_TRUE(has("create /fast/file ok\n")) << seen;
  EXPECT_TRUE(has("create /readonly/file Read-only file system\n")) << seen;
  EXPECT_TRUE(has("other interfaces no\n")) << seen;
  EXPECT_TRUE(has("switch uid ok\n")) << seen;
}

TEST_F(RealEngineTest, two_instances_do_not_see_each_other) {
  auto other_spec = spec("two", {"wait"});
  other_spec.labels["io.mcpbox.instance"] = "other-" + suffix;
  auto one = run(engine->create(spec("one", {"wait"})));
  auto two = run(engine->create(other_spec));
  ASSERT_TRUE(one && two);
  auto listed = run(engine->list(ours));
  ASSERT_TRUE(listed);
  ASSERT_EQ(listed->size(), 1u);
  EXPECT_EQ(listed->at(0).id, one->id);
  EXPECT_TRUE(listed->at(0).running);
  // The image carries this label; the containers' own value hides it.
  auto stolen = run(engine->list({{"io.mcpbox.instance", "stolen"}}));
  ASSERT_TRUE(stolen);
  EXPECT_TRUE(stolen->empty());
}

TEST_F(RealEngineTest, remove_kills_and_takes_the_scratch_volume_with_it) {
  auto wanted = spec("remove", {"wait"});
  wanted.profile.mounts.push_back({Mount::Kind::kScratch, "", "/scratch", false, 0});
  auto made = run(engine->create(wanted));
  ASSERT_THAT(made, test::succeeds());
  EXPECT_EQ(run(engine->list_volumes(ours))->size(), 1u);
  EXPECT_THAT(run(engine->remove(made->id)), test::succeeds());
  EXPECT_TRUE(run(engine->list_volumes(ours))->empty());
  EXPECT_EQ(run(engine->inspect(made->id)).error().code(), Code::kNotFound);
  EXPECT_TRUE(run(engine->remove(made->id)));  // again
}

// What PID 1 gets of the machine's control groups (server_group.h): one of its container's, and no way out of it.
struct GroupOfServersTest : RealEngineTest {
  static inline const fs::path hierarchy = "/sys/fs/cgroup/cpu";
  SandboxState made;
  fs::path own;  // the container's group
  void SetUp() override {
    RealEngineTest::SetUp();
    if (HasFatalFailure()) return;
    if (!fs::exists(hierarchy / "cpu.cfs_quota_us") || info.rootless || info.user_namespace)
      GTEST_SKIP() << "not with this machine's control groups or this engine";
    auto wanted = spec("group", {"wait"});
    wanted.profile.limits.cpus = 1.5;
    auto created = run(engine->create(wanted));
    ASSERT_THAT(created, succeeds());
    made = *created;
    for (const auto& entry : fs::recursive_directory_iterator(hierarchy)) {
      if (entry.is_directory() && entry.path().filename().string().find(made.id) != std::string::npos)
        own = entry.path();
    }
    ASSERT_FALSE(own.empty());
  }
  static bool write(int directory, const char* name, const std::string& text) {
    const UniqueFd file(::openat(directory, name, O_WRONLY | O_CLOEXEC));
    return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  }
  static std::pair<dev_t, ino_t> identity(int directory, const char* name) {
    struct stat seen{};
    EXPECT_EQ(::fstatat(directory, name, &seen, 0), 0) << name;
    return {seen.st_dev, seen.st_ino};
  }
};

TEST_F(GroupOfServersTest, is_the_containers_and_leads_nowhere_else) {
  auto group = run(engine->group_of_servers(made));
  ASSERT_THAT(group, succeeds());
  const int directory = group->directory.get();
  const unsigned present = static_cast<unsigned>(std::thread::hardware_concurrency()) * 1000;
  EXPECT_EQ(group->processors, std::min(1500u, present));
  const auto itself = identity(AT_FDCWD, (own / "servers").c_str());
  EXPECT_EQ(identity(directory, "."), itself);
  for (const char* out : {"..", "../..", "../../..", "../../../../..", "./.././.."})
    EXPECT_EQ(identity(directory, out), itself) << out;
  for (const char* file : {"../servers", "../../tasks.none", "../mcpbox", "release_agent", "../release_agent"})
    EXPECT_NE(::faccessat(directory, file, F_OK, 0), 0) << file;
  ASSERT_TRUE(write(directory, "../cpu.shares", "1025"));
  std::string shares;
  std::getline(std::ifstream(own / "servers" / "cpu.shares"), shares);
  EXPECT_EQ(shares, "1025") << "what lies above it is itself";
  std::getline(std::ifstream(own / "cpu.shares"), shares);
  EXPECT_NE(shares, "1025");
}

// An engine, or a number that somebody else has by now, says of any process that it is a container's first.
TEST_F(GroupOfServersTest, is_given_for_a_process_of_ours_that_is_in_it_and_for_no_other) {
  const auto pid = inspect_raw(made.id)["State"]["Pid"].get<int>();
  EXPECT_THAT(open_server_group({}, pid, made.id), succeeds());
  EXPECT_THAT(open_server_group({}, ::getpid(), made.id), fails(Code::kUnsupported));
  // What the kernel could say of them.
  for (const std::string& number : {std::to_string(pid), std::string("4242")}) {
    fs::create_directories(folder / number / "ns");
    std::ofstream(folder / number / "cgroup") << "1:cpu:/" << fs::relative(own, hierarchy).string() << "\n";
    std::ofstream(folder / number / "ns" / "user") << number;
  }
  fs::create_directories(folder / "self" / "ns");
  const KernelPlaces places{folder.string(), hierarchy.parent_path().string()};
  fs::create_hard_link(folder / "4242" / "ns" / "user", folder / "self" / "ns" / "user");
  EXPECT_THAT(open_server_group(places, 4242, made.id), fails(Code::kUnsupported, "is not in the control group"));
  EXPECT_THAT(open_server_group(places, pid, made.id), fails(Code::kUnsupported, "maps the container's users"));
  fs::remove(folder / "self" / "ns" / "user");
  fs::create_hard_link(folder / std::to_string(pid) / "ns" / "user", folder / "self" / "ns" / "user");
  EXPECT_THAT(open_server_group(places, pid, made.id), succeeds());
}

TEST_F(GroupOfServersTest, goes_with_the_container_and_all_that_is_in_it) {
  for (int time = 0; time < 2; ++time) EXPECT_THAT(run(engine->group_of_servers(made)), succeeds()) << "as before";
  auto group = run(engine->group_of_servers(made));
  ASSERT_THAT(group, succeeds());
  ASSERT_EQ(::mkdirat(group->directory.get(), "s1", 0700), 0);
  ASSERT_EQ(::mkdirat(group->directory.get(), "s2", 0700), 0);
  const auto pid = inspect_raw(made.id)["State"]["Pid"].get<int>();
  ASSERT_TRUE(write(group->directory.get(), "s1/cgroup.procs", std::to_string(pid)));
  // Nobody takes what is not the container's own group for it.
  EXPECT_THAT(run(engine->group_of_servers(made)), fails(Code::kUnsupported));
  // What is behind there goes, too, whoever is told of the container's end.
  const fs::path idle = hierarchy / "mcpbox.idle" / fs::relative(own, hierarchy);
  if (fs::exists(hierarchy / "cpu.idle")) {
    ASSERT_TRUE(group->idle);
    EXPECT_EQ(identity(group->idle.get(), ".."), identity(AT_FDCWD, (idle / "servers").c_str())) << "and no way out";
    ASSERT_TRUE(fs::create_directory(idle / "servers" / "s1"));
    std::string quota;
    std::getline(std::ifstream(idle / "cpu.cfs_quota_us"), quota);
    EXPECT_EQ(quota, "150000");
  }
  ASSERT_THAT(run(engine->remove(made.id)), succeeds());
  EXPECT_FALSE(fs::exists(own));
  EXPECT_FALSE(fs::exists(idle));
  EXPECT_NE(::mkdirat(group->directory.get(), "s3", 0700), 0) << "the descriptor keeps nothing";
  EXPECT_FALSE(run(engine->group_of_servers(made)));
}

TEST_F(RealEngineTest, a_sandbox_that_asked_for_it_goes_when_pid_1_ends) {
  auto wanted = spec("auto", {"exit", "0"});
  wanted.remove_on_exit = true;
  wanted.profile.mounts.push_back({Mount::Kind::kScratch, "", "/scratch", false, 0});
  auto made = run(engine->create(wanted));
  ASSERT_THAT(made, test::succeeds());
  const auto deadline = Clock::now() + std::chrono::seconds(20);
  while (run(engine->inspect(made->id)) && Clock::now() < deadline) {
  }
  EXPECT_EQ(run(engine->inspect(made->id)).error().code(), Code::kNotFound);
}

// An engine that is asked while PID 1 ends answers 409 or 500, and its names and volumes stay taken for a moment. Many
// small steps of time, so that some meet that moment.
TEST_F(RealEngineTest, an_end_and_a_removal_at_the_same_time_are_a_removal) {
  const std::string volume = "mcpbox-test-" + suffix + "-ending";
  for (int i = 0; i < 20; ++i) {
    auto wanted = spec("ending", {"exit", "0"});
    wanted.remove_on_exit = i % 2 == 1;
    wanted.profile.mounts.push_back({Mount::Kind::kVolume, volume, "/volume", false, 0});
    auto made = run(engine->create(wanted));
    ASSERT_THAT(made, succeeds()) << "round " << i;
    pause(std::chrono::milliseconds(3 * (i / 2)));
    ASSERT_THAT(run(engine->remove(made->id)), succeeds()) << "round " << i;
    EXPECT_THAT(run(engine->inspect(made->id)), fails(Code::kNotFound)) << "round " << i;
    if (i % 3 == 0) ASSERT_THAT(run(engine->remove_volume(volume)), succeeds()) << "round " << i;
  }
  EXPECT_THAT(run(engine->remove_volume(volume)), test::succeeds());
}

TEST_F(RealEngineTest, a_name_is_free_as_soon_as_what_had_it_has_ended) {
  for (int i = 0; i < 10; ++i) {
    auto wanted = spec("again", {"exit", "0"});
    wanted.remove_on_exit = true;
    auto made = run(engine->create(wanted));
    ASSERT_THAT(made, succeeds()) << "round " << i;
    auto state = run(engine->inspect(made->id));
    while (state && state->running) state = run(engine->inspect(made->id));
  }
}

TEST_F(RealEngineTest, inspect_tells_how_it_ended) {
  auto made = run(engine->create(spec("exit", {"exit", "42"})));
  ASSERT_THAT(made, test::succeeds());
  const auto deadline = Clock::now() + std::chrono::seconds(20);
  auto state = run(engine->inspect(made->id));
  while (state && state->running && Clock::now() < deadline) state = run(engine->inspect(made->id));
  ASSERT_TRUE(state);
  EXPECT_FALSE(state->running);
  EXPECT_EQ(state->exit_code, 42);
  auto listed = run(engine->list(ours));
  ASSERT_TRUE(listed);
  EXPECT_EQ(listed->at(0).exit_code, 42);
}

TEST_F(RealEngineTest, inspect_says_when_memory_was_the_reason) {
  auto wanted = spec("hog", {"hog", "/out/begin"});
  wanted.profile.limits.memory_bytes = 32 << 20;
  auto made = run(engine->create(wanted));
  ASSERT_THAT(made, test::succeeds());
  // containerd's shim begins to watch for the kernel's word after PID 1 has started, before it answers: what ran out of
  // memory before, nobody tells the engine.
  std::ofstream(folder / "out" / "begin").close();
  const auto deadline = Clock::now() + std::chrono::seconds(30);
  auto state = run(engine->inspect(made->id));
  while (state && state->running && Clock::now() < deadline) state = run(engine->inspect(made->id));
  ASSERT_THAT(state, test::succeeds());
  EXPECT_EQ(state->exit_code, 137);
  EXPECT_TRUE(state->killed_for_memory);
}

TEST_F(RealEngineTest, volumes_live_until_they_are_removed) {
  const std::string name = "mcpbox-test-" + suffix + "-kept";
  ASSERT_THAT(run(engine->ensure_volume(name, ours)), test::succeeds());
  ASSERT_TRUE(run(engine->ensure_volume(name, ours)));  // again
  EXPECT_EQ(*run(engine->list_volumes(ours)), std::vector<std::string>{name});
  EXPECT_TRUE(run(engine->list_volumes({{"io.mcpbox.instance", "other"}}))->empty());
  EXPECT_EQ(run(engine->ensure_volume(name, {{"io.mcpbox.instance", "other"}})).error().code(), Code::kAlreadyExists);
  EXPECT_THAT(run(engine->remove_volume(name)), test::succeeds());
  EXPECT_TRUE(run(engine->remove_volume(name)));  // again
}

TEST_F(RealEngineTest, a_missing_program_leaves_no_container) {
  auto wanted = spec("missing", {});
  wanted.init_argv = {"/.box/nothing"};
  auto made = run(engine->create(wanted));
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message().find("nothing"), std::string::npos) << made.error().message();
  EXPECT_TRUE(run(engine->list(ours))->empty());
}

TEST_F(RealEngineTest, a_missing_mount_source_is_named) {
  auto wanted = spec("source", {"wait"});
  wanted.profile.mounts.push_back({Mount::Kind::kBind, "/nonexistent-folder", "/x", true, 0});
  auto made = run(engine->create(wanted));
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message().find("/nonexistent-folder"), std::string::npos) << made.error().message();
  EXPECT_FALSE(fs::exists("/nonexistent-folder"));
}

TEST_F(RealEngineTest, a_missing_image_is_not_found) {
  auto wanted = spec("image", {"wait"});
  wanted.profile.image = "mcpbox-test:missing-" + suffix;
  auto made = run(engine->create(wanted));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code(), Code::kNotFound);
  EXPECT_NE(made.error().message().find(wanted.profile.image), std::string::npos) << made.error().message();
}

TEST_F(RealEngineTest, a_pull_that_cannot_work_says_why) {
  auto image = run(engine->pull("127.0.0.1:1/nothing:1", {}));  // nobody listens on port 1
  ASSERT_FALSE(image);
  EXPECT_NE(image.error().message().find("127.0.0.1:1"), std::string::npos) << image.error().message();
}

TEST_F(RealEngineTest, images_are_found_by_label) {
  auto found = run(engine->images({{"io.mcpbox.test", suffix}}));
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 1u);
  EXPECT_EQ(found->at(0).tags, std::vector<std::string>{image_name});
  EXPECT_EQ(found->at(0).id, run(engine->image(image_name))->id);
  EXPECT_GT(found->at(0).created_unix, 0);
}

TEST_F(RealEngineTest, reports_how_long_a_start_takes) {
  std::vector<double> milliseconds;
  for (int i = 0; i < 11; ++i) {
    const auto begin = Clock::now();
    auto made = run(engine->create(spec("time", {"wait"})));
    milliseconds.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    ASSERT_THAT(made, test::succeeds());
    ASSERT_THAT(run(engine->remove(made->id)), test::succeeds());
  }
  std::ranges::sort(milliseconds);
  std::printf("create, compare and start on %s %s: p50 %.0f ms, max %.0f ms\n", info.kind.c_str(), info.version.c_str(),
              milliseconds[5], milliseconds.back());
  RecordProperty("create_start_p50_ms", static_cast<int>(milliseconds[5]));
}

}  // namespace
}  // namespace mcpbox::box
