// The command line of mcpbox-init.
#include <gtest/gtest.h>

#include "box/init/options.h"

namespace mcpbox::box::init {
namespace {

std::expected<Options, std::string> parsed(std::vector<const char*> words) {
  words.insert(words.begin(), {"mcpbox-init", "--control", "/c"});
  return parse_options(static_cast<int>(words.size()), words.data());
}

TEST(InitOptions, take_the_relays_port_and_socket) {
  const auto options = parsed({"--egress", "3128:/.boxnet/egress/egress.sock", "--owner", "1000"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->egress_port, 3128);
  EXPECT_EQ(options->egress_socket, "/.boxnet/egress/egress.sock");
  EXPECT_EQ(options->owner, 1000u);
  EXPECT_EQ(parsed({})->egress_port, 0);
  EXPECT_EQ(parsed({"--sandbox", "mcpbox-0f-a_b.c"})->sandbox, "mcpbox-0f-a_b.c");
  for (const char* wrong : {"", "a b", "a\nb", "a/b", "\xc3\xa4"}) EXPECT_FALSE(parsed({"--sandbox", wrong})) << wrong;
  EXPECT_FALSE(parsed({"--sandbox", std::string(129, 'x').c_str()}));
}

TEST(InitOptions, say_which_namespaces_servers_get) {
  EXPECT_EQ(parsed({})->spaces, Spaces::kNone);
  EXPECT_EQ(parsed({"--spaces"})->spaces, Spaces::kAll);
  const auto tried = parsed({"--spaces-without-proc", "--try-spaces", "1900000000"});
  ASSERT_TRUE(tried);
  EXPECT_EQ(tried->spaces, Spaces::kWithoutProc);
  EXPECT_EQ(tried->try_spaces, 1'900'000'000u);
  EXPECT_FALSE(parsed({"--try-spaces", "nobody"}));
}

TEST(InitOptions, refuse_what_is_no_port_and_socket) {
  for (const char* wrong :
       {"", "3128", "3128:", "3128:relative", "0:/a", "65536:/a", "-1:/a", "3128 :/a", "x:/a", "3128:/a/"}) {
    EXPECT_FALSE(parsed({"--egress", wrong})) << wrong;
  }
  EXPECT_FALSE(parsed({"--egress"}));
}

}  // namespace
}  // namespace mcpbox::box::init
