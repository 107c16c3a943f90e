// The text of one valid JSON object, on one line: read once, at the door, and passed on as text from there. Who is
// given one need not look into it again.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "json/raw.h"
#include "json/writer.h"

namespace mcpbox::json {

class RawObject {
 public:
  RawObject() : text_("{}") {}

  // Reads `text`; nullopt where it is no valid object (json/raw.h says what is strict about it).
  static std::optional<RawObject> parse(std::string_view text);
  // What raw_members() has read already; only its kind and its UTF-8 are looked at.
  static std::optional<RawObject> of(const RawMember& member);
  // A finished object of a writer, which is left empty. Ends the program where it is no object: the caller's fault.
  static RawObject of(Writer& finished);

  const std::string& text() const { return text_; }
  // For Writer::member() and value().
  Raw raw() const { return {text_}; }

 private:
  explicit RawObject(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

}  // namespace mcpbox::json
