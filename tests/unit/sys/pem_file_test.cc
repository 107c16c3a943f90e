#include "sys/pem_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temp_tree.h"

namespace mcpbox::sys {
namespace {

using testing::HasSubstr;

TEST(PemFile, a_bundle_holds_a_certificate_from_its_first_line_to_its_last) {
  const test::TempTree tree;
  for (const std::string kind : {"", "TRUSTED ", "X509 "}) {
    const std::string text =
        "# a name\n-----BEGIN " + kind + "CERTIFICATE-----\nMA==\n-----END " + kind + "CERTIFICATE-----\n";
    EXPECT_TRUE(check_certificates(tree.file("good", text))) << kind;
  }
  EXPECT_TRUE(check_certificates(tree.link("link", tree.path("good"))));
}

TEST(PemFile, what_holds_none_is_named) {
  const test::TempTree tree;
  for (const char* text : {"", "root:x:0:0::/root:/bin/sh\n", "-----BEGIN CERTIFICATE-----\nMA==\n",
                           "-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n",
                           "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n"}) {
    const auto checked = check_certificates(tree.file("bad", text));
    ASSERT_FALSE(checked) << text;
    EXPECT_EQ(checked.error().code(), Code::kInvalidArgument);
    EXPECT_THAT(checked.error().message(), HasSubstr(tree.path("bad")));
  }
  EXPECT_FALSE(check_certificates(tree.path("nope")));
  EXPECT_FALSE(check_certificates(tree.root()));
}

}  // namespace
}  // namespace mcpbox::sys
