#include "config/credential_helper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "support/temp_tree.h"

namespace mcpbox::config {
namespace {

using testing::HasSubstr;
using testing::Not;

// Programs in a PATH of their own.
struct CredentialHelperTest : testing::Test {
  test::TempTree tree;
  std::string before = std::getenv("PATH");

  CredentialHelperTest() { ::setenv("PATH", (".:" + tree.dir("bin") + ":" + before).c_str(), 1); }
  ~CredentialHelperTest() override { ::setenv("PATH", before.c_str(), 1); }

  void helper(const std::string& name, const std::string& script) {
    tree.file("bin/docker-credential-" + name, "#!/bin/sh\n" + script + "\n", 0755);
  }
  std::string ask(const std::string& name, const std::string& key = "https://a.example/v1") {
    const auto secret = ask_helper_now({name, key});
    return secret ? std::string(secret->reveal())
                  : std::string(code_name(secret.error().code())) + ": " + secret.error().message();
  }
};

TEST_F(CredentialHelperTest, is_asked_as_docker_asks_it) {
  helper("one", R"([ "$*" = get ] || exit 3
read -r key; read -r more && exit 4
printf '{"ServerURL":"%s","Username":"u","Secret":"for %s \\u00e9"}' "$key" "$key")");
  EXPECT_EQ(ask("one"), "for https://a.example/v1 \u00e9");
  EXPECT_EQ(ask("one", "$(id) ; a b"), "for $(id) ; a b \u00e9");
}

TEST_F(CredentialHelperTest, what_it_says_when_it_has_none_is_told_on) {
  helper("empty", "echo credentials not found in native keychain; exit 1");
  EXPECT_EQ(ask("empty"),
            "not_found: docker-credential-empty ended with exit code 1: credentials not found in native keychain");
  helper("loud", "echo no session bus >&2; exit 2");
  EXPECT_EQ(ask("loud"), "unavailable: docker-credential-loud ended with exit code 2: no session bus");
}

TEST_F(CredentialHelperTest, an_answer_that_is_none_is_refused_without_a_word_of_it) {
  helper("text", "echo s3cret-text");
  helper("other", R"(echo '{"Password":"s3cret-other"}')");
  helper("none", R"(echo '{"Secret":""}')");
  helper("much", R"(printf '{"Secret":"'; head -c 70000 /dev/zero | tr '\0' s; printf '"}')");
  for (const char* name : {"text", "other", "none", "much"}) {
    EXPECT_THAT(ask(name), Not(HasSubstr("s3cret"))) << name;
    EXPECT_THAT(ask(name), HasSubstr("docker-credential-")) << name;
  }
  EXPECT_THAT(ask("text"), HasSubstr("data_loss: "));
  EXPECT_THAT(ask("much"), HasSubstr("more than 64 KiB"));
}

TEST_F(CredentialHelperTest, only_a_program_in_an_absolute_folder_of_PATH_is_run) {
  EXPECT_THAT(ask("gone"), HasSubstr("not_found: there is no program docker-credential-gone in PATH"));
  tree.file("bin/docker-credential-plain", "#!/bin/sh\n", 0644);
  tree.dir("bin/docker-credential-folder");
  for (const char* name : {"plain", "folder"}) EXPECT_FALSE(find_helper({name, "k"})) << name;
}

TEST_F(CredentialHelperTest, keys_are_one_line) {
  EXPECT_TRUE(parse_helper("secretservice:https://index.docker.io/v1/"));
  for (const char* wrong : {"", "a", "a:", ":b", "a/b:c", "a:b\nc"}) EXPECT_FALSE(parse_helper(wrong)) << wrong;
}

}  // namespace
}  // namespace mcpbox::config
