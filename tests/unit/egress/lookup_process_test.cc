#include "egress/proxy/lookup_process.h"

#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <cstdlib>

#include "base/unique_fd.h"
#include "support/run_task.h"

namespace mcpbox::egress {
namespace {

using Answer = Result<std::vector<IpAddress>>;

// As in run_egress().
struct LookupProcess : testing::Test {
  boost::asio::io_context loop;
  void (*before)(int) = ::signal(SIGCHLD, SIG_IGN);
  ~LookupProcess() override { ::signal(SIGCHLD, before); }
  Answer run(std::function<Answer(const std::string&)> lookup) {
    return test::run_task(loop, lookup_in_process("a.test", std::move(lookup)), std::chrono::seconds(20));
  }
};

TEST_F(LookupProcess, brings_addresses_back_as_they_were_found) {
  std::vector<IpAddress> many;
  for (int i = 0; i < 16; ++i) many.push_back(*IpAddress::parse("2001:db8::" + std::to_string(i)));
  many[3] = *IpAddress::parse("192.0.2.7");
  EXPECT_EQ(run([&](const std::string&) { return many; }).value(), many);
  EXPECT_EQ(run([](const std::string&) { return std::vector<IpAddress>(); }).value().size(), 0u);
}

TEST_F(LookupProcess, brings_errors_back_with_their_code) {
  const auto absent = run([](const std::string& name) -> Answer { return fail(Code::kNotFound, "no " + name); });
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code(), Code::kNotFound);
  EXPECT_EQ(absent.error().message(), "no a.test");
  const auto longest =
      run([](const std::string&) -> Answer { return fail(Code::kInternal, std::string(1 << 20, 'x')); });
  EXPECT_EQ(longest.error().message(), std::string(1024, 'x'));
}

TEST_F(LookupProcess, one_that_dies_costs_its_name) {
  const auto died = run([](const std::string&) -> Answer {
    ::raise(SIGKILL);
    return std::vector<IpAddress>();
  });
  ASSERT_FALSE(died);
  EXPECT_EQ(died.error().code(), Code::kUnavailable);
}

TEST_F(LookupProcess, finds_what_the_machine_knows) {
  EXPECT_TRUE(run(lookup_addresses).error().code() == Code::kNotFound ||
              run(lookup_addresses).error().code() == Code::kUnavailable);
  const Answer own = test::run_task(loop, lookup_in_process("localhost"), std::chrono::seconds(20));
  ASSERT_TRUE(own) << own.error().message();
  EXPECT_EQ(classify(own->front()), AddressClass::kLoopback);
}

// A pipe's other end is closed when the child is gone.
TEST_F(LookupProcess, one_that_hangs_is_ended_with_the_coroutine) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd alive(ends[0]);
  UniqueFd theirs(ends[1]);
  // Standard error is what the child keeps.
  const UniqueFd before(::dup(2));
  ::dup2(theirs.get(), 2);
  theirs.reset();
  bool started = false;
  const auto got = test::run_cancelled(loop,
                                       lookup_in_process("a.test",
                                                         [](const std::string&) -> Answer {
                                                           (void)!::write(2, "x", 1);
                                                           for (;;) ::pause();
                                                         }),
                                       [&] {
                                         pollfd one{alive.get(), POLLIN, 0};
                                         started = started || ::poll(&one, 1, 0) > 0;
                                         return started;
                                       });
  ::dup2(before.get(), 2);
  if (got) EXPECT_EQ(got->error().code(), Code::kCancelled);
  char byte = 0;
  EXPECT_EQ(::read(alive.get(), &byte, 1), 1);
  EXPECT_EQ(::read(alive.get(), &byte, 1), 0) << "nobody holds the other end";
}

}  // namespace
}  // namespace mcpbox::egress
