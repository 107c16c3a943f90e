// The proxy as a process: this program starts itself as `egress serve`.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>

#include "egress/control/egress_process.h"
#include "egress/proxy/audit_reader.h"
#include "egress/proxy/run_egress.h"
#include "rig.h"

namespace mcpbox::egress {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Running {
  test::TempTree tree;
  boost::asio::io_context loop;
  std::unique_ptr<EgressProcess> process;

  Running() {
    ::chmod(tree.root().c_str(), 0755);
    process = std::move(*EgressProcess::start(loop.get_executor(), egress_launch(tree.path("s"), tree.path("audit"))));
  }
  ~Running() {
    test::run_task(loop, [](EgressProcess& p) -> Task<bool> {
      co_await p.stop();
      co_return true;
    }(*process));
  }
  Result<void> wait(Task<Result<void>> task) { return test::run_task(loop, std::move(task)); }
  RegistrationText registration(std::vector<std::string> allow) {
    return {.process = "p1",
            .server = "everything",
            .uid = kUid,
            .token_sha256 = sha256_hex("secret-token"),
            .phase = "run",
            .policy = {"allowlist", std::move(allow), {}}};
  }
  std::string status_field(std::string_view name) const {
    std::ifstream file("/proc/" + std::to_string(process->pid()) + "/status");
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with(std::string(name) + ":")) return line.substr(line.find_first_not_of("\t ", name.size() + 1));
    }
    return "";
  }
};

TEST(EgressProcess, serves_what_it_was_told_and_nothing_after_it_was_told_off) {
  LoopbackServer server(echo);
  Running run;
  ASSERT_TRUE(run.wait(run.process->ping()));
  ASSERT_TRUE(run.wait(run.process->configure({{{"a.test", "127.0.0.1"}}, {"127.0.0.1"}, Secret()})));
  const std::string target = "a.test:" + std::to_string(server.port());
  ASSERT_TRUE(run.wait(run.process->register_process(run.registration({target}))));
  const UniqueFd fd = connect_unix(run.tree.path("s"));
  send_all(fd.get(), "MCPBOX1 " + std::to_string(kUid) + "\n" + connect_head(target));
  EXPECT_THAT(read_until(fd.get(), [](const std::string& so_far) { return so_far.ends_with("\r\n\r\n"); }),
              StartsWith("HTTP/1.1 200"));
  send_all(fd.get(), "ping");
  EXPECT_EQ(read_bytes(fd.get(), 4), "ping");
  ASSERT_TRUE(run.wait(run.process->unregister_process("p1")));
  EXPECT_EQ(read_until(fd.get()), "");
  const UniqueFd again = connect_unix(run.tree.path("s"));
  send_all(again.get(), "MCPBOX1 " + std::to_string(kUid) + "\n" + connect_head(target));
  EXPECT_THAT(read_until(again.get()), StartsWith("HTTP/1.1 407"));
  EXPECT_GE(read_audit({.directory = run.tree.path("audit")}).size(), 2u);
}

TEST(EgressProcess, a_wrong_rule_is_an_error_for_people) {
  Running run;
  const auto wrong = run.wait(run.process->register_process(run.registration({"*"})));
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code(), Code::kInvalidArgument);
  EXPECT_THAT(wrong.error().message(), HasSubstr("mode: public"));
  EXPECT_FALSE(run.wait(run.process->unregister_process("p1")));
  EXPECT_TRUE(run.wait(run.process->ping()));
}

TEST(EgressProcess, holds_no_privileges) {
  Running run;
  ASSERT_TRUE(run.wait(run.process->ping()));
  EXPECT_EQ(run.status_field("NoNewPrivs"), "1");
  for (const char* set : {"CapEff", "CapPrm", "CapInh", "CapAmb"})
    EXPECT_EQ(run.status_field(set), "0000000000000000") << set;
  EXPECT_THAT(run.status_field("Uid"), Not(StartsWith("0\t")));
  struct stat status{};
  ASSERT_EQ(::stat(run.tree.path("s").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST(EgressProcess, resolves_names_and_writes_its_log_while_confined) {
  Running run;
  ASSERT_TRUE(run.wait(run.process->register_process(run.registration({"localhost"}))));
  const UniqueFd fd = connect_unix(run.tree.path("s"));
  send_all(fd.get(), "MCPBOX1 " + std::to_string(kUid) + "\n" + connect_head("localhost:80"));
  EXPECT_THAT(read_until(fd.get()), AllOf(StartsWith("HTTP/1.1 403"), HasSubstr("this machine itself")));
  EXPECT_THAT(read_audit({.directory = run.tree.path("audit")}).back(), HasSubstr("localhost"));
}

TEST(EgressProcess, ends_with_its_channel_and_is_reported_when_it_dies) {
  Running run;
  ASSERT_TRUE(run.wait(run.process->ping()));
  ::kill(run.process->pid(), SIGKILL);
  test::run_task(run.loop, [](EgressProcess& p) -> Task<bool> {
    co_await p.ended();
    co_return true;
  }(*run.process));
  const auto gone = run.wait(run.process->ping());
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace mcpbox::egress

int main(int argc, char** argv) {
  if (argc >= 7 && std::string_view(argv[1]) == "egress" && std::string_view(argv[2]) == "serve") {
    mcpbox::egress::EgressOptions options;
    options.proxy.socket_path = argv[4];
    options.audit.directory = argv[6];
    return mcpbox::egress::run_egress(options);
  }
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
