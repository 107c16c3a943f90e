#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hosting/install_hint.h"

namespace mcpbox::hosting {
namespace {

using testing::HasSubstr;

struct Case {
  const char* output;
  const char* hint;
};

// What the tools print, shortened to the lines that tell.
TEST(InstallHint, recognises_what_pip_uv_and_npm_print) {
  const Case cases[] = {
      {"npm error code E404\nnpm error 404 Not Found - GET https://registry.npmjs.org/nope-nope", "no such package in the npm registry"},
      {"npm error code ETARGET\nnpm error notarget No matching version found for x@99", "not in that version"},
      {"npm error code EAI_AGAIN\nnpm error request to https://registry.npmjs.org/x failed", "no network or no DNS"},
      {"npm error code ENOTFOUND", "no network or no DNS"},
      {"npm error code ECONNREFUSED", "refuses connections"},
      {"npm error code SELF_SIGNED_CERT_IN_CHAIN", "box.ca_bundle"},
      {"npm error nospc ENOSPC: no space left on device, write", "disk is full"},
      {"  x No solution found when resolving dependencies:\n  \xe2\x95\xb0\xe2\x94\x80> Because nope was not found in the package registry", "Python index"},
      {"  \xe2\x95\xb0\xe2\x94\x80> Because there is no version of mcp==99 and you require mcp==99", "not in that version"},
      {"No solution found when resolving dependencies: Because a>=2 depends on b<1", "contradict each other"},
      {"ERROR: Could not find a version that satisfies the requirement x\nERROR: No matching distribution found for x", "no such package or version"},
      {"error: Request failed after 3 retries\n  Caused by: dns error\n  Caused by: failed to lookup address", "no network or no DNS"},
      {"invalid peer certificate: UnknownIssuer", "box.ca_bundle"},
      {"ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED]", "box.ca_bundle"},
      {"error: command 'gcc' failed: No such file or directory", "build tools"},
      {"OSError: [Errno 28] No space left on device", "disk is full"},
  };
  for (const Case& one : cases) EXPECT_THAT(install_hint(one.output), HasSubstr(one.hint)) << one.output;
}

TEST(InstallHint, says_nothing_about_what_it_does_not_know) {
  EXPECT_EQ(install_hint(""), "");
  EXPECT_EQ(install_hint("Traceback (most recent call last):\nKeyError: 'x'"), "");
}

}  // namespace
}  // namespace mcpbox::hosting
