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

TEST(Identity, uids_stay_in_their_ranges) {
  for (int i = 0; i < 1000; ++i) {
    EXPECT_GE(draw_uid(), 1'900'000'000u);
    EXPECT_LT(draw_uid(), 2'033'000'000u);
    const uid_t server = server_uid("0123", std::to_string(i));
    EXPECT_GE(server, 1'900'000'000u);
    EXPECT_LT(server, 2'033'000'000u);
    const uid_t installer = installer_uid(std::to_string(i));
    EXPECT_GE(installer, 2'033'000'000u);
    EXPECT_LT(installer, 1u << 31);
    const uid_t code = code_uid("0123", std::to_string(i));
    EXPECT_GE(code, 2'033'000'000u);
    EXPECT_LT(code, 1u << 31);
  }
}

TEST(Identity, a_servers_uid_is_stable_and_its_own) {
  EXPECT_EQ(server_uid("i", "s"), server_uid("i", "s"));
  EXPECT_NE(server_uid("i", "s"), server_uid("j", "s"));
  EXPECT_NE(server_uid("i", "s"), server_uid("i", "t"));
  EXPECT_NE(server_uid("ab", "c"), server_uid("a", "bc"));
}

}  // namespace
}  // namespace mcpbox::provision
