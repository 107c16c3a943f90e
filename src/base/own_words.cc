#include "base/own_words.h"

#include <algorithm>
#include <mutex>
#include <set>
#include <string>

namespace mcpbox {
namespace {

constexpr std::size_t kFoundInside = 6;    // longer values are hidden inside of words too (redact.cc)
constexpr std::size_t kLongestNumber = 5;  // longer ones are rather keys
constexpr std::size_t kMaxNames = 4096;    // a file of 1 MiB has fewer servers

struct Names {
  std::mutex mutex;
  std::set<std::string, std::less<>> names;
};

Names& kept_names() {
  static Names instance;
  return instance;
}

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

bool stands_in(std::string_view text, std::string_view value) {
  for (std::size_t at = 0; (at = text.find(value, at)) != std::string_view::npos; ++at) {
    const std::size_t end = at + value.size();
    const bool goes_on = (at > 0 && is_letter_or_digit(text[at - 1]) && is_letter_or_digit(value.front())) ||
                         (end < text.size() && is_letter_or_digit(text[end]) && is_letter_or_digit(value.back()));
    if (!goes_on || value.size() >= kFoundInside) return true;
  }
  return false;
}

}  // namespace

void keep_own_name(std::string_view name) {
  const std::lock_guard lock(kept_names().mutex);
  if (kept_names().names.size() < kMaxNames) kept_names().names.emplace(name);
}

bool is_own_word(std::string_view value) {
  if (value.empty() || value.contains('\n')) return false;
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (std::ranges::all_of(value, digit)) return value.size() <= kLongestNumber;
  if (stands_in(kOwnWords, value)) return true;
  const std::lock_guard lock(kept_names().mutex);
  return std::ranges::any_of(kept_names().names, [&](const std::string& name) { return stands_in(name, value); });
}

}  // namespace mcpbox
