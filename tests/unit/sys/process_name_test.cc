#include "sys/process_name.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

namespace mcpbox::sys {
namespace {

TEST(Owner, tells_the_living_from_the_dead_and_from_others_with_the_same_pid) {
  const std::string mine = own_process();
  EXPECT_TRUE(process_is_alive(mine));
  EXPECT_FALSE(process_is_alive(mine + "1"));
  EXPECT_EQ(pid_of(mine), ::getpid());
  EXPECT_EQ(pid_of("nobody"), 0);
  EXPECT_FALSE(process_is_alive("other-boot" + mine.substr(mine.find(':'))));
  for (const char* bad : {"", ":", "::", "a:b:c", "x:../../self:1", "a:1"}) EXPECT_FALSE(process_is_alive(bad)) << bad;
}

}  // namespace
}  // namespace mcpbox::sys
