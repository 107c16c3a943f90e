#include "sys/process_name.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "support/no_descriptors.h"
#include "support/result_matcher.h"

namespace mcpbox::sys {
namespace {

TEST(Owner, tells_the_living_from_the_dead_and_from_others_with_the_same_pid) {
  const std::string mine = own_process().value();
  EXPECT_TRUE(process_is_alive(mine));
  EXPECT_FALSE(process_is_alive(mine + "1"));
  EXPECT_EQ(pid_of(mine), ::getpid());
  EXPECT_EQ(pid_of("nobody"), 0);
  EXPECT_FALSE(process_is_alive("other-boot" + mine.substr(mine.find(':'))));
  for (const char* bad : {"", ":", "::", "a:b:c", "x:../../self:1", "a:1"}) EXPECT_FALSE(process_is_alive(bad)) << bad;
}

TEST(Owner, counts_as_alive_when_it_cannot_be_looked_up) {
  const std::string mine = own_process().value();
  const test::NoDescriptors none;
  EXPECT_TRUE(process_is_alive(mine));
  EXPECT_FALSE(process_is_alive("nobody"));
  EXPECT_THAT(own_process(), test::fails(Code::kResourceExhausted));
  EXPECT_THAT(boot_id(), test::fails(Code::kResourceExhausted));
  EXPECT_THAT(start_of_process(::getpid()), test::fails(Code::kResourceExhausted));
}

}  // namespace
}  // namespace mcpbox::sys
