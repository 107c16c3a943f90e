// Every key that mcpbox.yaml may hold, by section. The decoder, the "did you mean" texts and docs/mcpbox.schema.json go
// by it. Which keys there are stands beside what decodes them: sections.h.
#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace mcpbox::config {

struct Section {
  std::string_view name;  // also the name in the schema's $defs; "settings" is the file itself
  std::span<const std::string_view> keys;
};

// A text for a key that is known elsewhere: in other programs' files, or under another name here.
struct Hint {
  std::string_view section, key, text;
};

struct KeyTable {
  std::span<const Section> sections;
  std::span<const Hint> hints;
};

// Letters, digits and _, the first no digit: what a variable may be called here.
bool is_variable_name(std::string_view name);

std::vector<Section> sections();
std::span<const std::string_view> keys_of(std::string_view section);

// Empty when there is none.
std::string_view hint_for(std::string_view section, std::string_view key);

}  // namespace mcpbox::config
