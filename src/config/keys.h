// Every key that mcpbox.yaml may hold, by section. The decoder, the "did you mean" texts and docs/mcpbox.schema.json go
// by it. Which keys there are stands beside what decodes them: sections.h.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mcpbox::config {

struct Section {
  std::string_view name;  // also the name in the schema's $defs; "settings" is the file itself
  std::span<const std::string_view> keys;
  std::string_view place;  // where it stands, for people; empty: at the top of the file
};

// A text for a key that is known elsewhere: in other programs' files, or under another name here. Who wrote a key of
// ours into the wrong section needs none: places_of() knows where it belongs.
struct Hint {
  std::string_view section, key, text;
};

struct KeyTable {
  std::span<const Section> sections;
  std::span<const Hint> hints;
};

// Letters, digits and _, the first no digit: what a variable may be called here.
bool is_variable_name(std::string_view name);

// PATH, LANG and other names of variables whose values are no secrets.
bool is_harmless_variable(std::string_view name);

// Whether the value of such a variable, as it stands in the file or on a command line, is to be hidden: every one that
// has 6 bytes and more, but for names like PATH and LANG, and for places (/tmp, /home/me/notes). A shorter one occurs
// in ordinary text: when it has both letters and digits. Each whose name says so (KEY, TOKEN, PASS, PIN …) is to be
// hidden.
bool is_secret_variable(std::string_view name, std::string_view value);

std::vector<Section> sections();
std::span<const std::string_view> keys_of(std::string_view section);

// Where the file may hold such a key, for people: "under 'box' or at the top of the file". Empty when nowhere.
std::string places_of(std::string_view key);

// Empty when there is none.
std::string_view hint_for(std::string_view section, std::string_view key);

}  // namespace mcpbox::config
