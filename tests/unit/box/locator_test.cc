#include "box/engines/locator.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <map>

#include "base/unique_fd.h"
#include "support/fake_engine.h"
#include "support/run_task.h"
#include "support/said_to_options.h"
#include "support/temp_tree.h"

namespace mcpbox::box {
namespace {

using test::FakeEngine;

LocatorOptions with(std::map<std::string, std::string> environment, std::string address = "") {
  LocatorOptions options;
  options.address = std::move(address);
  options.environment = [environment = std::move(environment)](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? std::string() : found->second;
  };
  return options;
}

std::vector<std::string> addresses(const LocatorOptions& options) {
  std::vector<std::string> out;
  for (const auto& candidate : engine_candidates(options))
    out.push_back(candidate.address ? candidate.address->text : "invalid");
  return out;
}

TEST(EngineAddress, of_a_configuration_is_a_word_or_a_socket) {
  for (const char* engine : {"auto", "native", "unix:///run/x.sock"}) EXPECT_EQ(address_problem(engine), "") << engine;
  for (const char* engine : {"bogus", "docker", "unix://relative", "unix:///", "ssh://x"})
    EXPECT_EQ(address_problem(engine), "expected auto, native or unix:///PATH") << engine;
  for (const char* engine : {"tcp://host:1", "https://host:1"}) {
    EXPECT_EQ(address_problem(engine),
              "an engine that is reached over the network cannot run servers; write unix:///PATH, native or auto")
        << engine;
  }
}

TEST(DockerAddress, reads_every_spelling) {
  EXPECT_EQ(parse_docker_address("unix:///run/d.sock")->unix_socket, "/run/d.sock");
  EXPECT_EQ(parse_docker_address("/run/d.sock")->text, "unix:///run/d.sock");
  EXPECT_EQ(parse_docker_address("tcp://10.0.0.5")->base_url, "http://10.0.0.5:2375");
  EXPECT_EQ(parse_docker_address("http://10.0.0.5:99")->text, "tcp://10.0.0.5:99");
  EXPECT_EQ(parse_docker_address("tcp://10.0.0.5:99", "", true)->base_url, "https://10.0.0.5:99");
  EXPECT_EQ(parse_docker_address("tcp://[::1]", "/certs")->base_url, "https://[::1]:2376");
  EXPECT_EQ(parse_docker_address("TCP://my_host:1/")->text, "tcp://my_host:1");
  EXPECT_EQ(parse_docker_address("https://h:1/", "/certs")->tls.client_key, "/certs/key.pem");
  EXPECT_EQ(parse_docker_address("http://h:1", "/certs")->tls.client_key, "");
}

TEST(DockerAddress, refuses_what_it_cannot_use) {
  for (const char* text :
       {"", "docker.sock", "unix://relative", "ssh://host", "npipe:////./pipe/x", "tcp://", "tcp://host/path?x",
        "tcp://a b", "tcp://u:p@host:1", "tcp://h:1:2", "tcp://h:x", "tcp://[::1", "tcp://h?x"}) {
    auto parsed = parse_docker_address(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code(), Code::kInvalidArgument);
  }
}

TEST(EngineLocator, a_named_engine_is_the_only_candidate) {
  EXPECT_EQ(addresses(with({{"DOCKER_HOST", "tcp://a:1"}}, "unix:///b")), (std::vector<std::string>{"unix:///b"}));
  EXPECT_EQ(addresses(with({{"DOCKER_HOST", "tcp://a:1"}}, "auto")), (std::vector<std::string>{"tcp://a:1"}));
}

TEST(EngineLocator, otherwise_the_usual_sockets_in_order) {
  EXPECT_EQ(addresses(with({{"XDG_RUNTIME_DIR", "/run/user/7"}})),
            (std::vector<std::string>{"unix:///run/user/7/docker.sock", "unix:///var/run/docker.sock",
                                      "unix:///run/mcpbox-engine/docker.sock", "unix:///run/user/7/podman/podman.sock",
                                      "unix:///run/podman/podman.sock"}));
}

TEST(EngineLocator, finds_the_engine_that_answers) {
  FakeEngine server(FakeEngine::docker([](const auto&) { return FakeEngine::json(404, "{}"); }));
  boost::asio::io_context loop;
  auto found = test::run_task(
      loop, locate_engine(loop.get_executor(), with({{"DOCKER_HOST", "unix://" + server.socket_path()}})));
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_EQ(found->info.version, "20.10.24");
}

TEST(EngineLocator, takes_the_native_engine_where_no_other_answers) {
  boost::asio::io_context loop;
  auto options = with({});
  options.root = "/nonexistent";
  options.host_system = {"/nonexistent/state", "/nonexistent/mcpbox-init", "/nonexistent/cgroup"};
  auto found = test::run_task(loop, locate_engine(loop.get_executor(), options));
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_EQ(found->info.kind, "native");
  options.host_system.init_path.clear();
  EXPECT_FALSE(test::run_task(loop, locate_engine(loop.get_executor(), options)));
}

TEST(EngineLocator, does_not_take_the_native_engine_in_place_of_a_named_one) {
  boost::asio::io_context loop;
  auto options = with({{"DOCKER_HOST", "unix:///nonexistent/docker.sock"}});
  options.host_system = {"/nonexistent/state", "/nonexistent/mcpbox-init", "/nonexistent/cgroup"};
  auto found = test::run_task(loop, locate_engine(loop.get_executor(), options));
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code(), Code::kUnavailable);
}

std::string refusal(const LocatorOptions& options) {
  boost::asio::io_context loop;
  auto found = test::run_task(loop, locate_engine(loop.get_executor(), options));
  if (found) return "found";
  EXPECT_EQ(found.error().code(), Code::kUnavailable);
  return found.error().message();
}

TEST(EngineLocator, of_a_named_one_that_is_silent_says_who_named_it_and_why_and_what_to_do) {
  const test::TempTree tree;
  tree.file("file", "");
  const auto dead = tree.path("dead.sock");
  {  // a socket whose listener is gone
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    dead.copy(address.sun_path, dead.size());
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  const std::pair<std::string, std::string> cases[] = {{tree.path("none"), "there is no such socket (ENOENT)"},
                                                       {tree.path("file/x"), "there is no such socket (ENOTDIR)"},
                                                       {tree.path("file"), "it is no socket (ECONNREFUSED)"},
                                                       {dead, "nobody listens on that socket (ECONNREFUSED)"}};
  for (const auto& [path, why] : cases) {
    EXPECT_EQ(refusal(with({{"DOCKER_HOST", "unix://" + path}})),
              "no container engine answers at unix://" + path + ", which DOCKER_HOST names: " + why +
                  "; start that engine, or unset DOCKER_HOST, and another one is looked for, or native sandboxes are "
                  "made");
  }
  const std::string named = "no container engine answers at unix://" + dead + ", which ";
  const std::string rest =
      " names: nobody listens on that socket (ECONNREFUSED); start that engine, or name another there: `native` needs "
      "none, `auto` looks for one";
  EXPECT_EQ(refusal(with({}, dead)), named + "`engine` of the configuration (or --engine)" + rest);
  const test::SaidToOptions said;
  EXPECT_EQ(refusal(with({}, dead)), named + "--engine" + rest);
}

TEST(EngineLocator, says_what_was_tried_and_what_to_do) {
  auto options = with({});
  options.root = "/nonexistent";
  const std::string said = refusal(options);
  EXPECT_NE(said.find("/nonexistent/var/run/docker.sock"), std::string::npos) << said;
  EXPECT_NE(said.find("start one with `scripts/engine start`, or name one in DOCKER_HOST, or use --engine native"),
            std::string::npos)
      << said;
}

}  // namespace
}  // namespace mcpbox::box
