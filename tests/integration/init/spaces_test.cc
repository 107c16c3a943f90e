// Namespaces of a server's own: what it can do in them, and what its neighbour sees of that.
#include <signal.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>

#include "integration/init/fixture.h"

namespace mcpbox::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class InitSpaces : public Init {
 protected:
  void SetUp() override { start({"--spaces"}); }

  static box::ProcessSpec python(std::string id, const std::string& code, uid_t uid = kAlice) {
    return spec(std::move(id), {"python3", "-u", "-c", code}, uid);
  }
  std::string told(const std::string& code, uid_t uid = kAlice) {
    const Output output = output_of(python("p", code, uid));
    return output.out + output.err;
  }
};

TEST_F(InitSpaces, give_a_server_a_name_and_number_of_its_own) {
  EXPECT_EQ(told("import os,pwd,grp; e=pwd.getpwuid(os.getuid()); print(os.getuid(),os.getgid(),e.pw_name,"
                 "grp.getgrgid(os.getgid()).gr_name,os.getgroups())"),
            "1000 1000 mcpbox mcpbox []\n");
  auto what = spec("home", {"sh", "-c", "echo ~mcpbox"});
  what.env.emplace_back("HOME=/workspace");
  EXPECT_EQ(output_of(what).out, "/workspace\n");
}

TEST_F(InitSpaces, let_a_server_use_loopback_tmp_shared_memory_and_terminals) {
  EXPECT_EQ(told("import socket\n"
                 "s=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(); c=socket.create_connection(s.getsockname())\n"
                 "a,_=s.accept(); c.send(b'talks'); print(a.recv(9).decode())\n"
                 "u=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); u.bind(('127.0.0.1',5353))\n"
                 "socket.socket(socket.AF_INET,socket.SOCK_DGRAM).sendto(b'udp',u.getsockname()); "
                 "print(u.recv(9).decode())\n"
                 "print(socket.create_connection((socket.gethostbyname('localhost'),s.getsockname()[1])) and 'named')"),
            "talks\nudp\nnamed\n");
  EXPECT_EQ(told("import os,subprocess\n"
                 "open('/tmp/x','w').write('#!/bin/sh\\necho runs'); os.chmod('/tmp/x',0o700)\n"
                 "print(subprocess.check_output(['/tmp/x']).decode(),end='')"),
            "runs\n");
  EXPECT_EQ(told("import multiprocessing as m\nwith m.Pool(2) as p: print(p.map(len,['a','bb']))"), "[1, 2]\n");
  EXPECT_EQ(told("import os,pty\nm,s=pty.openpty(); os.write(s,b'hi'); print(os.ttyname(s),os.read(m,2).decode())"),
            "/dev/pts/0 hi\n");
}

TEST_F(InitSpaces, show_a_server_its_own_processes_only) {
  auto neighbour = must_spawn(spec("neighbour", {"sleep", "100"}, kBob));
  EXPECT_EQ(told("import os; print([int(p) for p in os.listdir('/proc') if p.isdigit()],os.getpid())"), "[1, 2] 2\n");
  EXPECT_EQ(told("import os\ntry: os.kill(-1,9)\nexcept OSError as e: print(e.strerror)"), "No such process\n");
  EXPECT_EQ(run(supervisor->list())->size(), 1u);
}

TEST_F(InitSpaces, hide_from_a_neighbour_what_a_server_makes) {
  auto victim = must_spawn(
      python("victim",
             "import socket,os,sys\nopen('/tmp/x','w').write('mine'); open('/dev/shm/x','w').write('mine')\n"
             "s=socket.socket(); s.bind(('127.0.0.1',7777)); s.listen()\n"
             "a=socket.socket(socket.AF_UNIX); a.bind('\\0mine'); a.listen(); print('ready'); sys.stdin.read()"));
  ASSERT_EQ(read_line(victim.pipes.out.get()), "ready");
  EXPECT_EQ(told("import os,socket\nprint(os.listdir('/tmp'),os.listdir('/dev/shm'))\n"
                 "for f,a in (socket.AF_INET,('127.0.0.1',7777)),(socket.AF_UNIX,'\\0mine'):\n"
                 "  try: socket.socket(f).connect(a); print('REACHED')\n"
                 "  except OSError as e: print(e.strerror)\n"
                 "s=socket.socket(); s.bind(('127.0.0.1',7777)); print('bound')",
                 kBob),
            "[] []\nConnection refused\nConnection refused\nbound\n");
}

TEST_F(InitSpaces, fill_up_without_a_neighbour_noticing) {
  auto full = must_spawn(python("full",
                                "import sys\nb=b'x'*(1<<20)\n"
                                "for path in '/tmp/x','/dev/shm/x':\n"
                                "  f=open(path,'wb')\n"
                                "  try:\n    while True: f.write(b); f.flush()\n"
                                "  except OSError as e: print(e.strerror)\n"
                                "sys.stdin.read()"));
  EXPECT_EQ(read_line(full.pipes.out.get()), "No space left on device");
  EXPECT_EQ(read_line(full.pipes.out.get()), "No space left on device");
  EXPECT_EQ(told("for p in '/tmp/y','/dev/shm/y': open(p,'wb').write(b'y'*(8<<20))\nprint('room')", kBob), "room\n");
}

TEST_F(InitSpaces, leave_a_server_no_way_to_make_more_of_them) {
  const auto attack = [&](const char* name, const char* argument = "0") {
    return output_of(spec("evil", {"/opt/tests/test_attack", name, argument})).out;
  };
  for (const char* name : {"unshare", "clone_newuser", "mount", "keyctl", "raw", "packet", "mptcp", "sysv"})
    EXPECT_TRUE(attack(name).starts_with("blocked")) << name;
  for (const char* path : {"/etc/passwd", "/usr/x", "/proc/sys/kernel/hostname", "/dev/x", "/x"})
    EXPECT_TRUE(attack("write", path).starts_with("blocked")) << path;
  EXPECT_EQ(told("print(*[l.split()[1] for l in open('/proc/self/status') if l.startswith(('Cap','NoNew'))])"),
            "0000000000000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000 1\n");
}

TEST_F(InitSpaces, say_how_a_server_ended) {
  EXPECT_EQ(output_of(spec("code", {"sh", "-c", "exit 7"})).exit.code, 7);
  EXPECT_EQ(output_of(spec("signal", {"sh", "-c", "kill -ABRT $$"})).exit.signal, SIGABRT);
  auto sleeping = must_spawn(spec("term", {"sleep", "100"}));
  ASSERT_THAT(run(supervisor->signal("term", SIGTERM)), succeeds());
  EXPECT_EQ(exit_of("term").signal, SIGTERM);
  auto missing = run(supervisor->spawn(spec("missing", {"no-such-program"})));
  EXPECT_THAT(missing, fails(Code::kNotFound, "no-such-program"));
  auto elsewhere = spec("elsewhere", {"true"});
  elsewhere.cwd = "/nowhere";
  EXPECT_THAT(run(supervisor->spawn(std::move(elsewhere))), fails(Code::kNotFound, "enter '/nowhere'"));
}

// Who ends at once may do so before PID 1 has heard who it is.
TEST_F(InitSpaces, say_how_a_server_ended_that_was_in_a_hurry) {
  for (int round = 0; round < 500 && !HasFailure(); ++round) {
    const box::ProcessExit exit = output_of(spec("hurry", {"sh", "-c", "kill -ABRT $$"})).exit;
    EXPECT_EQ(exit.signal, SIGABRT) << "round " << round;
    EXPECT_GT(exit.peak_memory_bytes, 0u) << "round " << round;
  }
}

TEST_F(InitSpaces, end_with_everything_in_them) {
  const char* daemons =
      "for i in 1 2 3; do setsid sleep 100 </dev/null >/dev/null 2>&1 & done; echo ready; exec sleep 100";
  auto killed = must_spawn(spec("killed", {"sh", "-c", daemons}));
  ASSERT_EQ(read_line(killed.pipes.out.get()), "ready");
  EXPECT_EQ(*run(supervisor->kill_uid(kAlice, SIGKILL)), 0u);
  EXPECT_EQ(exit_of("killed").signal, SIGKILL);
  // What outlives a process goes when nobody asks for it any more.
  const char* left = "setsid sleep 100 </dev/null >/dev/null 2>&1 & echo $!";
  EXPECT_NE(output_of(spec("left", {"sh", "-c", left}, kBob)).out, "");
  for (int i = 0; i < 200; ++i) {
    if (*run(supervisor->kill_uid(kBob, SIGTERM)) == 0) return;
    ::usleep(20'000);
  }
  FAIL() << "something is left";
}

// Nobody can remove anything there any more.
TEST_F(InitSpaces, count_no_memory_files_of_a_start_that_is_over) {
  const auto filling = [](std::string id) {
    auto what =
        python(std::move(id),
               "import time\nfile=open('/tmp/x','wb')\nfor _ in range(40): file.write(b'x'*(1<<20))\nfile.flush()\n"
               "print('filled')\n"
               "time.sleep(2)\nprint('alive')\ntime.sleep(100)");
    what.server.memory_bytes = 72 << 20;
    return what;
  };
  auto first = must_spawn(filling("first"));
  ASSERT_EQ(read_line(first.pipes.out.get()), "filled");
  EXPECT_EQ(*run(supervisor->kill_uid(kAlice, SIGKILL)), 0u);
  (void)exit_of("first");  // and nobody has forgotten it yet
  auto second = must_spawn(filling("second"));
  ASSERT_EQ(read_line(second.pipes.out.get()), "filled");
  EXPECT_EQ(read_line(second.pipes.out.get()), "alive") << exits["second"].describe();
}

TEST_F(InitSpaces, come_to_nothing_when_they_are_killed_while_they_are_made) {
  const auto both = [](box::Supervisor& link, box::ProcessSpec what) -> Task<unsigned> {
    // The second goes out before the first is answered.
    auto executor = co_await boost::asio::this_coro::executor;
    boost::asio::co_spawn(executor, link.spawn(std::move(what)), [](auto&&...) {});
    auto left = co_await link.kill_uid(kAlice, SIGKILL);
    co_return left ? *left : 99;
  };
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(run(both(*supervisor, spec("round" + std::to_string(i), {"sleep", "100"}))), 0u);
    EXPECT_EQ(run(supervisor->kill_uid(kAlice, SIGKILL)).value(), 0u);
  }
}

TEST_F(InitSpaces, leave_the_limit_of_processes_to_the_server) {
  auto what = python("limit",
                     "import subprocess\np=[]\n"
                     "try:\n  while True: p.append(subprocess.Popen(['sleep','100']))\n"
                     "except OSError as e: print(len(p),e.strerror)\n"
                     "for each in p: each.kill()");
  what.limits.processes = 8;
  EXPECT_EQ(output_of(what).out, "7 Resource temporarily unavailable\n");
}

}  // namespace
}  // namespace mcpbox::test
