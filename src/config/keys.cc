#include "config/keys.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/text.h"
#include "config/sections.h"

namespace mcpbox::config {
namespace {

// Names whose values are no secrets: everything else is one until somebody says otherwise.
constexpr std::string_view kHarmless[] = {
    "PATH", "LANG",   "LANGUAGE", "TZ",       "HOME",     "TERM",      "SHELL",      "USER",
    "PWD",  "TMPDIR", "LOGNAME",  "NODE_ENV", "NO_COLOR", "LOG_LEVEL", "PYTHONPATH", "PYTHONUNBUFFERED"};
// Parts of names whose values are secrets however short they are.
constexpr std::string_view kTellingParts[] = {"KEY", "TOKEN", "SECRET", "PASS", "PWD",
                                              "PIN", "AUTH",  "CRED",   "OTP",  "CODE"};
constexpr std::size_t kLongEnough = 6;
// Where the places of a machine and of a sandbox are. A key may begin with a slash, but hardly so.
constexpr std::string_view kPlaces[] = {"tmp", "home", "usr", "opt",  "var",  "etc",  "srv", "mnt",      "media",
                                        "run", "dev",  "bin", "proc", "root", "data", "app", "workspace"};
// Longer runs of letters and digits may be a key: of both, in both cases, and of letters alone.
constexpr std::size_t kLongestMixed = 16, kLongestOfThree = 8, kLongestRun = 32;

std::array<KeyTable, 3> tables() {
  return {top_keys(), server_keys(), network_keys()};
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool has_both(std::string_view text) {
  return std::ranges::any_of(text, is_digit) && std::ranges::any_of(text, is_letter);
}

bool may_be_key(std::string_view run) {
  if (!has_both(run)) return run.size() > kLongestRun;
  const bool upper = std::ranges::any_of(run, [](char c) { return c >= 'A' && c <= 'Z'; });
  const bool lower = std::ranges::any_of(run, [](char c) { return c >= 'a' && c <= 'z'; });
  return run.size() > (upper && lower ? kLongestOfThree : kLongestMixed);
}

// A path such as /home/me/notes, which messages are full of.
bool is_place(std::string_view value) {
  if (!value.starts_with('/')) return false;
  const std::vector<std::string_view> names = split(value.substr(1), '/');
  if (std::ranges::find(kPlaces, names.front()) == std::end(kPlaces)) return false;
  std::size_t run = 0;
  for (std::size_t at = 0; at <= value.size(); ++at) {
    const char c = at < value.size() ? value[at] : '/';
    if (is_letter(c) || is_digit(c)) continue;
    if (c != '/' && c != '.' && c != '_' && c != '-') return false;
    if (may_be_key(value.substr(run, at - run))) return false;
    run = at + 1;
  }
  return true;
}

}  // namespace

bool is_variable_name(std::string_view name) {
  if (name.empty() || (name.front() >= '0' && name.front() <= '9')) return false;
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

bool is_harmless_variable(std::string_view name) {
  return name.starts_with("LC_") || std::ranges::find(kHarmless, name) != std::end(kHarmless);
}

bool is_secret_variable(std::string_view name, std::string_view value) {
  if (is_harmless_variable(name)) return false;
  std::string upper(name);
  std::ranges::transform(upper, upper.begin(),
                         [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  if (std::ranges::any_of(kTellingParts, [&](std::string_view part) { return upper.contains(part); })) return true;
  if (is_place(value)) return false;
  return value.size() >= kLongEnough || has_both(value);
}

std::vector<Section> sections() {
  std::vector<Section> all;
  for (const KeyTable& table : tables()) all.insert(all.end(), table.sections.begin(), table.sections.end());
  return all;
}

std::span<const std::string_view> keys_of(std::string_view section) {
  for (const KeyTable& table : tables()) {
    for (const Section& s : table.sections) {
      if (s.name == section) return s.keys;
    }
  }
  return {};
}

std::string places_of(std::string_view key) {
  std::vector<std::string> places;
  for (const Section& section : sections()) {
    if (std::ranges::find(section.keys, key) == section.keys.end()) continue;
    places.push_back(section.place.empty() ? "at the top of the file" : fmt::format("under '{}'", section.place));
  }
  return fmt::format("{}", fmt::join(places, " or "));
}

std::string_view hint_for(std::string_view section, std::string_view key) {
  for (const KeyTable& table : tables()) {
    for (const Hint& hint : table.hints) {
      if (hint.section == section && hint.key == key) return hint.text;
    }
  }
  return {};
}

}  // namespace mcpbox::config
