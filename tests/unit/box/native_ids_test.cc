#include <gtest/gtest.h>

#include "box/native/ids.h"

namespace mcpbox::box {
namespace {

TEST(NativeIds, finds_a_users_range_by_name_and_by_number) {
  constexpr std::string_view kFile = "other:1:2\nada:100000:65536\n1007:300000:1000\nada:700000:5\n";
  EXPECT_EQ(find_sub_range(kFile, "ada", 1), (SubRange{100000, 65536}));
  EXPECT_EQ(find_sub_range(kFile, "unknown", 1007), (SubRange{300000, 1000}));
  EXPECT_FALSE(find_sub_range(kFile, "eve", 3));
}

TEST(NativeIds, ignores_ranges_that_make_no_sense) {
  for (const char* line :
       {"ada:0:10", "ada:5:0", "ada:4294967295:2", "ada:-1:5", "ada:1", "ada:1:2:3", "ada:x:1", ""}) {
    EXPECT_FALSE(find_sub_range(line, "ada", 1)) << line;
  }
}

TEST(NativeIds, gives_root_the_servers_range_and_the_owners_of_folders_once) {
  const NativeIds ids = ids_for_root({{1000, 100}, {1000, 100}, {0, 0}, {1'900'000'005, 7}});
  EXPECT_EQ(ids.uids,
            (std::vector<wire::IdRange>{{0, 0, 1}, {1000, 1000, 1}, {1'900'000'000, 1'900'000'000, 233'000'000}}));
  EXPECT_EQ(ids.gids, (std::vector<wire::IdRange>{
                          {0, 0, 1}, {7, 7, 1}, {100, 100, 1}, {1'900'000'000, 1'900'000'000, 233'000'000}}));
  EXPECT_TRUE(ids.newuidmap.empty());
}

TEST(NativeIds, gives_an_ordinary_user_itself_and_its_range_and_never_the_hosts_root) {
  const NativeIds ids = ids_for_user(1000, 100, {100000, 65536}, {200000, 1000});
  EXPECT_EQ(ids.uids, (std::vector<wire::IdRange>{{0, 100000, 1}, {1000, 1000, 1}, {1'900'000'000, 100001, 999}}));
  EXPECT_EQ(ids.gids, (std::vector<wire::IdRange>{{0, 200000, 1}, {100, 100, 1}, {1'900'000'000, 200001, 999}}));
  EXPECT_EQ(ids.servers, (UidRange{1'900'000'000, 999}));
}

}  // namespace
}  // namespace mcpbox::box
