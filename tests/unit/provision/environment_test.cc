#include "provision/environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace mcpbox::provision {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::StartsWith;

EnvironmentInputs inputs() {
  EnvironmentInputs in;
  in.tree = "/workspace/.mcp/x";
  return in;
}

TEST(Environment, has_a_home_and_a_tmp_of_its_own_and_nothing_of_this_process) {
  ::setenv("MCPBOX_TEST_LEAK", "1", 1);
  const auto env = make_environment(inputs());
  ::unsetenv("MCPBOX_TEST_LEAK");
  EXPECT_THAT(env, Contains("HOME=/workspace/.mcp/x/home"));
  EXPECT_THAT(env, Contains("TMPDIR=/workspace/.mcp/x/tmp"));
  EXPECT_THAT(env, Not(Contains(StartsWith("MCPBOX_TEST_LEAK"))));
  EXPECT_TRUE(std::is_sorted(env.begin(), env.end()));
}

TEST(Environment, names_each_variable_once_and_the_servers_own_win) {
  auto in = inputs();
  in.ca_bundle = true;
  in.own = {{"HOME", Secret("/elsewhere")}, {"SSL_CERT_FILE", Secret("/mine.pem")}, {"TOKEN", Secret("a=b")}};
  const auto env = make_environment(in);
  std::vector<std::string> names;
  for (const std::string& entry : env) names.push_back(entry.substr(0, entry.find('=')));
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  EXPECT_THAT(env, Contains("HOME=/elsewhere"));
  EXPECT_THAT(env, Contains("SSL_CERT_FILE=/mine.pem"));
  EXPECT_THAT(env, Contains("PIP_CERT=/.box/ca-bundle.pem"));
  EXPECT_THAT(env, Contains("TOKEN=a=b"));
}

TEST(Environment, no_trust_store_is_named_where_none_is_mounted) {
  EXPECT_THAT(make_environment(inputs()), Not(Contains(StartsWith("SSL_CERT_FILE"))));
}

TEST(Environment, the_prefix_comes_before_the_systems_path_and_before_the_servers_own) {
  auto in = inputs();
  in.path_prefix = {"/cache/env/a/bin", "/b"};
  EXPECT_THAT(make_environment(in),
              Contains("PATH=/cache/env/a/bin:/b:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
  in.own["PATH"] = Secret("/opt/bin");
  EXPECT_THAT(make_environment(in), Contains("PATH=/cache/env/a/bin:/b:/opt/bin"));
}

TEST(Environment, names_the_proxy_to_every_tool_and_only_where_there_is_one) {
  EXPECT_THAT(make_environment(inputs()), Not(Contains(HasSubstr("PROXY"))));
  auto in = inputs();
  in.proxy_url = Secret("http://p:secret@127.0.0.1:3128");
  const auto env = make_environment(in);
  for (const char* name : {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy",
                           "npm_config_https_proxy", "PIP_PROXY", "CARGO_HTTP_PROXY", "GIT_CONFIG_VALUE_0"}) {
    EXPECT_THAT(env, Contains(std::string(name) + "=" + std::string(in.proxy_url.reveal())));
  }
  EXPECT_THAT(env, Contains("NO_PROXY=localhost,127.0.0.1,::1"));
  EXPECT_THAT(env, Contains("GIT_CONFIG_KEY_0=http.proxy"));
  EXPECT_THAT(env, Contains("NODE_USE_ENV_PROXY=1"));
  EXPECT_THAT(env, Contains(AllOf(StartsWith("JAVA_TOOL_OPTIONS="), HasSubstr("-Dhttps.proxyPort=3128"),
                                  Not(HasSubstr("secret")))))
      << "Java prints this variable";
}

TEST(Environment, what_node_loads_first_stands_before_the_servers_own_options) {
  auto in = inputs();
  in.node_preload = "/t/node-proxy.cjs";
  EXPECT_THAT(make_environment(in), Contains("NODE_OPTIONS=--require=/t/node-proxy.cjs"));
  in.own["NODE_OPTIONS"] = Secret("--max-old-space-size=100");
  EXPECT_THAT(make_environment(in), Contains("NODE_OPTIONS=--require=/t/node-proxy.cjs --max-old-space-size=100"));
}

}  // namespace
}  // namespace mcpbox::provision
