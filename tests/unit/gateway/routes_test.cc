#include "gateway/routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mcpbox::gateway {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Row {
  std::string_view method, path;
};
constexpr Row kRows[] = {{"GET", "/a"}, {"POST", "/a"}, {"GET", "/a/{x}/b/{y}"}, {"GET", "/"}};

TEST(RoutesTest, finds_the_row_of_path_and_method_and_what_stands_for_its_parameters) {
  EXPECT_EQ(find_route(std::span(kRows), "GET", "/a").row, &kRows[0]);
  EXPECT_EQ(find_route(std::span(kRows), "POST", "/a").row, &kRows[1]);
  EXPECT_EQ(find_route(std::span(kRows), "GET", "/").row, &kRows[3]);
  const auto found = find_route(std::span(kRows), "GET", "/a/one two/b/{x}");
  EXPECT_EQ(found.row, &kRows[2]);
  EXPECT_THAT(found.parameters, ElementsAre("one two", "{x}"));
}

TEST(RoutesTest, a_method_that_the_path_has_not_gives_those_that_it_has) {
  const auto found = find_route(std::span(kRows), "DELETE", "/a");
  EXPECT_EQ(found.row, nullptr);
  EXPECT_EQ(found.allow, "GET, POST");
  EXPECT_EQ(find_route(std::span(kRows), "get", "/a").allow, "GET, POST") << "methods are case-sensitive";
}

TEST(RoutesTest, nothing_but_a_whole_path_fits) {
  for (const char* path : {"", "a", "/A", "/a/", "/a/x", "/a/x/b", "/a//b/y", "/a/x/c/y", "/a/x/b/y/", "/a/x/b/"}) {
    const auto found = find_route(std::span(kRows), "GET", path);
    EXPECT_EQ(found.row, nullptr) << path;
    EXPECT_THAT(found.allow, IsEmpty()) << path;
  }
}

}  // namespace
}  // namespace mcpbox::gateway
