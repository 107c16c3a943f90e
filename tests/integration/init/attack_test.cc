// The attack table of two servers in one sandbox: one hit is allowed, seeing argv in /proc.
#include <signal.h>

#include "integration/init/fixture.h"

namespace mcpbox::test {
namespace {

class InitAttack : public Init {
 protected:
  void SetUp() override {
    Init::SetUp();
    ASSERT_TRUE(supervisor);
    for (auto [name, uid] : {std::pair{"victim", kAlice}, {"evil", kBob}}) {
      ASSERT_THAT(run(make_tree(tree(name), uid, uid, {"home"})), succeeds());
    }
    auto fill = spec("fill", {"sh", "-c", "echo treasure > secret"});
    fill.cwd = tree("victim") + "/home";
    fill.confine.read_write = {fill.cwd};
    ASSERT_EQ(output_of(fill).exit.code, 0);
    auto what = spec("victim", {"/opt/tests/test_victim"});
    what.cwd = tree("victim") + "/home";
    what.env.push_back("API_SECRET=sk-1");
    what.confine.read_write = {what.cwd};
    what.confine.bind_ports = {7777};
    victim = must_spawn(what);
    ASSERT_EQ(read_line(victim.pipes.out.get()), "ready");
  }
  static std::string tree(const std::string& name) { return "/workspace/.mcp/" + name; }
  box::ProcessSpec attacker(const std::string& name, const std::string& argument) {
    auto what = spec("evil", {"/opt/tests/test_attack", name, argument}, kBob);
    what.cwd = tree("evil") + "/home";
    what.confine.read_write = {what.cwd};
    return what;
  }
  std::string attack(const std::string& name, const std::string& argument = "0") {
    return output_of(attacker(name, argument)).out;
  }
  std::string victim_pid() const { return std::to_string(victim.pid); }

  box::Supervisor::Spawned victim;
};

TEST_F(InitAttack, on_a_neighbours_process_fails) {
  for (const char* name :
       {"environ", "mem", "stdout", "cwd", "root", "oom", "ptrace", "vm_readv", "pidfd_getfd", "kill", "prlimit"}) {
    EXPECT_TRUE(attack(name, victim_pid()).starts_with("blocked")) << name;
  }
  EXPECT_TRUE(attack("signal_init").starts_with("blocked"));
  write_text(victim.pipes.in.get(), "1\n");
  EXPECT_EQ(read_line(victim.pipes.out.get()), "answer 1");
}

TEST_F(InitAttack, on_files_fails) {
  const std::string home = tree("victim") + "/home";
  EXPECT_TRUE(attack("read", home + "/secret").starts_with("blocked"));
  EXPECT_TRUE(attack("write", home + "/secret").starts_with("blocked"));
  EXPECT_TRUE(attack("rename", home).starts_with("blocked"));
  for (const char* path : {"/workspace/x", "/workspace/.mcp/x", "/tmp/x", "/usr/x", "/etc/x", "/.box/mcpbox-init",
                           "/.boxrun/x", "/cache/x", "/opt/tests/x", "/x"}) {
    EXPECT_TRUE(attack("write", path).starts_with("blocked")) << path;
  }
  EXPECT_TRUE(attack("read", "/.box/mcpbox-init").starts_with("blocked"));
  EXPECT_TRUE(attack("mknod", tree("evil") + "/home/disk").starts_with("blocked"));
  EXPECT_EQ(attack("write", tree("evil") + "/home/own"), "HIT\n");  // its own it may
  EXPECT_EQ(attack("read", "/etc/passwd"), "HIT\n");
  EXPECT_EQ(attack("write", "/dev/null"), "HIT\n");
}

TEST_F(InitAttack, over_sockets_fails) {
  for (const char* name : {"tcp", "mptcp", "fast_open"})
    EXPECT_TRUE(attack(name, "7777").starts_with("blocked")) << name;
  EXPECT_TRUE(attack("listen", "3128").starts_with("blocked"));
  EXPECT_TRUE(attack("abstract", "victim").starts_with("blocked"));
  EXPECT_TRUE(attack("control").starts_with("blocked"));
  for (const char* name : {"udp", "udp6", "raw", "packet", "vsock", "alg", "netlink_audit"}) {
    EXPECT_TRUE(attack(name).starts_with("blocked")) << name;
  }
  EXPECT_EQ(attack("socketpair"), "HIT\n");
  EXPECT_EQ(attack("netlink_route"), "HIT\n");
  auto allowed = attacker("tcp", "7777");
  allowed.confine.connect_ports = {7777};
  EXPECT_EQ(output_of(allowed).out, "HIT\n");
}

TEST_F(InitAttack, on_the_kernel_fails) {
  for (const char* name :
       {"sysv", "mqueue", "io_uring", "unshare", "clone_newuser", "mount", "keyctl", "bpf", "userfaultfd"}) {
    EXPECT_TRUE(attack(name).starts_with("blocked")) << name;
  }
#if defined(__x86_64__)
  EXPECT_EQ(output_of(attacker("x32", "0")).exit.signal, SIGSYS);
#endif
}

TEST_F(InitAttack, on_the_control_socket_fails_even_for_its_owner) {
  // A server that serves a bound folder runs as the folder's owner, who may be the operator himself.
  auto owner = spec("owner", {"/opt/tests/test_attack", "control"}, InitSandbox::kOwner);
  EXPECT_TRUE(output_of(owner).out.starts_with("blocked"));
  EXPECT_TRUE(run(supervisor->list()));  // and nobody took over
  auto planted = spec("plant", {"/opt/tests/test_attack", "write", "/.boxrun/x"}, InitSandbox::kOwner);
  EXPECT_TRUE(output_of(planted).out.starts_with("blocked"));
}

}  // namespace
}  // namespace mcpbox::test
