#include "egress/proxy/audit_budget.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace mcpbox::egress {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::SizeIs;

struct AuditBudgetTest : testing::Test {
  AuditBudget::Time now{seconds(1000)};
  AuditBudgetOptions options;
  static AuditRecord refusal(const std::string& server, const std::string& host, const std::string& process = "p") {
    return {.event = "refuse", .server = server, .process = process, .phase = "run", .host = host, .port = 443};
  }
};

TEST_F(AuditBudgetTest, equal_refusals_are_one_line_and_then_one_with_their_count) {
  AuditBudget budget(options, 1 << 20);
  EXPECT_TRUE(budget.admit(refusal("s", "a.test"), now));
  for (int i = 0; i < 4400; ++i) EXPECT_FALSE(budget.admit(refusal("s", "a.test"), now));
  EXPECT_TRUE(budget.admit(refusal("s", "b.test"), now)) << "another host is another line";
  EXPECT_TRUE(budget.admit(refusal("t", "a.test"), now)) << "and so is another server";
  EXPECT_THAT(budget.due(now + options.equal - milliseconds(1)), SizeIs(0));
  const auto due = budget.due(now + options.equal);
  ASSERT_THAT(due, SizeIs(1));
  EXPECT_EQ(due[0].host, "a.test");
  EXPECT_EQ(due[0].count, 4400u);
  EXPECT_FALSE(budget.waiting());
  EXPECT_TRUE(budget.admit(refusal("s", "a.test"), now + options.equal));
}

TEST_F(AuditBudgetTest, what_is_beyond_a_servers_budget_is_summed_up_and_costs_no_other_server) {
  options.burst = 10;
  AuditBudget budget(options, 1 << 20);
  int written = 0;
  for (int i = 0; i < 1000; ++i) written += budget.admit(refusal("s", fmt::format("h{}.test", i)), now) ? 1 : 0;
  EXPECT_EQ(written, 10);
  EXPECT_TRUE(budget.admit(refusal("t", "a.test"), now));
  const auto due = budget.due(now + options.summary);
  ASSERT_THAT(due, SizeIs(1));
  EXPECT_EQ(due[0].count, 990u);
  EXPECT_EQ(due[0].host, "");
  EXPECT_EQ(due[0].server, "s");
  EXPECT_NE(due[0].reason, "");
  EXPECT_TRUE(budget.admit(refusal("s", "later.test"), now + options.summary)) << "the budget fills again";
}

TEST_F(AuditBudgetTest, bytes_of_connections_that_are_summed_up_are_not_lost) {
  options.burst = 1;
  AuditBudget budget(options, 1 << 20);
  const AuditRecord close{.event = "close", .server = "s", .host = "a.test", .bytes_up = 3, .bytes_down = 5};
  EXPECT_TRUE(budget.admit(close, now));
  EXPECT_FALSE(budget.admit(close, now));
  EXPECT_FALSE(budget.admit(close, now));
  const auto due = budget.due(now, true);
  ASSERT_THAT(due, SizeIs(1));
  EXPECT_EQ(due[0].bytes_up, 6u);
  EXPECT_EQ(due[0].bytes_down, 10u);
}

TEST_F(AuditBudgetTest, one_server_fills_a_part_of_a_file_however_long_it_takes) {
  options.file_share = 8;
  AuditBudget budget(options, 8000);
  std::uint64_t bytes = 0;
  for (int i = 0; i < 10000; ++i, now += seconds(1)) {
    const AuditRecord record = refusal("s", fmt::format("h{}.test", i));
    if (!budget.admit(record, now)) continue;
    budget.wrote(record, 100);
    bytes += 100;
  }
  EXPECT_EQ(bytes, 1000u);
  EXPECT_TRUE(budget.admit(refusal("t", "a.test"), now));
  budget.rotated();
  EXPECT_TRUE(budget.admit(refusal("s", "new.test"), now));
}

TEST_F(AuditBudgetTest, a_process_that_comes_again_is_refused_as_if_for_the_first_time) {
  AuditBudget budget(options, 1 << 20);
  EXPECT_TRUE(budget.admit(refusal("s", "a.test", "p"), now));
  EXPECT_TRUE(budget.admit(refusal("s", "a.test", "q"), now));
  EXPECT_FALSE(budget.admit(refusal("s", "a.test", "p"), now));
  const auto gone = budget.ended("s", "p", now);
  ASSERT_THAT(gone, SizeIs(1));
  EXPECT_EQ(gone[0].count, 1u);
  EXPECT_TRUE(budget.admit(refusal("s", "a.test", "p"), now));
  EXPECT_FALSE(budget.admit(refusal("s", "a.test", "q"), now));
}

TEST_F(AuditBudgetTest, callers_that_nobody_knows_have_a_budget_for_each_uid) {
  options.burst = 1;
  AuditBudget budget(options, 1 << 20);
  const auto unknown = [](const std::string& caller, const std::string& host) {
    return AuditRecord{.event = "refuse", .host = host, .caller = caller};
  };
  EXPECT_TRUE(budget.admit(unknown("uid 1", "a.test"), now));
  EXPECT_FALSE(budget.admit(unknown("uid 1", "b.test"), now));
  EXPECT_TRUE(budget.admit(unknown("uid 2", "b.test"), now));
}

TEST_F(AuditBudgetTest, names_without_end_share_one_budget) {
  options.burst = 1;
  options.max_askers = 3;
  AuditBudget budget(options, 1 << 20);
  int written = 0;
  for (int i = 0; i < 100; ++i) written += budget.admit(refusal(fmt::format("s{}", i), "a.test"), now) ? 1 : 0;
  EXPECT_EQ(written, 4);
}

}  // namespace
}  // namespace mcpbox::egress
