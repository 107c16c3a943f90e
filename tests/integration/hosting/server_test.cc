// Whole servers: staged, started, called, killed, stopped. The server is a few lines of Python without any SDK.
#include "hosting/server.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "hosting/host.h"
#include "json/value.h"
#include "net/task_group.h"
#include "provision/instance_id.h"
#include "real_engine.h"
#include "support/result_matcher.h"

namespace mcpbox::hosting {
namespace {

using std::chrono::seconds;
using test::Clock;
using testing::HasSubstr;

constexpr const char* kServer = R"py(
import json, os, signal, sys, time

def send(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()

def call(name, arguments):
    path = arguments.get("path", "")
    if name == "home": return os.environ["HOME"]
    if name == "pid": return str(os.getpid())
    if name == "uid": return str(os.getuid())
    if name == "write":
        with open(path, "a") as file: file.write(arguments["text"])
        return "written"
    if name == "read":
        with open(path) as file: return file.read()
    if name == "crash":
        with open(os.environ["HOME"] + "/crashes", "a") as file: file.write("crash\n")
        sys.stderr.write("about to crash\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "close_stdout":
        os.close(1)
        time.sleep(1000)
    if name == "hang":
        time.sleep(1000)
    raise KeyError(name)

for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message: continue
    method, result = message["method"], {}
    if method == "initialize":
        result = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "plain", "version": "1"}}
    elif method == "tools/list":
        names = ["home", "pid", "uid", "write", "read", "crash", "close_stdout", "hang"]
        result = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in names]}
    elif method == "tools/call":
        try:
            text = call(message["params"]["name"], message["params"]["arguments"])
            result = {"content": [{"type": "text", "text": text}]}
        except Exception as error:
            result = {"isError": True, "content": [{"type": "text", "text": repr(error)}]}
    send({"jsonrpc": "2.0", "id": message["id"], "result": result})
)py";

struct HostedServerTest : test::RealEngine {
  std::unique_ptr<SandboxBackend> backend;
  std::unique_ptr<Host> host;

  void TearDown() override {
    if (host) {
      auto stop = [this]() -> Task<bool> { co_return (co_await host->stop()).has_value(); };
      EXPECT_TRUE(test::run_task(loop, stop()));
      host.reset();
      backend.reset();
    }
    test::RealEngine::TearDown();
  }

  config::ServerSettings python(const std::string& name, const std::string& code = kServer) {
    config::ServerSettings server;
    server.name = name;
    server.command = "python3";
    server.args = {tree.file(name + "/server.py", code)};
    server.box.host_path = tree.path(name);
    server.box.startup_timeout = seconds(60);
    server.tool_call_timeout = seconds(60);
    return server;
  }
  box::UidRange uids;
  std::chrono::seconds idle{60};
  void start(std::vector<config::ServerSettings> servers) {
    SandboxBackendOptions options;
    options.uids = uids;
    options.box.sandbox_idle = idle;
    options.instance = instance;
    options.init_path = init;
    options.run_dir = run_dir;
    options.state_dir = tree.dir("state");
    options.image = setup.image_id;
    options.policy.allowed_roots = {tree.root()};
    backend = std::make_unique<SandboxBackend>(*setup.engine, loop.get_executor(), pool, std::move(options));
    host = std::make_unique<Host>(loop.get_executor(), pool, std::move(servers), *backend);
    host->start();
  }
  Server& server(const std::string& name) { return **host->find(name); }

  Task<bool> until(Server& which, std::function<bool(const ServerView&)> condition) {
    const auto deadline = Clock::now() + seconds(50);
    while (!condition(which.view()) && Clock::now() < deadline) (void)co_await which.changed().wait_until(deadline);
    co_return condition(which.view());
  }
  Task<bool> connected(Server& which) {
    const bool good =
        co_await until(which, [](const ServerView& view) { return view.state == ServerState::kConnected; });
    EXPECT_TRUE(good) << which.view().error;
    co_return good;
  }
  static std::string log_of(Server& which) {
    std::string text;
    for (const provision::LogLine& line : which.log().since(0)) text += line.text + "\n";
    return text;
  }
  // The text of the answer; "error: …" where the call failed, "refused: …" where the tool did.
  Task<std::string> call(Server& which, std::string tool, std::string arguments = "{}") {
    auto reply = co_await which.call_tool(std::move(tool), *json::RawObject::parse(arguments));
    if (!reply) co_return "error: " + reply.error().message();
    const auto value = json::Value::parse(reply->result);
    if (!value) co_return "no JSON: " + reply->result;
    std::string text;
    for (const json::Value& block : (*value)["content"].elements()) text = block["text"].string_or();
    co_return reply->result.find("\"isError\"") != std::string::npos ? "refused: " + text : text;
  }
};

// In namespaces of its own it is uid 1000; without them, where the engine permits none, it sees its sandbox's number.
auto is_its_user(const Server& server) {
  return testing::AnyOf("1000", std::to_string(server.view().uid));
}

TEST_F(HostedServerTest, connects_lists_its_tools_and_answers_as_its_own_user) {
  start({python("one")});
  auto body = [this]() -> Task<int> {
    Server& one = server("one");
    if (!co_await connected(one)) co_return 1;
    EXPECT_EQ(one.view().tool_count, 8u);
    EXPECT_THAT(co_await call(one, "uid"), is_its_user(one));
    EXPECT_GE(one.view().uid, 1'900'000'000u);
    EXPECT_EQ(one.view().server_name, "plain");
    EXPECT_THAT(co_await call(one, "no-such-tool"), HasSubstr("refused: KeyError"));
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(HostedServerTest, a_crash_fails_the_call_once_and_the_server_comes_back) {
  start({python("one")});
  auto body = [this]() -> Task<int> {
    Server& one = server("one");
    if (!co_await connected(one)) co_return 1;
    const std::string home = co_await call(one, "home");
    const std::string died = co_await call(one, "crash");
    EXPECT_THAT(died, HasSubstr("error: "));
    EXPECT_THAT(died, HasSubstr("SIGKILL"));
    EXPECT_THAT(died, HasSubstr("about to crash")) << "its last words tell why";
    EXPECT_TRUE(co_await until(one, [](const ServerView& view) { return view.state == ServerState::kReconnecting; }));
    EXPECT_EQ(one.view().phase, provision::Phase::kRuntime);
    EXPECT_THAT(co_await call(one, "pid"), HasSubstr("reconnecting (runtime)"));
    if (!co_await connected(one)) co_return 1;
    EXPECT_EQ(one.view().restarts, 1u);
    EXPECT_EQ(co_await call(one, "read", R"({"path":")" + home + R"(/crashes"})"), "crash\n")
        << "the call was executed again";
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(HostedServerTest, a_server_that_ends_at_once_gives_up_after_its_retries_and_says_why) {
  start({python("bad", "import sys\nsys.exit('cannot find my configuration')\n")});
  auto body = [this]() -> Task<int> {
    Server& bad = server("bad");
    EXPECT_TRUE(co_await until(bad, [](const ServerView& view) { return view.state == ServerState::kError; }));
    EXPECT_THAT(bad.view().error, HasSubstr("given up after 3 retries, `mcpbox restart bad` starts it again: "));
    EXPECT_THAT(bad.view().error, HasSubstr("exit code 1"));
    EXPECT_THAT(bad.view().error, HasSubstr("cannot find my configuration"));
    EXPECT_EQ(bad.view().phase, provision::Phase::kMcpInit);
    EXPECT_EQ(bad.view().restarts, 3u);
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(HostedServerTest, a_command_that_is_not_there_is_not_tried_again) {
  auto settings = python("missing");
  settings.command = "no-such-program";
  start({std::move(settings)});
  auto body = [this]() -> Task<int> {
    Server& missing = server("missing");
    EXPECT_TRUE(co_await until(missing, [](const ServerView& view) { return view.state == ServerState::kError; }));
    EXPECT_EQ(missing.view().phase, provision::Phase::kProcessStart);
    EXPECT_THAT(missing.view().error, HasSubstr("no-such-program"));
    EXPECT_EQ(missing.view().restarts, 0u);
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(HostedServerTest, a_server_that_closes_its_stdout_and_lives_on_is_replaced) {
  start({python("one")});
  auto body = [this]() -> Task<int> {
    Server& one = server("one");
    if (!co_await connected(one)) co_return 1;
    EXPECT_THAT(co_await call(one, "close_stdout"), HasSubstr("closed its stdout"));
    co_return co_await connected(one) ? 0 : 1;
  };
  EXPECT_EQ(test::run_task(loop, body()), 0);
}

TEST_F(HostedServerTest, stop_fails_what_is_pending_and_restart_brings_a_new_process) {
  start({python("one")});
  auto body = [this]() -> Task<int> {
    Server& one = server("one");
    if (!co_await connected(one)) co_return 1;
    const pid_t pid = one.view().pid;
    net::TaskGroup calls(loop.get_executor(), "calls");
    std::string ended;
    const auto hang = [](HostedServerTest& self, std::string& out) -> Task<void> {
      out = co_await self.call(self.server("one"), "hang");
    };
    calls.spawn("hang", hang(*this, ended));
    one.request_stop();
    co_await one.settle(Clock::now() + seconds(30));
    EXPECT_EQ(one.view().state, ServerState::kStopped);
    co_await calls.join();
    EXPECT_THAT(ended, HasSubstr("was stopped"));
    EXPECT_THAT(co_await call(one, "pid"), HasSubstr("stopped"));
    one.request_restart(false);
    co_await one.settle(Clock::now() + seconds(30));
    EXPECT_EQ(one.view().state, ServerState::kConnected) << one.view().error;
    EXPECT_NE(one.view().pid, pid);
    one.request_restart(true);
    co_await one.settle(Clock::now() + seconds(30));
    EXPECT_EQ(one.view().state, ServerState::kConnected) << one.view().error;
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(HostedServerTest, a_stop_in_every_phase_of_the_start_leaves_no_process) {
  start({python("one")});
  auto body = [this]() -> Task<int> {
    Server& one = server("one");
    for (const provision::Phase phase : {provision::Phase::kSessionCreate, provision::Phase::kStage,
                                         provision::Phase::kProcessStart, provision::Phase::kMcpInit}) {
      EXPECT_TRUE(co_await until(one, [phase](const ServerView& view) { return view.phase == phase; }))
          << name_of(phase);
      one.request_stop();
      co_await one.settle(Clock::now() + seconds(30));
      EXPECT_EQ(one.view().state, ServerState::kStopped) << name_of(phase);
      one.request_restart(false);
    }
    if (!co_await connected(one)) co_return 1;
    // Of all those starts this one alone lives.
    auto session = co_await setup.engine->list(box::instance_labels(instance));
    EXPECT_EQ(session.value().size(), 1u);
    EXPECT_THAT(co_await call(one, "uid"), is_its_user(one));
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(HostedServerTest, a_stop_during_an_installation_ends_the_installers_sandbox) {
  auto settings = python("one");
  tree.file("one/requirements.txt", "mcp==1.2.0\n");
  start({std::move(settings)});
  auto body = [this]() -> Task<int> {
    Server& one = server("one");
    EXPECT_TRUE(co_await until(one, [](const ServerView& view) { return view.phase == provision::Phase::kDepInstall; }))
        << one.view().error;
    EXPECT_TRUE(co_await sandboxes_become(2));
    one.request_restart(false);
    EXPECT_TRUE(co_await until(one, [](const ServerView& view) { return view.phase == provision::Phase::kDepInstall; }))
        << one.view().error;
    one.request_stop();
    co_await one.settle(Clock::now() + seconds(30));
    EXPECT_EQ(one.view().state, ServerState::kStopped);
    EXPECT_TRUE(co_await sandboxes_become(1)) << "the installer's sandbox is left";
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(HostedServerTest, two_servers_share_a_sandbox_and_cannot_read_each_others_files) {
  start({python("one"), python("two")});
  auto body = [this]() -> Task<int> {
    Server& one = server("one");
    Server& two = server("two");
    if (!co_await connected(one) || !co_await connected(two)) co_return 1;
    EXPECT_EQ(one.view().sandbox, two.view().sandbox);
    EXPECT_NE(one.view().uid, two.view().uid);
    const std::string file = co_await call(one, "home") + "/secret";
    EXPECT_EQ(co_await call(one, "write", R"({"path":")" + file + R"(","text":"mine"})"), "written");
    EXPECT_EQ(co_await call(one, "read", R"({"path":")" + file + R"("})"), "mine");
    EXPECT_THAT(co_await call(two, "read", R"({"path":")" + file + R"("})"), HasSubstr("refused: PermissionError"));
    EXPECT_THAT(co_await call(two, "write", R"({"path":")" + file + R"(","text":"x"})"),
                HasSubstr("refused: PermissionError"));
    const std::string pid = std::to_string(one.view().pid);
    for (const std::string& name : {"/environ", "/mem", "/root/etc/passwd", "/cwd/server.py"}) {
      EXPECT_THAT(co_await call(two, "read", R"({"path":"/proc/)" + pid + name + R"("})"), HasSubstr("refused: "))
          << name;
    }
    EXPECT_THAT(co_await call(two, "read", R"({"path":"/.boxrun/control.sock"})"), HasSubstr("refused: "));
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(HostedServerTest, a_sandbox_removed_from_outside_is_reported_by_all_its_servers_and_they_come_back) {
  start({python("one"), python("two")});
  auto body = [this]() -> Task<int> {
    Server& one = server("one");
    Server& two = server("two");
    if (!co_await connected(one) || !co_await connected(two)) co_return 1;
    auto found = co_await setup.engine->list(box::instance_labels(instance));
    EXPECT_EQ(found.value().size(), 1u);
    EXPECT_TRUE(co_await setup.engine->remove(found->front().id));
    for (Server* each : {&one, &two}) {
      EXPECT_TRUE(co_await until(
          *each, [](const ServerView& view) { return view.restarts > 0 || view.state == ServerState::kReconnecting; }));
      EXPECT_THAT(log_of(*each), HasSubstr("removed from outside"));
    }
    if (!co_await connected(one) || !co_await connected(two)) co_return 1;
    EXPECT_EQ(one.view().sandbox, two.view().sandbox);
    EXPECT_EQ(co_await sandboxes(), 1u);
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(HostedServerTest, what_a_server_writes_stays_on_restart_and_the_hosts_folder_is_untouched) {
  auto settings = python("one");
  settings.box.host_path_mode = config::Access::kReadWrite;
  start({std::move(settings)});
  auto body = [this]() -> Task<int> {
    Server& one = server("one");
    if (!co_await connected(one)) co_return 1;
    EXPECT_EQ(co_await call(one, "write", R"({"path":"note","text":"kept"})"), "written");
    one.request_restart(false);
    co_await one.settle(Clock::now() + seconds(30));
    EXPECT_EQ(co_await call(one, "read", R"({"path":"note"})"), "kept");
    EXPECT_NE(::access(tree.path("one/note").c_str(), F_OK), 0);
    one.request_restart(true);
    co_await one.settle(Clock::now() + seconds(30));
    EXPECT_THAT(co_await call(one, "read", R"({"path":"note"})"), HasSubstr("refused: FileNotFoundError"));
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(HostedServerTest, a_restart_sends_only_what_changed_on_the_host) {
  tree.file("one/data.txt", "first");
  tree.file("one/same.txt", "same");
  start({python("one")});
  auto body = [this]() -> Task<int> {
    Server& one = server("one");
    const auto restart = [&]() -> Task<std::string> {
      const std::uint64_t seen = one.log().last_sequence();
      one.request_restart(false);
      co_await one.settle(Clock::now() + seconds(30));
      std::string text;
      for (const provision::LogLine& line : one.log().since(seen)) text += line.text + "\n";
      co_return text;
    };
    if (!co_await connected(one)) co_return 1;
    EXPECT_THAT(log_of(one), HasSubstr("3 entries"));
    EXPECT_THAT(co_await call(one, "write", R"({"path":"data.txt","text":"x"})"),
                HasSubstr("refused: PermissionError"));
    EXPECT_THAT(co_await call(one, "write", R"({"path":"new.txt","text":"x"})"), HasSubstr("refused: PermissionError"));
    (void)co_await restart();  // should the files have been too new to be trusted at first
    EXPECT_THAT(co_await restart(), HasSubstr("has not changed"));
    EXPECT_EQ(co_await call(one, "read", R"({"path":"data.txt"})"), "first");

    tree.file("one/data.txt", "second");
    EXPECT_THAT(co_await restart(), HasSubstr("3 entries, of which 1 were new or changed"));
    EXPECT_EQ(co_await call(one, "read", R"({"path":"data.txt"})"), "second");
    EXPECT_EQ(co_await call(one, "read", R"({"path":"same.txt"})"), "same");

    // Without a record that can be read, or with one of another copy, everything is sent again.
    const std::string staged = tree.path("state/staged");
    std::string record;
    for (const auto& file : std::filesystem::directory_iterator(staged)) record = file.path();
    std::filesystem::copy_file(record, record + ".old");
    tree.file("one/data.txt", "third");
    EXPECT_THAT(co_await restart(), HasSubstr("of which 1 were"));
    std::filesystem::rename(record + ".old", record);
    EXPECT_THAT(co_await restart(), HasSubstr("3 entries, "));
    EXPECT_EQ(co_await call(one, "read", R"({"path":"data.txt"})"), "third");
    std::filesystem::resize_file(record, 40);
    const std::string whole = co_await restart();
    EXPECT_THAT(whole, testing::AllOf(HasSubstr("3 entries"), testing::Not(HasSubstr("of which"))));
    EXPECT_EQ(co_await call(one, "read", R"({"path":"data.txt"})"), "third");
    std::filesystem::remove(tree.path("one/data.txt"));
    EXPECT_THAT(co_await restart(), HasSubstr("2 entries, of which 0 were"));
    EXPECT_THAT(co_await call(one, "read", R"({"path":"data.txt"})"), HasSubstr("refused: FileNotFoundError"));
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(HostedServerTest, pull_brings_changes_back_from_a_running_and_from_a_stopped_server) {
  auto settings = python("one");
  settings.box.host_path_mode = config::Access::kReadWrite;
  tree.file("one/data.txt", "staged");
  start({std::move(settings), python("two")});
  auto body = [this]() -> Task<int> {
    Server& one = server("one");
    if (!co_await connected(one) || !co_await connected(server("two"))) co_return 1;
    EXPECT_EQ(co_await call(one, "write", R"({"path":"note","text":"new"})"), "written");
    EXPECT_EQ(co_await call(one, "write", R"({"path":"data.txt","text":"+more"})"), "written");
    auto pulled = co_await one.pull({"", "", {.dry_run = true}});
    if (!pulled) {
      ADD_FAILURE() << pulled.error().message();
      co_return 1;
    }
    EXPECT_EQ(pulled->front().report.items.size(), 2u);
    EXPECT_NE(::access(tree.path("one/note").c_str(), F_OK), 0);
    one.request_stop();
    co_await one.settle(Clock::now() + seconds(30));
    EXPECT_EQ(one.view().state, ServerState::kStopped);
    pulled = co_await one.pull({});
    if (!pulled) {
      ADD_FAILURE() << pulled.error().message();
      co_return 1;
    }
    EXPECT_TRUE(pulled->front().report.applied);
    EXPECT_TRUE(pulled->front().base_known);
    std::ifstream note(tree.path("one/note")), data(tree.path("one/data.txt"));
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(note), {}), "new");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(data), {}), "staged+more");
    pulled = co_await one.pull({});
    EXPECT_TRUE(pulled && pulled->front().report.items.empty());
    // To another folder: all that the server has.
    tree.dir("elsewhere");
    pulled = co_await one.pull({"", tree.path("elsewhere"), {}});
    EXPECT_TRUE(pulled && pulled->front().report.items.size() == 3u);
    EXPECT_EQ(::access(tree.path("elsewhere/server.py").c_str(), F_OK), 0);
    for (const std::string& refused : {std::string("/etc"), std::string("/"), std::string("relative")}) {
      EXPECT_FALSE(co_await one.pull({"", refused, {}})) << refused;
    }
    // A server that only reads its folder has nothing to bring back.
    auto none = co_await server("two").pull({});
    EXPECT_FALSE(none);
    if (!none) EXPECT_THAT(none.error().message(), HasSubstr("host_path_mode: rw"));
    for (const auto& left : std::filesystem::directory_iterator(tree.path("state/staged"))) {
      EXPECT_THAT(left.path().filename().string(), testing::Not(testing::StartsWith("pull-")));
    }
    co_return 0;
  };
  test::run_task(loop, body());
}

TEST_F(HostedServerTest, a_stopped_server_leaves_no_sandbox_beyond_the_idle_time) {
  idle = seconds(2);
  auto apart = python("apart");
  apart.box.isolation = config::Isolation::kDedicated;
  start({python("one"), python("two"), apart});
  auto body = [this]() -> Task<int> {
    for (const char* name : {"one", "two", "apart"}) {
      if (!co_await connected(server(name))) co_return 1;
    }
    EXPECT_EQ(co_await sandboxes(), 2u);
    const auto stop = [this](const char* name) -> Task<void> {
      server(name).request_stop();
      co_await server(name).settle(Clock::now() + seconds(30));
    };
    co_await stop("apart");
    co_await stop("one");
    EXPECT_TRUE(co_await sandboxes_become(1)) << "the sandbox that nobody uses stays";
    co_await net::sleep_for(seconds(3));
    EXPECT_EQ(co_await sandboxes(), 1u) << "one that is used was closed";
    EXPECT_THAT(co_await call(server("two"), "pid"), testing::Not(HasSubstr("error")));
    co_await stop("two");
    EXPECT_EQ(co_await sandboxes(), 1u) << "a restart would need a new one";
    EXPECT_TRUE(co_await sandboxes_become(0));
    server("one").request_restart(false);
    co_await server("one").settle(Clock::now() + seconds(30));
    EXPECT_TRUE(co_await connected(server("one")));
    co_return 0;
  };
  EXPECT_EQ(test::run_task(loop, body()), 0);
}

TEST_F(HostedServerTest, a_pull_from_a_stopped_server_opens_a_sandbox_and_closes_it) {
  idle = seconds(2);
  auto settings = python("one");
  settings.box.host_path_mode = config::Access::kReadWrite;
  start({settings});
  auto body = [this]() -> Task<int> {
    Server& one = server("one");
    if (!co_await connected(one)) co_return 1;
    EXPECT_EQ(co_await call(one, "write", R"({"path":"note","text":"new"})"), "written");
    one.request_stop();
    co_await one.settle(Clock::now() + seconds(30));
    EXPECT_TRUE(co_await sandboxes_become(0));
    auto pulled = co_await one.pull({"", "", {.dry_run = true}});
    EXPECT_THAT(pulled, test::succeeds());
    if (pulled) EXPECT_EQ(pulled->front().report.items.size(), 1u);
    EXPECT_TRUE(co_await sandboxes_become(0));
    one.request_restart(false);
    co_await one.settle(Clock::now() + seconds(30));
    EXPECT_EQ(co_await call(one, "read", R"({"path":"note"})"), "new");
    pulled = co_await one.pull({"", "", {.dry_run = true}});
    EXPECT_TRUE(pulled);
    EXPECT_EQ(co_await call(one, "read", R"({"path":"note"})"), "new") << "its sandbox was closed";
    co_return 0;
  };
  EXPECT_EQ(test::run_task(loop, body()), 0);
}

TEST_F(HostedServerTest, what_an_earlier_daemon_left_is_removed_when_nobody_asks_for_it) {
  idle = seconds(1);
  auto body = [this]() -> Task<int> {
    auto left = co_await box::Sandbox::open(*setup.engine, session_options("left"));
    EXPECT_THAT(left, test::succeeds());
    co_return 0;
  };
  test::run_task(loop, body());
  start({python("one")});
  auto rest = [this]() -> Task<int> {
    if (!co_await connected(server("one"))) co_return 1;
    EXPECT_TRUE(co_await sandboxes_become(1));
    EXPECT_THAT(co_await call(server("one"), "pid"), testing::Not(HasSubstr("error")));
    co_return 0;
  };
  EXPECT_EQ(test::run_task(loop, rest()), 0);
}

// A copy belongs to a folder. Each start has the configuration of that moment, as after an edit and a restart.
struct CopiesTest : HostedServerTest {
  config::ServerSettings on(const std::vector<std::string>& folders, config::Access mode) {
    auto settings = python("one");
    settings.args = {"server.py"};
    settings.box.host_path_mode = mode;
    settings.box.host_path.reset();
    if (folders.size() == 1) {
      settings.box.host_path = tree.path(folders[0]);
      return settings;
    }
    settings.args = {tree.path(folders[0]) + "/server.py"};
    for (std::size_t i = 1; i < folders.size(); ++i) settings.args.push_back(tree.path(folders[i]));
    return settings;
  }
  void SetUp() override {
    HostedServerTest::SetUp();
    for (const char* folder : {"a", "b", "deep/a"}) {
      tree.file(std::string(folder) + "/server.py", kServer);
      tree.file(std::string(folder) + "/name", folder);
    }
  }
  // What the server at its start finds in these files of its sandbox, after `tools` were called; then it is stopped.
  Task<void> stop_host() {
    EXPECT_TRUE(co_await host->stop());
    host.reset();
  }
  void with(config::ServerSettings settings, std::function<Task<void>(Server&)> body) {
    start({std::move(settings)});
    auto run = [this, &body]() -> Task<int> {
      if (co_await connected(server("one"))) co_await body(server("one"));
      co_await stop_host();
      co_return 0;
    };
    test::run_task(loop, run());
  }
  static std::string read(const std::string& path) { return R"({"path":")" + path + R"("})"; }
  static std::string write(const std::string& path, const std::string& text) {
    return R"({"path":")" + path + R"(","text":")" + text + R"("})";
  }
};

TEST_F(CopiesTest, another_folder_gets_a_copy_of_its_own_and_the_first_is_kept_to_be_pulled) {
  const auto rw = config::Access::kReadWrite;
  with(on({"a"}, rw), [this](Server& one) -> Task<void> {
    EXPECT_EQ(co_await call(one, "read", read("name")), "a");
    EXPECT_EQ(co_await call(one, "write", write("mine", "of a")), "written");
  });
  with(on({"b"}, rw), [this](Server& one) -> Task<void> {
    EXPECT_EQ(co_await call(one, "read", read("name")), "b") << "it runs the code of the other folder";
    EXPECT_THAT(co_await call(one, "read", read("mine")), HasSubstr("FileNotFoundError"));
    EXPECT_EQ(co_await call(one, "write", write("mine", "of b")), "written");
    EXPECT_THAT(log_of(one), HasSubstr("mcpbox pull one --of " + tree.path("a")));
    auto pulled = co_await one.pull({tree.path("a"), "", {}});
    EXPECT_THAT(pulled, test::succeeds());
    if (!pulled) co_return;
    EXPECT_TRUE(pulled->front().base_known);
    EXPECT_EQ(pulled->front().target, tree.path("a"));
    EXPECT_EQ(::access(tree.path("a/mine").c_str(), F_OK), 0);
    EXPECT_NE(::access(tree.path("b/mine").c_str(), F_OK), 0);
    auto none = co_await one.pull({tree.path("c"), "", {}});
    EXPECT_FALSE(none);
    if (!none) EXPECT_THAT(none.error().message(), HasSubstr(tree.path("a")));
  });
  with(on({"a"}, rw), [this](Server& one) -> Task<void> {
    EXPECT_EQ(co_await call(one, "read", read("mine")), "of a");
    EXPECT_THAT(log_of(one), HasSubstr("uses the copy of " + tree.path("a") + " again"));
  });
  with(on({"b"}, rw),
       [this](Server& one) -> Task<void> { EXPECT_EQ(co_await call(one, "read", read("mine")), "of b"); });
}

TEST_F(CopiesTest, folders_that_change_their_places_take_their_copies_with_them) {
  const auto rw = config::Access::kReadWrite;
  const std::string at = "/workspace/.mcp/" + provision::process_id({"one", ""}) + "/workspace/";
  with(on({"a", "deep/a"}, rw), [&](Server& one) -> Task<void> {
    EXPECT_EQ(co_await call(one, "read", read(at + "a/name")), "a");
    EXPECT_EQ(co_await call(one, "read", read(at + "a-2/name")), "deep/a");
    EXPECT_EQ(co_await call(one, "write", write(at + "a/mine", "of a")), "written");
    EXPECT_EQ(co_await call(one, "write", write(at + "a-2/mine", "of deep")), "written");
  });
  with(on({"deep/a", "a"}, rw), [&](Server& one) -> Task<void> {
    EXPECT_EQ(co_await call(one, "read", read(at + "a/name")), "deep/a");
    EXPECT_EQ(co_await call(one, "read", read(at + "a/mine")), "of deep");
    EXPECT_EQ(co_await call(one, "read", read(at + "a-2/mine")), "of a");
  });
  // One folder alone lies at the work space itself.
  with(on({"a"}, rw), [&](Server& one) -> Task<void> {
    EXPECT_EQ(co_await call(one, "read", read("mine")), "of a");
    EXPECT_EQ(co_await call(one, "write", write("mine", "+")), "written");
    auto pulled = co_await one.pull({tree.path("deep/a"), "", {}});
    EXPECT_THAT(pulled, test::succeeds());
    EXPECT_EQ(::access(tree.path("deep/a/mine").c_str(), F_OK), 0);
  });
  with(on({"b", "a"}, rw), [&](Server& one) -> Task<void> {
    EXPECT_EQ(co_await call(one, "read", read(at + "a/mine")), "of a+");
    EXPECT_EQ(co_await call(one, "read", read(at + "b/name")), "b");
  });
}

TEST_F(CopiesTest, a_server_that_gets_another_user_id_keeps_its_home_and_its_copy) {
  const auto rw = config::Access::kReadWrite;
  const std::string at_home = "/workspace/.mcp/" + provision::process_id({"one", ""}) + "/home/mine";
  with(on({"a"}, rw), [&](Server& one) -> Task<void> {
    EXPECT_EQ(co_await call(one, "write", write("mine", "of a")), "written");
    EXPECT_EQ(co_await call(one, "write", write(at_home, "at home")), "written");
  });
  uids = {2'040'000'000, 1000};
  with(on({"a"}, rw), [&](Server& one) -> Task<void> {
    EXPECT_GE(one.view().uid, 2'040'000'000u);
    EXPECT_EQ(co_await call(one, "read", read("mine")), "of a");
    EXPECT_EQ(co_await call(one, "read", read(at_home)), "at home");
    EXPECT_EQ(co_await call(one, "write", write("mine", "+")), "written");
  });
}

TEST_F(CopiesTest, what_is_only_read_comes_from_its_folder_and_what_the_server_had_changed_is_kept) {
  const auto ro = config::Access::kReadOnly;
  const auto rw = config::Access::kReadWrite;
  with(on({"a"}, ro), [&](Server& one) -> Task<void> { EXPECT_EQ(co_await call(one, "read", read("name")), "a"); });
  with(on({"b"}, ro), [&](Server& one) -> Task<void> { EXPECT_EQ(co_await call(one, "read", read("name")), "b"); });
  with(on({"b"}, rw),
       [&](Server& one) -> Task<void> { EXPECT_EQ(co_await call(one, "write", write("mine", "of b")), "written"); });
  with(on({"b"}, ro), [&](Server& one) -> Task<void> {
    EXPECT_THAT(co_await call(one, "read", read("mine")), HasSubstr("FileNotFoundError"));
    auto pulled = co_await one.pull({tree.path("b"), "", {.dry_run = true}});
    EXPECT_TRUE(pulled && pulled->front().base_known && pulled->front().report.items.size() == 1);
  });
  with(on({"b"}, rw), [&](Server& one) -> Task<void> {
    EXPECT_EQ(co_await call(one, "read", read("mine")), "of b");
    one.request_restart(true);
    co_await one.settle(Clock::now() + seconds(30));
    EXPECT_THAT(co_await call(one, "read", read("mine")), HasSubstr("FileNotFoundError"));
  });
  // Without a folder: a place of its own, which stays its own.
  auto alone = python("one");
  alone.command = "python3";
  alone.args = {"-c", kServer};
  alone.box.host_path.reset();
  with(alone, [&](Server& one) -> Task<void> {
    EXPECT_THAT(co_await call(one, "read", read("name")), HasSubstr("FileNotFoundError"));
    EXPECT_EQ(co_await call(one, "write", write("own", "mine")), "written");
  });
  with(on({"a"}, ro), [&](Server& one) -> Task<void> {
    EXPECT_THAT(co_await call(one, "read", read("own")), HasSubstr("FileNotFoundError"));
  });
  with(alone, [&](Server& one) -> Task<void> { EXPECT_EQ(co_await call(one, "read", read("own")), "mine"); });
}

}  // namespace
}  // namespace mcpbox::hosting
