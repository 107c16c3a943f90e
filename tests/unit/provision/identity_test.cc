#include "provision/identity.h"

#include <gtest/gtest.h>

#include <set>

namespace mcpbox::provision {
namespace {

TEST(Identity, a_process_id_has_only_plain_characters_and_at_most_64) {
  for (const std::string& name :
       {std::string("a"), std::string("My_Server.2"), std::string("@scope/pkg"), std::string("---"), std::string(),
        std::string(300, 'x'), std::string("h\xc3\xa4\xc3\xb6"), std::string("a\0b", 3)}) {
    const std::string id = process_id(name);
    EXPECT_FALSE(id.empty());
    EXPECT_LE(id.size(), 64u) << id;
    EXPECT_EQ(id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-"), std::string::npos) << id;
    EXPECT_NE(id.front(), '-');
    EXPECT_EQ(process_id(name), id);
  }
}

TEST(Identity, names_that_look_alike_have_different_process_ids) {
  std::set<std::string> ids;
  for (const char* name : {"a.b", "a-b", "a_b", "A-b", "a--b", "a-b-"}) ids.insert(process_id(name));
  EXPECT_EQ(ids.size(), 6u);
}

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
