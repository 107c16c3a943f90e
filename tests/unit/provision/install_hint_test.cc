#include "provision/install/install_hint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/said_to_options.h"

namespace mcpbox::provision {
namespace {

using testing::HasSubstr;

struct Case {
  const char* output;
  const char* hint;
};

// What the tools print, shortened to the lines that tell.
TEST(InstallHint, recognises_what_pip_uv_and_npm_print) {
  const Case cases[] = {
      {"npm error code E404\nnpm error 404 Not Found - GET https://registry.npmjs.org/nope-nope",
       "no such package in the npm registry"},
      {"npm error code ETARGET\nnpm error notarget No matching version found for x@99", "not in that version"},
      {"npm error code EAI_AGAIN\nnpm error request to https://registry.npmjs.org/x failed", "no network or no DNS"},
      {"npm error code ENOTFOUND", "no network or no DNS"},
      {"npm error code ECONNREFUSED", "refuses connections"},
      {"npm error code SELF_SIGNED_CERT_IN_CHAIN", "set box.ca_bundle to"},
      {"npm error command git --no-replace-objects ls-remote ssh://git@github.com/a/b.git",
       "box.network.install_allow"},
      {"npm error nospc ENOSPC: no space left on device, write", "disk is full"},
      {"  x No solution found when resolving dependencies:\n  \xe2\x95\xb0\xe2\x94\x80> Because nope was not found in "
       "the package registry",
       "Python index"},
      {"  \xe2\x95\xb0\xe2\x94\x80> Because there is no version of mcp==99 and you require mcp==99",
       "not in that version"},
      {"No solution found when resolving dependencies: Because a>=2 depends on b<1", "contradict each other"},
      {"ERROR: Could not find a version that satisfies the requirement x\nERROR: No matching distribution found for x",
       "no such package or version"},
      {"error: Request failed after 3 retries\n  Caused by: dns error\n  Caused by: failed to lookup address",
       "no network or no DNS"},
      {"invalid peer certificate: UnknownIssuer", "box.ca_bundle"},
      {"ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED]", "box.ca_bundle"},
      {"error: command 'gcc' failed: No such file or directory", "build tools"},
      {"error: [Errno 2] No such file or directory: 'x86_64-linux-gnu-gcc'", "build tools"},
      {"cause: Call to `setuptools.build_meta:__legacy__.build_wheel` failed (signal: 9 (SIGKILL))",
       "killed, as a rule for memory"},
      {"FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory", "ran out of memory"},
      {"npm error code ENOTCACHED", "offline"},
      {"npm error code EINTEGRITY", "lock file"},
      {"OSError: [Errno 28] No space left on device", "disk is full"},
  };
  for (const Case& one : cases) {
    EXPECT_THAT(install_hint(one.output), HasSubstr(one.hint)) << one.output;
    const test::SaidToOptions said;
    EXPECT_THAT(install_hint(one.output), testing::Not(testing::AnyOf(HasSubstr("box."), HasSubstr("egress."))))
        << one.output;
  }
}

TEST(InstallHint, names_options_to_who_typed_some) {
  const test::SaidToOptions said;
  const Case cases[] = {
      {"npm error code SELF_SIGNED_CERT_IN_CHAIN", "set --ca-bundle to"},
      {"FATAL ERROR: JavaScript heap out of memory", "raise --memory"},
      {"npm error code ENOTCACHED", "fill --npm-cache, or install once with --install-mode open"},
      {"403 Blocked by mcpbox", "allow it with --install-allow"},
      {"npm error code ECONNREFUSED", "a proxy may be needed: HTTPS_PROXY in the environment"},
  };
  for (const Case& one : cases) EXPECT_THAT(install_hint(one.output), HasSubstr(one.hint)) << one.output;
}

TEST(InstallHint, names_the_hosts_that_the_proxy_refused) {
  const std::vector<std::string> refused{"codeload.github.com", "github.com"};
  for (const char* output :
       {"npm error command git ls-remote ssh://git@github.com/a/b.git", "403 Blocked by mcpbox", "?"})
    EXPECT_THAT(install_hint(output, refused), HasSubstr("reach what it asked for: codeload.github.com, github.com;"));
  // A package that tells its maker that it was installed is not why another one does not exist.
  EXPECT_THAT(install_hint("npm error code E404", refused), HasSubstr("no such package"));
  EXPECT_EQ(install_hint("?"), "");
}

TEST(InstallHint, knows_a_network_that_failed_from_a_package_that_is_wrong) {
  EXPECT_TRUE(is_network_failure("npm error code EAI_AGAIN"));
  EXPECT_TRUE(is_network_failure("error: Request failed\n  Caused by: dns error"));
  EXPECT_FALSE(is_network_failure("npm error code E404"));
  EXPECT_FALSE(is_network_failure("error: command 'gcc' failed"));
}

TEST(InstallHint, shows_the_lines_that_matter) {
  std::string output = "Using Python 3.11\n";
  for (int i = 0; i < 50; ++i) output += "progress " + std::to_string(i) + "\n";
  EXPECT_THAT(lines_that_matter(output), testing::StartsWith("progress 38\n"));
  output = "error: Failed to build x\n  Caused by: y\n" + output;
  EXPECT_THAT(lines_that_matter(output), testing::StartsWith("error: Failed to build x\n  Caused by: y\n"));
  EXPECT_EQ(lines_that_matter("npm warn deprecated a\nnpm error code E404\nnpm error A complete log of this run can be "
                              "found in: /x\nnpm notice\n"),
            "npm error code E404");
  EXPECT_EQ(lines_that_matter("\x1b[2J\n"), "\\x1b[2J");
  EXPECT_EQ(lines_that_matter(""), "");
}

TEST(InstallHint, says_nothing_about_what_it_does_not_know) {
  EXPECT_EQ(install_hint(""), "");
  EXPECT_EQ(install_hint("Traceback (most recent call last):\nKeyError: 'x'"), "");
}

}  // namespace
}  // namespace mcpbox::provision
