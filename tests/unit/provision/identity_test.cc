#include "provision/identity.h"

#include <gtest/gtest.h>

namespace mcpbox::provision {
namespace {

TEST(Identity, preferred_uids_stay_in_their_parts) {
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(server_part({}).contains(preferred_server_uid("0123", std::to_string(i))));
    EXPECT_TRUE(installer_part({}).contains(preferred_installer_uid(std::to_string(i))));
    EXPECT_TRUE(installer_part({}).contains(preferred_code_uid("0123", std::to_string(i))));
  }
  EXPECT_EQ(server_part({}).first, 1'900'000'000u);
  EXPECT_EQ(installer_part({}).first, 2'033'000'000u);
  EXPECT_LT(installer_part({}).first + installer_part({}).count, 1u << 31);
}

TEST(Identity, a_preferred_uid_is_stable_and_the_names_own) {
  EXPECT_EQ(preferred_server_uid("i", "s"), preferred_server_uid("i", "s"));
  EXPECT_NE(preferred_server_uid("i", "s"), preferred_server_uid("j", "s"));
  EXPECT_NE(preferred_server_uid("i", "s"), preferred_server_uid("i", "t"));
  EXPECT_NE(preferred_server_uid("ab", "c"), preferred_server_uid("a", "bc"));
}

}  // namespace
}  // namespace mcpbox::provision
