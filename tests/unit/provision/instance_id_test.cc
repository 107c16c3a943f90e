#include "provision/instance_id.h"

#include <gtest/gtest.h>

#include <set>

namespace mcpbox::provision {
namespace {

TEST(InstanceIds, have_only_plain_characters_and_a_bounded_length) {
  for (const std::string& name :
       {std::string("a"), std::string("My_Server.2"), std::string("@scope/pkg"), std::string("---"), std::string(),
        std::string(300, 'x'), std::string("h\xc3\xa4\xc3\xb6"), std::string("a\0b", 3)}) {
    for (const std::string& key : {std::string(), name, std::string("another")}) {
      const std::string process = process_id({name, key});
      const std::string sandbox = sandbox_id({name, key});
      EXPECT_LE(process.size(), 57u) << process;
      EXPECT_LE(sandbox.size(), 40u) << sandbox;
      for (const std::string& id : {process, sandbox}) {
        EXPECT_GE(id.size(), 10u);
        EXPECT_EQ(id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-"), std::string::npos) << id;
        EXPECT_NE(id.front(), '-');
      }
      EXPECT_EQ(process_id({name, key}), process);
    }
  }
}

TEST(InstanceIds, of_names_that_look_alike_differ) {
  std::set<std::string> processes, sandboxes;
  const std::string common(50, 'n');
  for (const std::string& name : {std::string("a.b"), std::string("a-b"), std::string("a_b"), std::string("A-b"),
                                  std::string("a--b"), std::string("a-b-"), common, common + "1", common + "2"}) {
    for (const char* key : {"", "one", "two"}) {
      processes.insert(process_id({name, key}));
      sandboxes.insert(sandbox_id({name, key}));
    }
  }
  EXPECT_EQ(processes.size(), 27u);
  EXPECT_EQ(sandboxes.size(), 27u);
}

// What a server had before there were keys is found again.
TEST(InstanceIds, of_the_shared_one_is_the_servers_own) {
  EXPECT_EQ(name_of({"notes", ""}), "notes");
  EXPECT_EQ(process_id({"notes", ""}), "notes-ab5aa970");
  EXPECT_EQ(sandbox_id({"notes", ""}), "notes-ab5aa970");
}

TEST(InstanceIds, keep_a_clients_key_to_themselves) {
  const std::string name = name_of({"notes", "key\nof a client/../x"});
  EXPECT_TRUE(name.starts_with("notes/"));
  EXPECT_EQ(name.find("client"), std::string::npos);
  EXPECT_EQ(name.size(), 22u);
}

}  // namespace
}  // namespace mcpbox::provision
