// What stands in mcpbox's own sentences whatever a secret is: the words of its source, and the names of servers. A
// secret that is one of them cannot be hidden there: who knows the sentence reads it off the gap ("*** limit of
// server").
//
// For any thread.
#pragma once

#include <string_view>

namespace mcpbox {

// A server's name as the configuration has it, which every table and every log line shows.
void keep_own_name(std::string_view name);

// Whether `value` is a word or place (/tmp) that the source has in its texts, a part of such a one if it has 6 bytes
// and more, a part of a server's name likewise, or a number of at most 5 digits: our sentences are full of numbers.
bool is_own_word(std::string_view value);

// The words, one a line: cmake/own_words.cmake reads them from the source.
extern const std::string_view kOwnWords;

}  // namespace mcpbox
