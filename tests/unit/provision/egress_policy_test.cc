#include "provision/egress_policy.h"

#include <gmock/gmock.h>

#include "support/temp_tree.h"

namespace mcpbox::provision {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

egress::SettingsReader user(std::map<std::string, std::string> environment = {},
                            std::map<std::string, std::string> files = {}) {
  egress::SettingsReader reader;
  reader.environment = [environment](const std::string& name) -> std::optional<std::string> {
    const auto found = environment.find(name);
    return found == environment.end() ? std::nullopt : std::optional(found->second);
  };
  reader.file = [files](const std::string& path) -> std::optional<std::string> {
    const auto found = files.find(path);
    return found == files.end() ? std::nullopt : std::optional(found->second);
  };
  reader.home = "/home/u";
  return reader;
}

TEST(EgressPolicy, installs_reach_the_registry_of_their_manager_and_nothing_of_the_run_phase) {
  config::ServerNetwork network;
  network.allow = {"api.test"};
  network.install_allow = {"git.test"};
  const auto uv = install_policy(network, "uv", user()).value();
  EXPECT_THAT(uv.registries, ElementsAre("pypi.org", "files.pythonhosted.org"));
  EXPECT_THAT(uv.install_allow, ElementsAre("git.test"));
  EXPECT_THAT(uv.allow, IsEmpty());
  EXPECT_THAT(install_policy(network, "yarn", user()).value().registries,
              ElementsAre("registry.npmjs.org", "registry.yarnpkg.com"));
  for (const char* manager : {"npm", "pnpm"})
    EXPECT_THAT(install_policy(network, manager, user()).value().registries, ElementsAre("registry.npmjs.org"))
        << manager;
}

TEST(EgressPolicy, installs_follow_the_users_mirror) {
  const auto policy =
      install_policy({}, "npm", user({{"npm_config_registry", "https://npm.corp.test:8443/repo/"}})).value();
  EXPECT_THAT(policy.registries, ElementsAre("npm.corp.test:8443"));
}

TEST(EgressPolicy, a_mirror_that_only_a_file_names_is_opened_beside_the_public_registry_which_the_installer_asks) {
  const auto policy =
      install_policy(
          {}, "uv",
          user({}, {{"/home/u/.config/pip/pip.conf", "[global]\nindex-url = https://pypi.corp.test/simple\n"}}))
          .value();
  EXPECT_THAT(policy.registries, UnorderedElementsAre("pypi.corp.test", "pypi.org", "files.pythonhosted.org"));
}

TEST(EgressPolicy, a_server_without_network_has_its_dependencies_installed_all_the_same) {
  config::ServerNetwork network;
  network.mode = config::NetworkMode::kNone;
  EXPECT_EQ(run_policy(network, user()).value().mode, "none");
  EXPECT_EQ(install_policy(network, "uv", user()).value().mode, "allowlist");
}

TEST(EgressPolicy, a_server_that_may_reach_every_public_host_has_its_dependencies_installed_from_registries) {
  config::ServerNetwork network;
  network.mode = config::NetworkMode::kPublic;
  EXPECT_EQ(run_policy(network, user()).value().mode, "public");
  EXPECT_EQ(install_policy(network, "npm", user()).value().mode, "allowlist");
}

TEST(EgressPolicy, presets_in_rules_are_the_hosts_that_they_stand_for) {
  config::ServerNetwork network;
  network.allow = {"api.test", "npm"};
  EXPECT_THAT(run_policy(network, user()).value().allow, ElementsAre("api.test", "registry.npmjs.org"));
}

TEST(EgressPolicy, the_users_own_proxy_is_the_upstream_proxy_unless_the_configuration_says_otherwise) {
  const auto with_proxy = user({{"https_proxy", "http://u:secret@proxy.test:3128"}});
  std::string note;
  EXPECT_EQ(network_text({}, with_proxy, note).upstream_proxy.reveal(), "http://u:secret@proxy.test:3128");
  config::EgressSettings none;
  none.upstream_proxy = Secret();
  EXPECT_TRUE(network_text(none, with_proxy, note).upstream_proxy.empty());
  EXPECT_EQ(note, "");
}

TEST(EgressPolicy, a_proxy_that_cannot_be_used_is_told_without_its_password) {
  std::string note;
  EXPECT_TRUE(network_text({}, user({{"HTTPS_PROXY", "socks5://u:secret@proxy.test"}}), note).upstream_proxy.empty());
  EXPECT_THAT(note, AllOf(HasSubstr("HTTPS_PROXY"), HasSubstr("egress.upstream_proxy"), Not(HasSubstr("secret"))));
}

TEST(EgressPolicy, proxy_variables_are_known_in_every_spelling) {
  for (const char* name : {"HTTP_PROXY", "https_proxy", "All_Proxy", "NO_PROXY", "npm_config_https_proxy", "PIP_PROXY"})
    EXPECT_TRUE(is_proxy_variable(name)) << name;
  for (const char* name : {"PIP_INDEX_URL", "PROXY", "HTTP_PROXY_X"}) EXPECT_FALSE(is_proxy_variable(name)) << name;
}

TEST(EgressPolicy, a_file_of_the_users_that_is_too_large_counts_as_none_and_is_not_cut) {
  test::TempTree tree;
  tree.file("small", "registry=https://npm.corp.test/\n");
  tree.file("large", "registry=https://npm.corp.test/\n" + std::string(300'000, '#'));
  tree.link("link", "small");
  const egress::SettingsReader reader = settings_of_user();
  EXPECT_EQ(reader.file(tree.path("small")), "registry=https://npm.corp.test/\n");
  EXPECT_EQ(reader.file(tree.path("link")), "registry=https://npm.corp.test/\n");
  EXPECT_EQ(reader.file(tree.path("large")), std::nullopt);
  EXPECT_EQ(reader.file(tree.path("none")), std::nullopt);
}

}  // namespace
}  // namespace mcpbox::provision
