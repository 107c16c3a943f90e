#include "base/base64.h"

#include <gtest/gtest.h>

namespace mcpbox {
namespace {

TEST(Base64, has_the_vectors_of_rfc_4648) {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [data, text] : vectors) {
    EXPECT_EQ(base64_encode(data), text);
    EXPECT_EQ(base64_decode(text), data);
  }
}

TEST(Base64, of_every_byte_and_every_length_comes_back_on_one_line) {
  std::string data;
  for (int i = 0; i < 600; ++i) {
    data += static_cast<char>(i * 7);
    const std::string text = base64_encode(data);
    EXPECT_EQ(text.find('\n'), std::string::npos);
    EXPECT_EQ(text.find('\0'), std::string::npos);
    EXPECT_EQ(base64_decode(text), data);
  }
}

TEST(Base64, may_lack_its_padding_and_nothing_else) {
  EXPECT_EQ(base64_decode("Zg"), "f");
  EXPECT_EQ(base64_decode("Zg="), "f");
  EXPECT_EQ(base64_decode("Zm9vYg==="), "foob");
  EXPECT_EQ(base64_decode("==="), "");
  EXPECT_EQ(base64_decode("Zh=="), "f") << "bits behind the last byte";
  for (const char* text : {"Z", "Zm9vY", " Zg==", "Zg== ", "Zg\n", "Zm 9v", "Zm9v\n", "Zg==Zg==", "Zm-v", "Zm_v",
                           "Zm9\x80", "Zm=v", "\tZm9v", "Zm9v-", "Zm9v\r\n"}) {
    EXPECT_EQ(base64_decode(text), std::nullopt) << text;
  }
  EXPECT_EQ(base64_decode(std::string_view("Zm9v\0", 5)), std::nullopt);
  EXPECT_EQ(base64_decode(std::string_view("\0\0\0\0", 4)), std::nullopt);
}

}  // namespace
}  // namespace mcpbox
