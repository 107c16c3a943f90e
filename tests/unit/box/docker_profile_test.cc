#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "box/docker/profile.h"

namespace mcpbox::box {
namespace {

using nlohmann::json;

const std::string kImageId = "sha256:" + std::string(64, 'a');

SandboxSpec full_spec() {
  SandboxSpec spec;
  spec.name = "mcpbox-1-shared";
  spec.profile.image = "mcpbox-runner:0123456789ab";
  spec.profile.mounts = {
      {Mount::Kind::kBind, "/opt/mcpbox-init", "/.box/mcpbox-init", true, 0},
      {Mount::Kind::kVolume, "mcpbox-1-cache", "/cache", false, 0},
      {Mount::Kind::kScratch, "", "/workspace", false, 0},
      {Mount::Kind::kMemory, "", "/fast", false, 8 << 20},
  };
  spec.labels = {{"io.mcpbox.instance", "one"}};
  spec.init_argv = {"/.box/mcpbox-init", "--control", "/.boxrun"};
  return spec;
}

DockerFacts facts() {
  DockerFacts out;
  out.api_minor = 41;
  out.cpus = 8;
  return out;
}

DockerImageFacts image() {
  DockerImageFacts out;
  out.id = kImageId;
  return out;
}

json body(const SandboxSpec& spec, const DockerFacts& engine = facts(), const DockerImageFacts& from = image()) {
  return json::parse(docker_create_body(spec, engine, from, "nonce"));
}

std::set<std::string> keys(const json& object) {
  std::set<std::string> out;
  for (const auto& [name, value] : object.items()) out.insert(name);
  return out;
}

// What an engine answers when it made exactly what was asked.
json faithful(const json& sent) {
  json made{{"Id", std::string(64, 'b')}, {"Name", "/x"}, {"Image", sent["Image"]}, {"AppArmorProfile", ""}};
  made["Config"] = sent;
  made["Config"].erase("HostConfig");
  made["HostConfig"] = sent["HostConfig"];
  made["HostConfig"]["Binds"] = nullptr;
  made["HostConfig"]["MaskedPaths"] = {"/proc/kcore"};
  made["Mounts"] = json::array();
  for (const auto& mount : sent["HostConfig"]["Mounts"]) {
    made["Mounts"].push_back(
        {{"Type", mount["Type"]}, {"Destination", mount["Target"]}, {"RW", !mount["ReadOnly"].get<bool>()}});
  }
  return made;
}

Result<void> check(const json& sent, const json& made, const DockerFacts& engine = facts()) {
  return check_docker_container(sent.dump(), made.dump(), engine);
}

TEST(DockerProfile, sends_exactly_these_fields) {
  const auto sent = body(full_spec());
  EXPECT_EQ(keys(sent),
            (std::set<std::string>{"Image", "User", "Hostname", "WorkingDir", "Entrypoint", "Cmd", "Env", "Tty",
                                   "OpenStdin", "StopSignal", "Healthcheck", "Labels", "HostConfig"}));
  EXPECT_EQ(keys(sent["HostConfig"]),
            (std::set<std::string>{"NetworkMode",    "IpcMode",         "PidMode", "UTSMode",    "UsernsMode",
                                   "CgroupnsMode",   "Privileged",      "CapDrop", "CapAdd",     "SecurityOpt",
                                   "ReadonlyRootfs", "PublishAllPorts", "Init",    "AutoRemove", "RestartPolicy",
                                   "Mounts",         "Tmpfs",           "ShmSize", "Memory",     "MemorySwap",
                                   "NanoCpus",       "PidsLimit",       "Ulimits", "LogConfig"}));
  const auto& mounts = sent["HostConfig"]["Mounts"];
  EXPECT_EQ(keys(mounts[0]), (std::set<std::string>{"Type", "Source", "Target", "ReadOnly", "BindOptions"}));
  EXPECT_EQ(keys(mounts[1]), (std::set<std::string>{"Type", "Source", "Target", "ReadOnly", "VolumeOptions"}));
  EXPECT_EQ(keys(mounts[2]), (std::set<std::string>{"Type", "Target", "ReadOnly", "VolumeOptions"}));
  EXPECT_EQ(mounts.size(), 3u);
}

TEST(DockerProfile, golden_body) {
  auto spec = full_spec();
  spec.labels.clear();
  const auto profile = spec.hash();
  const json expected = json::parse(R"({
    "Image":")" + kImageId + R"(","User":"0:0","Hostname":"mcpbox","WorkingDir":"/",
    "Entrypoint":["/.box/mcpbox-init","--control","/.boxrun"],"Cmd":[],
    "Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    "Tty":false,"OpenStdin":false,"StopSignal":"SIGKILL","Healthcheck":{"Test":["NONE"]},
    "Labels":{"io.mcpbox.managed":"1","io.mcpbox.create":"nonce","io.mcpbox.spaces":"none","io.mcpbox.profile":")" +
                                    profile +
                                    R"("},
    "HostConfig":{
      "NetworkMode":"none","IpcMode":"private","PidMode":"","UTSMode":"","UsernsMode":"","CgroupnsMode":"private",
      "Privileged":false,"CapDrop":["ALL"],"CapAdd":["KILL","SETGID","SETPCAP","SETUID","SYS_NICE"],
      "SecurityOpt":["no-new-privileges:true"],"ReadonlyRootfs":true,"PublishAllPorts":false,"Init":false,)"
                                    R"("AutoRemove":false,
      "RestartPolicy":{"Name":"no"},
      "Mounts":[
        {"Type":"bind","Source":"/opt/mcpbox-init","Target":"/.box/mcpbox-init","ReadOnly":true,)"
                                    R"("BindOptions":{"Propagation":"rprivate"}},
        {"Type":"volume","Source":"mcpbox-1-cache","Target":"/cache","ReadOnly":false,)"
                                    R"("VolumeOptions":{"NoCopy":true,"Labels":
          {"io.mcpbox.managed":"1","io.mcpbox.create":"nonce","io.mcpbox.spaces":"none","io.mcpbox.profile":")" +
                                    profile + R"("}}},
        {"Type":"volume","Target":"/workspace","ReadOnly":false,"VolumeOptions":{"NoCopy":true,"Labels":
          {"io.mcpbox.managed":"1","io.mcpbox.create":"nonce","io.mcpbox.spaces":"none","io.mcpbox.profile":")" +
                                    profile + R"("}}}],
      "Tmpfs":{"/tmp":"rw,nosuid,nodev,exec,size=67108864,nr_inodes=16384,mode=1777",
               "/run":"rw,nosuid,nodev,noexec,size=1048576,nr_inodes=256,mode=0755",
               "/fast":"rw,nosuid,nodev,exec,size=8388608,nr_inodes=2048,mode=0755"},
      "ShmSize":67108864,"Memory":1610612736,"MemorySwap":1610612736,"NanoCpus":2000000000,"PidsLimit":512,
      "Ulimits":[{"Name":"nproc","Soft":512,"Hard":512},{"Name":"nofile","Soft":4096,"Hard":4096},
        {"Name":"fsize","Soft":8589934592,"Hard":8589934592},{"Name":"core","Soft":0,"Hard":0},
        {"Name":"memlock","Soft":65536,"Hard":65536},{"Name":"msgqueue","Soft":0,"Hard":0}],
      "LogConfig":{"Type":"none","Config":{}}}})");
  EXPECT_EQ(body(spec), expected) << json::diff(expected, body(spec)).dump(2);
}

TEST(DockerProfile, lets_pid_1_make_namespaces_with_a_filter_of_ours_and_no_covers) {
  const auto with = [](DockerSpaces spaces) {
    return json::parse(docker_create_body(full_spec(), facts(), image(), "nonce", spaces));
  };
  const auto all = with(DockerSpaces::kAll), without = with(DockerSpaces::kWithoutProc);
  EXPECT_EQ(all["Labels"][kSpacesLabel], "all");
  EXPECT_EQ(all["HostConfig"]["MaskedPaths"], json::array());
  EXPECT_EQ(all["HostConfig"]["ReadonlyPaths"], json::array());
  EXPECT_EQ(without["Labels"][kSpacesLabel], "without-proc");
  EXPECT_FALSE(without["HostConfig"].contains("MaskedPaths"));
  for (const auto& body : {all, without}) {
    const std::string option = body["HostConfig"]["SecurityOpt"][1];
    ASSERT_TRUE(option.starts_with("seccomp="));
    const auto filter = json::parse(option.substr(8));
    EXPECT_EQ(filter["defaultAction"], "SCMP_ACT_ERRNO");
    std::set<std::string> allowed;
    for (const auto& rule : filter["syscalls"]) {
      for (const auto& name : rule["names"]) allowed.insert(name.get<std::string>());
    }
    for (const char* name : {"unshare", "fsmount", "move_mount", "execve", "landlock_restrict_self"})
      EXPECT_TRUE(allowed.contains(name)) << name;
    for (const char* name :
         {"mount", "setns", "ptrace", "bpf", "keyctl", "io_uring_setup", "open_by_handle_at", "init_module"})
      EXPECT_FALSE(allowed.contains(name)) << name;
  }
  auto made = faithful(all);
  made["HostConfig"]["MaskedPaths"] = made["HostConfig"]["ReadonlyPaths"] = json::array();
  EXPECT_TRUE(check(all, made));
  EXPECT_FALSE(check(without, made)) << "covers that were not to be taken off";
  made["HostConfig"]["SecurityOpt"][1] = "seccomp=unconfined";
  EXPECT_FALSE(check(all, made));
}

TEST(DockerProfile, asks_for_no_more_processors_than_there_are) {
  auto engine = facts();
  engine.cpus = 1;
  EXPECT_EQ(body(full_spec(), engine)["HostConfig"]["NanoCpus"], 1000000000);
}

TEST(DockerProfile, an_old_api_is_not_sent_a_newer_field) {
  auto engine = facts();
  engine.api_minor = 40;
  EXPECT_FALSE(body(full_spec(), engine)["HostConfig"].contains("CgroupnsMode"));
}

TEST(DockerProfile, overrides_what_a_hostile_image_declares) {
  auto from = read_docker_image(R"({"Id":")" + kImageId + R"(","Config":{"User":"0","Entrypoint":["/evil"],
    "Env":["PATH=/evil","LD_PRELOAD=/evil.so"],"Volumes":{"/data":{},"/workspace":{}},
    "Labels":{"io.mcpbox.instance":"two","io.mcpbox.foreign":"x","other":"y"}}})");
  ASSERT_TRUE(from) << from.error().message();
  const auto sent = body(full_spec(), facts(), *from);
  EXPECT_EQ(sent["Env"].size(), 2u);
  EXPECT_EQ(sent["Env"][1], "LD_PRELOAD");  // a name without a value: removed
  EXPECT_EQ(sent["HostConfig"]["Tmpfs"]["/data"], "ro,nosuid,nodev,noexec,size=4096,nr_inodes=1,mode=0555");
  EXPECT_FALSE(sent["HostConfig"]["Tmpfs"].contains("/workspace"));  // ours covers it
  EXPECT_EQ(sent["Labels"]["io.mcpbox.instance"], "one");
  EXPECT_EQ(sent["Labels"]["io.mcpbox.foreign"], "");
  EXPECT_FALSE(sent["Labels"].contains("other"));
}

TEST(DockerProfile, refuses_an_image_whose_volume_would_cover_the_system) {
  EXPECT_FALSE(read_docker_image(R"({"Id":")" + kImageId + R"(","Config":{"Volumes":{"/proc":{}}}})"));
  EXPECT_FALSE(read_docker_image(R"({"Id":")" + kImageId + R"(","Config":{"Volumes":{"/a/../../b":{}}}})"));
  EXPECT_FALSE(read_docker_image(R"({"Id":"short"})"));
}

TEST(DockerReadback, accepts_what_was_asked_for) {
  const auto sent = body(full_spec());
  auto same = check(sent, faithful(sent));
  EXPECT_TRUE(same) << same.error().message();
}

TEST(DockerReadback, tolerates_the_spellings_of_other_engines) {
  const auto sent = body(full_spec());
  auto made = faithful(sent);
  made["Config"]["Cmd"] = nullptr;
  made["HostConfig"]["CapAdd"] = {"CAP_SETUID", "CAP_SETGID", "CAP_KILL", "CAP_SETPCAP", "CAP_SYS_NICE"};
  made["HostConfig"]["PidMode"] = "private";
  made["HostConfig"]["SecurityOpt"] = {"no-new-privileges"};
  made["HostConfig"]["RestartPolicy"]["MaximumRetryCount"] = 0;
  made["HostConfig"].erase("UTSMode");
  auto same = check(sent, made);
  EXPECT_TRUE(same) << same.error().message();
}

TEST(DockerReadback, names_every_field_that_differs) {
  struct Case {
    const char* field;
    std::function<void(json&)> change;
  };
  const Case cases[] = {
      {"Privileged", [](json& m) { m["HostConfig"]["Privileged"] = true; }},
      {"CapAdd", [](json& m) { m["HostConfig"]["CapAdd"].push_back("SYS_ADMIN"); }},
      {"CapDrop", [](json& m) { m["HostConfig"]["CapDrop"] = nullptr; }},
      {"SecurityOpt", [](json& m) { m["HostConfig"]["SecurityOpt"].push_back("seccomp=unconfined"); }},
      {"SecurityOpt", [](json& m) { m["HostConfig"]["SecurityOpt"] = nullptr; }},
      {"NetworkMode", [](json& m) { m["HostConfig"]["NetworkMode"] = "host"; }},
      {"PidMode", [](json& m) { m["HostConfig"]["PidMode"] = "host"; }},
      {"IpcMode", [](json& m) { m["HostConfig"]["IpcMode"] = "host"; }},
      {"UsernsMode", [](json& m) { m["HostConfig"]["UsernsMode"] = "host"; }},
      {"CgroupnsMode", [](json& m) { m["HostConfig"]["CgroupnsMode"] = "host"; }},
      {"ReadonlyRootfs", [](json& m) { m["HostConfig"]["ReadonlyRootfs"] = false; }},
      {"Memory", [](json& m) { m["HostConfig"]["Memory"] = 0; }},
      {"MemorySwap", [](json& m) { m["HostConfig"]["MemorySwap"] = -1; }},
      {"NanoCpus", [](json& m) { m["HostConfig"]["NanoCpus"] = 0; }},
      {"PidsLimit", [](json& m) { m["HostConfig"]["PidsLimit"] = nullptr; }},
      {"Ulimits", [](json& m) { m["HostConfig"]["Ulimits"] = json::array(); }},
      {"Devices", [](json& m) { m["HostConfig"]["Devices"] = {{{"PathOnHost", "/dev/kmsg"}}}; }},
      {"Binds", [](json& m) { m["HostConfig"]["Binds"] = {"/:/host"}; }},
      {"LogConfig", [](json& m) { m["HostConfig"]["LogConfig"]["Type"] = "json-file"; }},
      {"MaskedPaths", [](json& m) { m["HostConfig"]["MaskedPaths"] = json::array(); }},
      {"AppArmorProfile", [](json& m) { m["AppArmorProfile"] = "unconfined"; }},
      {"Mounts[/extra]",
       [](json& m) { m["Mounts"].push_back({{"Type", "volume"}, {"Destination", "/extra"}, {"RW", true}}); }},
      {"Mounts[/.box/mcpbox-init].RW", [](json& m) { m["Mounts"][0]["RW"] = true; }},
      {"Mounts[/cache]", [](json& m) { m["Mounts"].erase(1); }},
      {"Tmpfs", [](json& m) { m["HostConfig"]["Tmpfs"]["/tmp"] = "rw,exec"; }},
      {"User", [](json& m) { m["Config"]["User"] = ""; }},
      {"Entrypoint", [](json& m) { m["Config"]["Entrypoint"] = {"/bin/sh"}; }},
      {"Cmd", [](json& m) { m["Config"]["Cmd"] = {"evil"}; }},
      {"Env", [](json& m) { m["Config"]["Env"].push_back("LD_PRELOAD=/evil"); }},
      {"Labels[io.mcpbox.instance]", [](json& m) { m["Config"]["Labels"]["io.mcpbox.instance"] = "two"; }},
      {"Labels[io.mcpbox.managed]", [](json& m) { m["Config"]["Labels"].erase("io.mcpbox.managed"); }},
      {"Image", [](json& m) { m["Image"] = "sha256:" + std::string(64, 'c'); }},
  };
  const auto sent = body(full_spec());
  for (const auto& [field, change] : cases) {
    auto made = faithful(sent);
    change(made);
    auto same = check(sent, made);
    ASSERT_FALSE(same) << field;
    EXPECT_EQ(same.error().code(), Code::kFailedPrecondition);
    EXPECT_NE(same.error().message().find(field), std::string::npos) << field << ": " << same.error().message();
  }
}

TEST(DockerReadback, tolerates_unlimited_swap_only_where_the_engine_cannot_limit_it) {
  const auto sent = body(full_spec());
  auto made = faithful(sent);
  made["HostConfig"]["MemorySwap"] = -1;
  auto engine = facts();
  engine.swap_limit = false;
  EXPECT_TRUE(check(sent, made, engine));
  EXPECT_FALSE(check(sent, made));
}

TEST(SandboxSpec, names_the_field_that_is_wrong) {
  struct Case {
    const char* word;
    std::function<void(SandboxSpec&)> change;
  };
  const Case cases[] = {
      {"name", [](SandboxSpec& s) { s.name = "Upper"; }},
      {"name", [](SandboxSpec& s) { s.name = ""; }},
      {"name", [](SandboxSpec& s) { s.name = std::string(64, 'a'); }},
      {"image", [](SandboxSpec& s) { s.profile.image = ""; }},
      {"image", [](SandboxSpec& s) { s.profile.image = "../containers/x"; }},
      {"image", [](SandboxSpec& s) { s.profile.image = "a?b=c"; }},
      {"PID 1", [](SandboxSpec& s) { s.init_argv = {"sh"}; }},
      {"label", [](SandboxSpec& s) { s.labels["evil"] = "x"; }},
      {"label", [](SandboxSpec& s) { s.labels["io.mcpbox.x"] = "\xff"; }},
      {"memory", [](SandboxSpec& s) { s.profile.limits.memory_bytes = 0; }},
      {"processor", [](SandboxSpec& s) { s.profile.limits.cpus = 0; }},
      {"process limit", [](SandboxSpec& s) { s.profile.limits.processes = 0; }},
      {"target", [](SandboxSpec& s) { s.profile.mounts[0].target = "relative"; }},
      {"target", [](SandboxSpec& s) { s.profile.mounts[0].target = "/a/../b"; }},
      {"/proc", [](SandboxSpec& s) { s.profile.mounts[0].target = "/proc/sys"; }},
      {"source", [](SandboxSpec& s) { s.profile.mounts[0].source = "/a//b"; }},
      {"volume", [](SandboxSpec& s) { s.profile.mounts[1].source = "a/b"; }},
      {"two mounts", [](SandboxSpec& s) { s.profile.mounts[1].target = s.profile.mounts[0].target; }},
  };
  EXPECT_TRUE(check_sandbox_spec(full_spec()));
  for (const auto& [word, change] : cases) {
    auto spec = full_spec();
    change(spec);
    auto checked = check_sandbox_spec(spec);
    ASSERT_FALSE(checked) << word;
    EXPECT_EQ(checked.error().code(), Code::kInvalidArgument);
    EXPECT_NE(checked.error().message().find(word), std::string::npos) << checked.error().message();
  }
}

TEST(SandboxProfile, hash_is_stable) {
  SandboxProfile profile;
  profile.image = "mcpbox-runner:0123456789ab";
  // A change here makes every running sandbox foreign: raise the number in the canonical form and say so in the change
  // log.
  EXPECT_EQ(profile.hash(), "08ebb75ffcee5c753cf6b1e3b759de54e65e69fdc28d249269fc3a47a63c3e2b");
}

TEST(SandboxProfile, hash_ignores_the_order_of_mounts_and_nothing_else) {
  const auto base = full_spec().profile;
  auto turned = base;
  std::swap(turned.mounts[0], turned.mounts[2]);
  EXPECT_EQ(turned.hash(), base.hash());
  const std::function<void(SandboxProfile&)> changes[] = {
      [](SandboxProfile& p) { p.image += "x"; },
      [](SandboxProfile& p) { p.limits.memory_bytes += 1; },
      [](SandboxProfile& p) { p.limits.cpus += 0.01; },
      [](SandboxProfile& p) { p.limits.processes += 1; },
      [](SandboxProfile& p) { p.read_only_root = false; },
      [](SandboxProfile& p) { p.mounts[0].source += "x"; },
      [](SandboxProfile& p) { p.mounts[0].target += "x"; },
      [](SandboxProfile& p) { p.mounts[0].read_only = false; },
      [](SandboxProfile& p) { p.mounts[2].kind = Mount::Kind::kMemory; },
      [](SandboxProfile& p) { p.mounts[3].size_bytes += 1; },
      [](SandboxProfile& p) { p.mounts[3].mode = 0700; },
      [](SandboxProfile& p) { p.mounts.pop_back(); },
  };
  std::set<std::string> seen{base.hash()};
  for (const auto& change : changes) {
    auto profile = base;
    change(profile);
    EXPECT_TRUE(seen.insert(profile.hash()).second);
    EXPECT_NE(profile, base);
  }
}

}  // namespace
}  // namespace mcpbox::box
