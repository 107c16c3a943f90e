// The egress relay where no proxy is: what it says then, and how much it takes.
#include <gmock/gmock.h>

#include "integration/init/fixture.h"

namespace mcpbox::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class InitRelay : public Init {
 protected:
  void SetUp() override { start({"--egress", "3128:/.boxrun/egress.sock"}); }
  std::string probe(const std::string& id, std::vector<std::string> arguments, uid_t uid) {
    auto what = spec(id, {"/opt/tests/egress_probe"}, uid);
    what.argv.insert(what.argv.end(), arguments.begin(), arguments.end());
    what.confine.connect_ports = {3128};
    return output_of(what).out;
  }
};

TEST_F(InitRelay, takes_64_connections_of_one_server_and_tells_the_next_one_that_no_proxy_comes) {
  EXPECT_THAT(probe("alice", {"flood", "65"}, kAlice), HasSubstr("too many connections at once"));
  const std::string answer = probe("bob", {"get", "none", "http://a.test/"}, kBob);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(answer, HasSubstr("the egress proxy is not running"));
}

}  // namespace
}  // namespace mcpbox::test
