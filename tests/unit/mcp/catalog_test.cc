#include "mcp/catalog.h"

#include <gtest/gtest.h>

namespace mcpbox::mcp {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct CatalogTest : testing::TestWithParam<const CatalogKind*> {
  const CatalogKind& kind = *GetParam();
  Clock::time_point now{};

  CallReply page(std::string_view items, std::string_view more = "") {
    CallReply reply;
    reply.result = "{\"" + std::string(kind.member) + "\":" + std::string(items) + std::string(more) + "}";
    return reply;
  }
  std::string item(std::string_view name) {
    return "{\"" + std::string(kind.key) + "\":\"" + std::string(name) + "\"}";
  }
};

TEST_P(CatalogTest, asks_page_by_page_and_has_the_whole_list_at_the_end) {
  Catalog catalog(kind);
  EXPECT_FALSE(catalog.next_page());
  catalog.refresh(now);
  EXPECT_EQ(catalog.next_page(), "");
  EXPECT_FALSE(catalog.next_page());  // one page at a time
  EXPECT_EQ(catalog.page_timeout(now + seconds(10)), seconds(20));
  catalog.on_page(page("[" + item("a") + "," + item("b") + "]", R"(,"nextCursor":"n")"), now);
  EXPECT_FALSE(catalog.known());
  EXPECT_EQ(catalog.next_page(), R"({"cursor":"n"})");
  catalog.on_page(page("[" + item("c") + "]"), now);
  EXPECT_FALSE(catalog.next_page());
  ASSERT_EQ(catalog.items().size(), 3u);
  EXPECT_EQ(catalog.items()[2].name, "c");
  EXPECT_EQ(catalog.items()[2].json, item("c"));
  EXPECT_EQ(catalog.version(), 1u);
}

TEST_P(CatalogTest, fails_the_first_run_and_keeps_the_list_when_a_later_one_fails) {
  Catalog catalog(kind);
  catalog.refresh(now);
  (void)catalog.next_page();
  catalog.on_page(fail(Code::kTimeout, "slow"), now);
  ASSERT_TRUE(catalog.take_failure());
  EXPECT_FALSE(catalog.known());

  catalog.refresh(now);
  (void)catalog.next_page();
  catalog.on_page(page("[" + item("a") + "]"), now);
  catalog.refresh(now);
  (void)catalog.next_page();
  catalog.on_page(page("{}"), now);
  EXPECT_FALSE(catalog.take_failure());
  EXPECT_EQ(catalog.items().size(), 1u);
  EXPECT_EQ(catalog.take_notes(),
            std::vector<std::string>{"the " + std::string(kind.one) +
                                     "s could not be listed again: " + std::string(kind.method) +
                                     ": the server's answer holds no list of " + std::string(kind.one) + "s"});
}

TEST_P(CatalogTest, everybody_who_reads_the_list_reads_one_text) {
  Catalog catalog(kind);
  EXPECT_EQ(*catalog.text(), "[]");
  catalog.refresh(now);
  (void)catalog.next_page();
  catalog.on_page(page("[" + item("a") + "," + item("b") + "]"), now);
  const auto first = catalog.text();
  EXPECT_EQ(*first, "[" + item("a") + "," + item("b") + "]");
  EXPECT_EQ(catalog.text(), first);
  catalog.refresh(now);
  (void)catalog.next_page();
  catalog.on_page(page("[" + item("c") + "]"), now);
  EXPECT_EQ(*catalog.text(), "[" + item("c") + "]");
  EXPECT_EQ(*first, "[" + item("a") + "," + item("b") + "]");
}

TEST_P(CatalogTest, a_storm_of_changes_is_answered_ever_more_rarely) {
  Catalog catalog(kind);
  catalog.refresh(now);
  (void)catalog.next_page();
  catalog.on_page(page("[]"), now);
  int runs = 0;
  // Ten changes a second for ten minutes.
  for (int i = 0; i < 6000; ++i) {
    now += milliseconds(100);
    catalog.on_changed(now);
    catalog.on_time(now);
    if (catalog.next_page()) {
      ++runs;
      catalog.on_page(page("[]"), now);
    }
  }
  EXPECT_LE(runs, 30);
  EXPECT_GE(runs, 20);
  // After a silence the next change is followed at once.
  now += seconds(40);
  catalog.on_time(now);
  if (catalog.next_page()) catalog.on_page(page("[]"), now);
  now += seconds(40);
  catalog.on_changed(now);
  EXPECT_EQ(catalog.next_deadline(), now + milliseconds(250));
}

TEST_P(CatalogTest, keeps_neither_more_items_nor_bytes_nor_cursors_than_its_limits) {
  CatalogLimits limits;
  limits.max_bytes = 10'000;
  limits.max_answer_bytes = 100'000;
  Catalog catalog(kind, limits);
  catalog.refresh(now);
  std::size_t asked = 0;
  // Pages without end that hold nothing but what is around a list.
  while (catalog.next_page()) {
    ++asked;
    catalog.on_page(
        page("[]", R"(,"junk":")" + std::string(9'000, 'j') + R"(","nextCursor":")" + std::to_string(asked) + "\""),
        now);
  }
  EXPECT_EQ(asked, 12u);
  catalog.take_notes();

  catalog.refresh(now);
  (void)catalog.next_page();
  catalog.on_page(page("[]", R"(,"nextCursor":")" + std::string(5'000, 'c') + "\""), now);
  EXPECT_FALSE(catalog.next_page());
  EXPECT_EQ(
      catalog.take_notes(),
      std::vector<std::string>{std::string(kind.method) + ": the server gave a cursor of 4.9 KiB; its list ends here"});

  // Three hundred thousand elements that are nothing.
  std::string nothing = "[";
  for (int i = 0; i < 300'000; ++i) nothing += "0,";
  catalog.refresh(now);
  (void)catalog.next_page();
  catalog.on_page(page(nothing + "0]"), now);
  EXPECT_TRUE(catalog.items().empty());
  EXPECT_LE(catalog.take_notes().size(), 101u);
}

TEST_P(CatalogTest, a_change_during_a_run_is_followed_by_another_run) {
  Catalog catalog(kind);
  catalog.refresh(now);
  (void)catalog.next_page();
  catalog.on_changed(now);
  catalog.on_page(page("[]"), now);
  ASSERT_TRUE(catalog.next_deadline());
  catalog.on_time(*catalog.next_deadline());
  EXPECT_EQ(catalog.next_page(), "");
}

INSTANTIATE_TEST_SUITE_P(Kinds, CatalogTest,
                         testing::Values(&kToolCatalog, &kResourceCatalog, &kResourceTemplateCatalog, &kPromptCatalog));

}  // namespace
}  // namespace mcpbox::mcp
