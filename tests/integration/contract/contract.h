// Sandboxes of the engine that MCPBOX_CONTRACT_ENGINE names, for tests. Without that engine they fail.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

#include "base/digest.h"
#include "box/engines/locator.h"
#include "box/sandbox.h"
#include "net/wait.h"
#include "support/import_image.h"
#include "support/result_matcher.h"
#include "support/run_task.h"
#include "support/temp_tree.h"

namespace mcpbox::box {

inline std::string empty_rootfs_tar() {
  std::string out;
  for (const char* name : {"etc/", "proc/", "sys/", "dev/", "tmp/", "run/", "opt/", "workspace/", "cache/"}) {
    char block[512] = {};
    std::snprintf(block, 100, "%s", name);
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
    out.append(block, sizeof block);
  }
  return out + std::string(1024, '\0');
}

struct Contract : testing::Test {
  boost::asio::io_context loop;
  test::TempTree folder;
  std::unique_ptr<Engine> engine;
  EngineInfo info;
  std::string image;
  std::string instance = random_hex(16);
  std::string other = random_hex(16);
  std::string init;

  void SetUp() override {
    init = CONTRACT_INIT;
    const char* address = std::getenv("MCPBOX_CONTRACT_ENGINE");
    ASSERT_NE(address, nullptr) << "MCPBOX_CONTRACT_ENGINE says which engine: auto, native, unix:///path";
    ::chmod(folder.root().c_str(), 0755);
    folder.dir("programs");
    for (const auto& [from, name] :
         {std::pair(CONTRACT_PROBE, "programs/probe"), std::pair(EGRESS_PROBE, "programs/egress_probe")}) {
      std::filesystem::copy_file(from, folder.path(name));
      ::chmod(folder.path(name).c_str(), 0755);
    }
    ::chmod(folder.path("programs").c_str(), 0755);
    ::chmod(folder.dir("run").c_str(), 0700);
    LocatorOptions options;
    options.address = address;
    options.host_system = {folder.dir("state"), init, "/sys/fs/cgroup"};
    // "native-one-id": as for an ordinary user without newuidmap.
    options.host_system.only_one_id = options.address == "native-one-id";
    if (options.host_system.only_one_id) options.address = "native";
    auto located = run(locate_engine(loop.get_executor(), options));
    ASSERT_THAT(located, test::succeeds());
    engine = std::move(located->engine);
    info = located->info;
    image = info.kind == "native" ? "host" : "mcpbox-contract:empty";
    if (info.kind != "native" && !run(engine->image(image))) {
      std::ofstream(folder.path("root.tar")) << empty_rootfs_tar();
      ASSERT_EQ(test::import_image(loop, info.address, folder.path("root.tar"), image), "");
    }
  }
  void TearDown() override {
    if (!engine) return;
    for (const std::string& each : {instance, other}) {
      auto left = run(engine->list(instance_labels(each)));
      ASSERT_TRUE(left);
      for (const SandboxState& state : *left) EXPECT_TRUE(run(engine->remove(state.id)));
      auto volumes = run(engine->list_volumes(instance_labels(each)));
      ASSERT_TRUE(volumes);
      for (const std::string& name : *volumes) EXPECT_TRUE(run(engine->remove_volume(name)));
    }
  }

  template <class T>
  T run(Task<T> task) {
    return test::run_task(loop, std::move(task));
  }
  SandboxOptions options(const std::string& name) {
    SandboxOptions out;
    out.instance = instance;
    out.name = name;
    out.profile.image = image;
    out.profile.limits.memory_bytes = 128 << 20;
    out.profile.limits.processes = 64;
    out.profile.mounts = {{Mount::Kind::kBind, folder.path("programs"), "/opt/contract", true, 0}};
    out.init_path = init;
    out.run_dir = folder.path("run");
    out.uids = info.traits.uids;
    return out;
  }
  std::unique_ptr<Sandbox> open(SandboxOptions wanted) {
    auto session = run(Sandbox::open(*engine, std::move(wanted)));
    EXPECT_THAT(session, test::succeeds());
    return session ? std::move(*session) : nullptr;
  }
  std::vector<std::string> names(const std::string& of) {
    auto found = run(engine->list(instance_labels(of)));
    EXPECT_TRUE(found);
    std::vector<std::string> out;
    for (const SandboxState& state : found ? *found : std::vector<SandboxState>()) out.push_back(state.name);
    std::ranges::sort(out);
    return out;
  }
  ProcessSpec process(const std::string& id, std::vector<std::string> arguments) {
    ProcessSpec spec;
    spec.id = id;
    spec.argv = {"/opt/contract/probe"};
    spec.argv.insert(spec.argv.end(), arguments.begin(), arguments.end());
    spec.cwd = "/";
    spec.uid = spec.gid = info.traits.uids.first + 7;
    spec.confine.read_only = {"/opt/contract"};
    return spec;
  }
  // Runs programs of the sandbox side by side to their ends; `begun` is called when all of them run.
  struct Ended {
    ProcessExit exit;
    std::string output;  // at most what a pipe holds
  };
  std::vector<Ended> run_all(Sandbox& session, std::vector<ProcessSpec> specs, std::function<void()> begun = {}) {
    return run([](Sandbox& in, std::vector<ProcessSpec> what, std::function<void()> then) -> Task<std::vector<Ended>> {
      net::Signal changed(co_await boost::asio::this_coro::executor);
      std::map<std::string, ProcessExit> exits;
      in.supervisor().on_exit([&](const std::string& id, const ProcessExit& how) {
        exits[id] = how;
        changed.notify();
      });
      std::vector<UniqueFd> outputs;
      std::size_t running = 0;
      for (const ProcessSpec& spec : what) {
        auto spawned = co_await in.supervisor().spawn(spec);
        EXPECT_THAT(spawned, test::succeeds());
        outputs.push_back(spawned ? std::move(spawned->pipes.out) : UniqueFd());
        running += spawned ? 1 : 0;
      }
      if (then) then();
      while (exits.size() < running) co_await changed.wait();
      in.supervisor().on_exit({});
      std::vector<Ended> ended;
      for (std::size_t i = 0; i < what.size(); ++i) {
        // PID 1 keeps a duplicate of the reading end only, so that the text ends here.
        std::string text;
        char piece[4096];
        for (ssize_t got; outputs[i] && (got = ::read(outputs[i].get(), piece, sizeof piece)) > 0;)
          text.append(piece, static_cast<std::size_t>(got));
        ended.push_back({exits[what[i].id], text});
        (void)co_await in.supervisor().forget(what[i].id);
      }
      co_return ended;
    }(session, std::move(specs), std::move(begun)));
  }
};

}  // namespace mcpbox::box
