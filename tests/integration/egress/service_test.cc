// The proxy as its owner keeps it: grants, their ends, and a proxy that dies. This program starts itself as `egress
// serve`.
#include "egress/control/service.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>

#include "net/wait.h"
#include "rig.h"
#include "support/result_matcher.h"

namespace mcpbox::egress {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Service {
  test::TempTree tree;
  boost::asio::io_context loop;
  LoopbackServer server{echo};
  std::unique_ptr<EgressService> service;

  Service() {
    ::chmod(tree.root().c_str(), 0755);
    EgressServiceOptions options;
    options.directory = tree.path("run");
    options.audit_directory = tree.path("audit");
    options.network.hosts = {{"a.test", "127.0.0.1"}};
    options.network.allow_private = {"127.0.0.1"};
    service = std::move(*EgressService::start(loop.get_executor(), std::move(options)));
  }
  ~Service() {
    run([](EgressService& s) -> Task<bool> {
      co_await s.stop();
      co_return true;
    }(*service));
  }
  template <class T>
  T run(Task<T> task) {
    return test::run_task(loop, std::move(task));
  }
  std::string target() const { return "a.test:" + std::to_string(server.port()); }
  Result<std::shared_ptr<EgressGrant>> grant(std::string process, std::string token, std::vector<std::string> allow) {
    EgressClient client;
    client.process = client.server = std::move(process);
    client.uid = kUid;
    client.token = Secret(std::move(token));
    client.policy.mode = "allowlist";
    client.policy.allow = std::move(allow);
    return run(service->grant(std::move(client)));
  }
  // The status line's number for one CONNECT; the loop need not run for it.
  std::string ask(const std::string& process, const std::string& token) {
    const UniqueFd fd = connect_unix(tree.path("run/egress.sock"));
    const std::string credential = basic_credential(process, token);
    send_all(fd.get(), "MCPBOX1 " + std::to_string(kUid) + "\nCONNECT " + target() + " HTTP/1.1\r\nHost: " + target() +
                           "\r\nProxy-Authorization: " + credential + "\r\n\r\n");
    const std::string head = read_until(fd.get(), [](const std::string& so_far) { return so_far.contains("\r\n"); });
    return head.size() > 12 ? head.substr(9, 3) : head;
  }
  // Until the loop has brought the proxy to this answer.
  std::string eventually(const std::string& process, const std::string& token, const std::string& wanted) {
    std::string answer;
    for (int i = 0; i < 100 && answer != wanted; ++i) {
      run([]() -> Task<bool> {
        co_await net::sleep_for(std::chrono::milliseconds(20));
        co_return true;
      }());
      answer = ask(process, token);
    }
    return answer;
  }
};

TEST(EgressService, a_grant_opens_what_its_rules_name_until_it_is_dropped) {
  Service s;
  auto grant = s.grant("one", "token", {s.target()});
  ASSERT_THAT(grant, test::succeeds());
  EXPECT_EQ((*grant)->proxy_url().reveal(), "http://one:token@127.0.0.1:3128");
  EXPECT_EQ(s.ask("one", "token"), "200");
  EXPECT_EQ(s.ask("one", "other"), "407");
  ASSERT_TRUE(s.grant("two", "token2", {}));
  EXPECT_EQ(s.eventually("two", "token2", "407"), "407") << "that grant was dropped at once";
  grant->reset();
  EXPECT_EQ(s.eventually("one", "token", "407"), "407");
}

TEST(EgressService, a_newer_grant_of_the_same_process_survives_the_end_of_the_older_one) {
  Service s;
  auto old = s.grant("one", "first", {s.target()});
  auto fresh = s.grant("one", "second", {s.target()});
  ASSERT_TRUE(old && fresh);
  old->reset();
  EXPECT_EQ(s.ask("one", "first"), "407");
  EXPECT_EQ(s.eventually("one", "second", "200"), "200");
}

TEST(EgressService, a_proxy_that_dies_is_started_again_and_knows_everybody) {
  Service s;
  auto grant = s.grant("one", "token", {s.target()});
  ASSERT_TRUE(grant);
  const pid_t first = s.service->pid();
  ::kill(first, SIGKILL);
  const auto another = [](EgressService& service, pid_t old) -> Task<bool> {
    for (int i = 0; i < 500 && (service.pid() == 0 || service.pid() == old); ++i)
      co_await net::sleep_for(std::chrono::milliseconds(10));
    co_return service.pid() != 0 && service.pid() != old;
  };
  ASSERT_TRUE(s.run(another(*s.service, first)));
  // A new grant is answered by the new proxy, after it was told of the old one.
  auto later = s.grant("zwei", "token2", {});
  ASSERT_TRUE(later);
  EXPECT_EQ(s.ask("one", "token"), "200");
  EXPECT_EQ(s.ask("zwei", "token2"), "403");
}

TEST(EgressService, a_rule_that_cannot_be_read_is_the_callers_error_and_nobody_elses) {
  Service s;
  auto wrong = s.grant("one", "token", {"*"});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code(), Code::kInvalidArgument);
  EXPECT_THAT(wrong.error().message(),
              AllOf(HasSubstr("network rules of 'one'"), HasSubstr("'*' would allow everything")));
  EXPECT_TRUE(s.grant("two", "token", {s.target()}));
}

TEST(EgressService,
     settings_that_cannot_be_read_and_a_directory_that_others_may_enter_are_refused_before_anything_starts) {
  test::TempTree tree;
  boost::asio::io_context loop;
  EgressServiceOptions options;
  options.directory = tree.path("run");
  options.audit_directory = tree.path("audit");
  options.network.allow_private = {"10.0.0.1/8"};
  auto wrong = EgressService::start(loop.get_executor(), options);
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().message(), StartsWith("egress.allow_private"));
  options.network.allow_private.clear();
  ::mkdir(options.directory.c_str(), 0755);
  ::chmod(options.directory.c_str(), 0755);
  auto open = EgressService::start(loop.get_executor(), options);
  ASSERT_FALSE(open);
  EXPECT_EQ(open.error().code(), Code::kPermissionDenied);
}

}  // namespace
}  // namespace mcpbox::egress
