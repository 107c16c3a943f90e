#include "base/growing_bytes.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace mcpbox {
namespace {

TEST(GrowingBytes, holds_what_was_appended_in_whatever_pieces) {
  std::string all;
  GrowingBytes bytes;
  for (std::size_t size : {0u, 1u, 63u, 64u, 65u, 4096u, 70'000u, 3'000'000u}) {
    const std::string piece(size, static_cast<char>('a' + size % 26));
    bytes.append(piece);
    all += piece;
    ASSERT_EQ(bytes.view(), all);
  }
  GrowingBytes moved = std::move(bytes);
  EXPECT_EQ(moved.view(), all);
  EXPECT_EQ(bytes.size(), 0u);  // NOLINT(bugprone-use-after-move): what is left can be used again
}

TEST(GrowingBytes, moves_what_is_behind_to_the_front) {
  GrowingBytes bytes;
  bytes.append("onetwothree");
  bytes.erase_front(3);
  EXPECT_EQ(bytes.view(), "twothree");
  bytes.append("four");
  EXPECT_EQ(bytes.view(), "twothreefour");
  bytes.erase_front(12);
  EXPECT_EQ(bytes.size(), 0u);
}

TEST(GrowingBytes, gives_back_what_is_more_than_it_may_keep) {
  GrowingBytes bytes;
  bytes.append(std::string(100'000, 'x'));
  bytes.clear(1 << 20);
  EXPECT_GE(bytes.capacity(), 100'000u);
  EXPECT_EQ(bytes.view(), "");
  bytes.append(std::string(100'000, 'y'));
  bytes.clear(1000);
  EXPECT_EQ(bytes.capacity(), 0u);
  bytes.append("again");
  EXPECT_EQ(bytes.view(), "again");
}

}  // namespace
}  // namespace mcpbox
