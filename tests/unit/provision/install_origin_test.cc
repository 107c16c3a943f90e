#include "provision/install/install_origin.h"

#include <gmock/gmock.h>

#include "provision/install/installer.h"

namespace mcpbox::provision {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> of(const std::map<std::string, std::string>& env, const OfflineSources& sources = {}) {
  std::map<std::string, Secret> secrets;
  for (const auto& [name, value] : env) secrets[name] = Secret(value);
  return install_origin(secrets, sources);
}

TEST(InstallOrigin, names_indexes_registries_scopes_find_links_and_options_of_builds) {
  EXPECT_THAT(of({{"CFLAGS", "-O0 -g"},
                  {"PIP_FIND_LINKS", "/wheels"},
                  {"UV_DEFAULT_INDEX", "https://index.example/simple"},
                  {"npm_config_@acme:registry", "https://npm.example/acme/"}}),
              ElementsAre("CFLAGS=-O0 -g", "PIP_FIND_LINKS=/wheels", "UV_DEFAULT_INDEX=https://index.example/simple",
                          "npm_config_@acme:registry=https://npm.example/acme/"));
}

TEST(InstallOrigin, tells_nothing_of_credentials) {
  EXPECT_THAT(
      of({{"PIP_EXTRA_INDEX_URL", "https://me:hunter2@a.example:8080/simple  https://b.example/x@y?z"},
          {"PIP_INDEX_URL", "https://me:hun/ter2@a.example/simple"},
          {"UV_INDEX", "one=https://token@a.example/ two=http://b.example"},
          {"UV_INDEX_ONE_PASSWORD", "hunter2"},
          {"npm_config_//a.example/:_authToken", "hunter2"}}),
      ElementsAre("PIP_EXTRA_INDEX_URL=https://a.example:8080/simple https://b.example/x@y?z",
                  testing::AllOf(testing::StartsWith("PIP_INDEX_URL="), testing::Not(testing::HasSubstr("ter2@"))),
                  "UV_INDEX=one=https://a.example/ two=http://b.example",
                  "UV_INDEX_ONE_PASSWORD=", "npm_config_//a.example/:_authToken="));
  EXPECT_EQ(of({{"PIP_INDEX_URL", "https://u:one@a.example/"}}), of({{"PIP_INDEX_URL", "https://u:two@a.example/"}}));
}

TEST(InstallOrigin, has_the_folders_that_packages_come_from_without_network) {
  EXPECT_THAT(of({}, {true, "/wheels", "/npm"}), ElementsAre("wheelhouse /wheels", "npm cache /npm"));
  EXPECT_THAT(of({}, {false, "/wheels", "/npm"}), IsEmpty());
  EXPECT_THAT(of({}, {true, "", ""}), IsEmpty());  // what was installed with network is used
  EXPECT_THAT(of({{"HTTPS_PROXY", "http://proxy.example"}, {"npm_config_proxy", "x"}}), IsEmpty());
}

}  // namespace
}  // namespace mcpbox::provision
