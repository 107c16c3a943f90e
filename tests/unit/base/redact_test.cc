#include "base/redact.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/base64.h"
#include "base/digest.h"
#include "base/own_words.h"
#include "base/secrets.h"

namespace mcpbox {
namespace {

TEST(Redactor, hides_a_secret_in_every_spelling) {
  Redactor redact;
  redact.add(Secret("p\"ss/w0rd!"));
  EXPECT_EQ(redact("key p\"ss/w0rd! end"), "key *** end");
  EXPECT_EQ(redact("url p%22ss%2Fw0rd%21 end"), "url *** end");
  EXPECT_EQ(redact("json p\\\"ss/w0rd! end"), "json *** end");
  EXPECT_EQ(redact("b64 cCJzcy93MHJkIQ==").find("cCJzcy93MHJk"), std::string::npos);
}

TEST(Redactor, hides_base64_of_a_text_that_the_secret_stands_anywhere_in) {
  const std::string secret = "n0-such?>key~", url_alphabet = "-_";
  Redactor redact;
  redact.add(Secret(secret));
  for (const std::string before : {"", "a", "ab", "abc", "user:"}) {
    for (const std::string after : {"", "x", "xy", "xyz"}) {
      std::string encoded = base64_encode(before + secret + after);
      for (const bool url : {false, true}) {
        if (url) {
          std::ranges::replace(encoded, '+', url_alphabet[0]);
          std::ranges::replace(encoded, '/', url_alphabet[1]);
        }
        const std::string said = redact("Basic " + encoded);
        // What is left of it are characters that it shares with its neighbours.
        EXPECT_NE(said.find("***"), std::string::npos) << said;
        EXPECT_LE(said.size(), 6 + 3 + (before.size() + 2) / 3 * 4 + 1 + (after.size() + 2) / 3 * 4 + 4) << said;
      }
    }
  }
}

TEST(Redactor, hides_base64_in_lines) {
  const std::string secret = random_hex(100);
  Redactor redact;
  redact.add(Secret(secret));
  const std::string encoded = base64_encode(secret);
  for (const std::size_t columns : {64u, 76u}) {
    for (std::size_t at = 0; at + columns <= encoded.size(); at += columns)
      EXPECT_EQ(redact(encoded.substr(at, columns)), "***");
  }
}

TEST(Redactor, hides_hexadecimal) {
  Redactor redact;
  redact.add(Secret("jklmno"));
  EXPECT_EQ(redact("6a6b6c6d6e6f 6A6B6C6D6E6F"), "*** ***");
}

TEST(Redactor, hides_hexadecimal_in_groups) {
  Redactor redact;
  redact.add(Secret("jklmno"));
  for (const char* spelling : {
           "6a:6b:6c:6d:6e:6f",
           "6A:6B:6C:6D:6E:6F",
           "6a 6B 6c 6D 6e 6F",
           "6a-6b-6c-6d-6e-6f",
           "0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f",
           "0x6A,0x6B,0x6C,0x6D,0x6E,0x6F",
           "6a6b 6c6d 6e6f",
           "6a 6b 6c  6d 6e 6f",
           R"(\x6a\x6B\x6c\x6D\x6e\x6F)",
       }) {
    EXPECT_EQ(redact("> " + std::string(spelling) + " <"), "> *** <");
  }
  EXPECT_EQ(redact("00000010: 356a 6b6c 6d6e 6f35  5jklmno5"), "00000010: 35***35  5***5");
  for (const std::string other : {"2026-11-29 13:20:20 and 6a:6b:6c:6d:6e", "be added to a face", "0x6a,, 0x6b", "6a:"})
    EXPECT_EQ(redact(other), other);
}

TEST(Redactor, leaves_words_of_our_sentences_where_we_speak) {
  keep_own_name("notes-api");
  Redactor redact;
  for (const char* word :
       {"memory", "restart", "notes-api", "notes", "api", "4711", "/tmp", "limit", "hunter2-hunter2"})
    redact.add(Secret(word));
  const std::string said = "memory limit of notes-api, exit code 4711, limit: 4711, restart it, /tmp/x";
  EXPECT_EQ(redact.sentence(said), said);
  EXPECT_EQ(redact(said), "*** *** of ***, exit code ***, ***: ***, *** it, ***/x");
  EXPECT_EQ(redact.sentence("hunter2-hunter2 aHVudGVyMi1odW50ZXIy bWVtb3J5 6d656d6f7279"), "*** *** *** ***");
}

TEST(Redactor, takes_for_our_words_what_the_source_has_in_its_texts) {
  for (const char* word :
       {"memory", "restart", "server", "limit", "sandbox", "true", "1", "65535", "/tmp", "/dev/null"})
    EXPECT_TRUE(is_own_word(word)) << word;
  for (const char* other : {"", "hunter2", "correct-horse", "123456", "x7Qz", "/opt/Tz8WqLm4Xc0Rv9", "memory\nlimit",
                            "abcdef", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "Tz8WqLm4Xc0Rv9"})
    EXPECT_FALSE(is_own_word(other)) << other;
}

TEST(Redactor, makes_words_from_outside_part_of_our_sentences) {
  keep_secret(Secret("memory"));
  keep_secret(Secret("of-the-outside-4711"));
  EXPECT_EQ(sentence_without_secrets("memory limit: " + from_outside("my memory\x1b")), "memory limit: my ***\\x1b");
  const std::string secret = "of-the-outside-4711";
  for (std::size_t before : {85u, 95u, 99u, 5000u}) {
    const std::string said = from_outside(std::string(before, ' ') + secret + std::string(9000, 'x'), 100);
    EXPECT_LE(said.size(), 100u);
    EXPECT_FALSE(said.contains("of-the")) << said;
  }
}

TEST(Redactor, hides_a_secret_whichever_of_its_characters_are_escaped) {
  Redactor redact;
  redact.add(Secret("pa\u00df/<w0rd>&\"\xc3\xa9\n\xf0\x9f\x98\x80\\ end"));
  for (const char* spelling : {
           R"(paß/<w0rd>&\"é\n😀\\ end)",                                // UTF-8 left as it is
           R"(pa\u00df/<w0rd>&\"\u00e9\n\ud83d\ude00\\ end)",            // ASCII only
           R"(pa\u00df\/<w0rd>&\"é\n😀\\ end)",                          // PHP
           R"(paß/\u003cw0rd\u003e\u0026\"é\n😀\\ end)",                 // Go
           R"(\u0070\u0061ß/<w0rd>&\"é\u000a😀\u005c end)",              // any
           R"(pa\U000000df/<w0rd>&\"\U000000E9\n\U0001F600\\ end)",      // C, Python, Go
           R"(pa\u{df}/<w0rd>&\"\u{0000e9}\n\u{1f600}\\ end)",           // Rust, JavaScript, PHP
           R"(p\x{61}\x{DF}/<w0rd>&\"\x{e9}\n\x{1F600}\\ end)",          // Perl
           R"(pa\xc3\x9f/<w0rd>&"\xc3\xa9\n\xf0\x9f\x98\x80\\ end)",     // bytes of Python
           R"(pa\\u00df/<w0rd>&\\\"é\\n😀\\\\ end)",                     // JSON in JSON
           "pa%c3%9f%2f%3Cw0rd%3E%26%22%C3%A9%0A%F0%9F%98%80%5C%20end",  // a query
           "pa%C3%9F/%3Cw0rd%3E&%22%C3%A9%0a%F0%9F%98%80%5C+end",        // a form
           "pa%25C3%259F%252F%253Cw0rd%253E%2526%2522%25C3%25A9%250A%25F0%259F%2598%2580%255C%2520end",
       }) {
    EXPECT_EQ(redact(std::string("> ") + spelling + " <"), "> *** <");
  }
}

TEST(Redactor, keeps_what_only_looks_like_an_escape) {
  Redactor redact;
  redact.add(Secret("hunter2-hunter2"));
  for (const std::string text : {"100 % \\q \\u12 %zz %", "\\u{} \\u{1234567} \\u{12 \\x{zz}", "\\U0011000",
                                 "\\UFFFFFFFF", "\\", "%", "a\\x4", "C:\\new\\table"})
    EXPECT_EQ(redact(text), text);
}

TEST(Redactor, leaves_values_that_are_ordinary_words) {
  Redactor redact;
  redact.add(Secret("on"));
  redact.add(Secret("True"));
  EXPECT_TRUE(redact.empty());
  EXPECT_EQ(redact("turn on"), "turn on");
}

TEST(Redactor, hides_short_values_where_they_are_whole_words) {
  Redactor redact;
  redact.add(Secret("4711"));
  redact.add(Secret("a!b"));
  redact.add(Secret("x7"));
  EXPECT_EQ(redact("pin 4711, 4711"), "pin ***, ***");
  EXPECT_EQ(redact("{\"pin\":\"4711\"} (4711)"), "{\"pin\":\"***\"} (***)");
  EXPECT_EQ(redact("4711"), "***");
  EXPECT_EQ(redact("NDcxMQ== and 34373131, 471%31"), "***== and ***, ***");
  for (const char* other : {"14711", "47112", "4711ms", "x4711", "1.4711", "4711.5", "12:4711"})
    EXPECT_EQ(redact(other), other);
  EXPECT_EQ(redact("it is a!b."), "it is ***.");
  EXPECT_EQ(redact("PIN=x7 'x7' pin: x7"), "PIN=*** '***' pin: ***");
  EXPECT_EQ(redact("the x7 model"), "the x7 model");
}

TEST(Redactor, hides_the_longer_of_two_nested_secrets_whole) {
  Redactor redact;
  redact.add(Secret("secret"));
  redact.add(Secret("my-secret-key"));
  EXPECT_EQ(redact("my-secret-key"), "***");
}

constexpr const char* kKey =
    "-----BEGIN PRIVATE KEY-----\r\n"
    "MIIEvQIBADANBgkqhkiG9w0BAQ\r\n"
    "  q/hkiG+9w0BAQEFAASCBKcwgg  \r\n"
    "----------\n"
    "short\n"
    "-----END PRIVATE KEY-----\n";

TEST(Redactor, hides_each_line_of_a_secret_that_has_several) {
  Redactor redact;
  redact.add(Secret(kKey));
  EXPECT_EQ(redact("> MIIEvQIBADANBgkqhkiG9w0BAQ <"), "> *** <");
  EXPECT_EQ(redact("> q/hkiG+9w0BAQEFAASCBKcwgg <"), "> *** <");
  EXPECT_EQ(redact("> q%2FhkiG%2B9w0BAQEFAASCBKcwgg <"), "> *** <");
  EXPECT_EQ(redact(std::string("> ") + kKey + "<"), "> ***<");
}

TEST(Redactor, leaves_lines_of_a_key_that_are_the_same_in_every_key) {
  Redactor redact;
  redact.add(Secret(kKey));
  for (const char* common : {"-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "a short line", "----------"})
    EXPECT_EQ(redact(common), common);
}

TEST(Redactor, hides_the_lines_of_a_key_whose_line_breaks_are_escaped) {
  Redactor redact;
  redact.add(Secret(
      R"({"private_key": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\nqhkiG9w0BAQE\n-----END PRIVATE KEY-----\n"})"));
  EXPECT_EQ(redact("MIIEvQIBADAN qhkiG9w0BAQE"), "*** ***");
}

TEST(Redactor, hides_all_of_secrets_that_overlap) {
  Redactor redact;
  redact.add(Secret("abcdefgh"));
  redact.add(Secret("efghijk"));
  EXPECT_EQ(redact("-abcdefghijk-"), "-***-");
  EXPECT_EQ(redact("abcdefghabcdefgh"), "******");
}

TEST(Redactor, cuts_no_secret_in_two) {
  Redactor redact;
  redact.add(Secret("hunter2-hunter2"));
  const std::string text = "ab hunter2-hunter2 cd";
  for (std::size_t at = 0; at <= text.size(); ++at) {
    const std::size_t cut = redact.cut(text, at);
    EXPECT_EQ(redact(text.substr(0, cut)) + redact(text.substr(cut)), "ab *** cd") << at;
    EXPECT_LE(cut, at);
  }
  EXPECT_EQ(redact.cut("hunter2-hunter2 cd", 5), 15u);
}

TEST(Redactor, hides_the_beginning_of_a_secret_where_a_text_breaks_off) {
  Redactor redact;
  redact.add(Secret("hunter2-hunter2"));
  redact.add(Secret("er2-hunter2-and-more"));
  EXPECT_EQ(redact.broken_off("ab hunter2-hunt"), "ab ***");
  EXPECT_EQ(redact.broken_off("ab hunter2-hunter2"), "ab ***");
  EXPECT_EQ(redact.broken_off("ab hunter2-hunter2-an"), "ab ***");
  EXPECT_EQ(redact.broken_off("the hun"), "the hun");
  EXPECT_EQ(redact.broken_off("ab hunter2\\u002dhunt"), "ab ***");
  EXPECT_EQ(redact.broken_off("ab hunter2\\u002dhunt\\u00"), "ab ***");
  EXPECT_EQ(redact.broken_off("ab hunter2%2dhunt%"), "ab ***");
  EXPECT_EQ(redact("ab hunter2-hunt…, and hunter2-hu… hunter"), "ab ***…, and ***… hunter");
  EXPECT_EQ(redact.broken_off("nothing"), "nothing");
  EXPECT_EQ(Redactor().broken_off("anything"), "anything");
}

// What is compared is bounded, not the text: 600 million bytes here.
TEST(Redactor, hides_octal_escapes) {
  Redactor redact;
  redact.add(Secret("Kx9-secret!"));
  EXPECT_EQ(redact(R"(key \113\170\071\055secret\41)"), "key ***");
  EXPECT_EQ(redact(R"(C:\113\170 stays)"), R"(C:\113\170 stays)");
}

TEST(Redactor, hides_the_rest_of_a_text_that_begins_a_secret_everywhere) {
  Redactor redact;
  redact.add(Secret(std::string(60'000, '0') + "the-end"));
  const std::string run(64 << 10, '0');
  EXPECT_LT(redact("a " + run).size(), 100u);
  EXPECT_LT(redact.broken_off("a " + run).size(), 100u);
  EXPECT_EQ(redact("a word, and " + std::string(60'000, '0') + "the-end"), "a word, and ***");
  EXPECT_EQ(redact(std::string(100, '0')), std::string(100, '0'));
}

TEST(Redactor, finds_a_large_key_among_as_much_other_text) {
  std::string key = "-----BEGIN PRIVATE KEY-----\n";
  for (int i = 0; i < 600; ++i) key += random_hex(32) + "\n";
  key += "-----END PRIVATE KEY-----\n";
  Redactor redact;
  redact.add(Secret(key));
  std::string text;
  for (int i = 0; i < 600; ++i) text += random_hex(31) + "\n";
  EXPECT_EQ(redact(text + key + text), text + "***" + text);
}

TEST(Digest, agrees_with_the_published_test_vector) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Digest, gives_random_identifiers_of_the_asked_length) {
  EXPECT_EQ(random_hex(16).size(), 32u);
  EXPECT_NE(random_hex(16), random_hex(16));
  for (int i = 0; i < 100; ++i) EXPECT_LT(random_below(7), 7u);
}

}  // namespace
}  // namespace mcpbox
