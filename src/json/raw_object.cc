#include "json/raw_object.h"

#include <cstdlib>
#include <utility>

#include "json/text.h"

namespace mcpbox::json {

std::optional<RawObject> RawObject::parse(std::string_view text) {
  if (!valid_object(text)) return std::nullopt;
  return RawObject(on_one_line(text));
}

std::optional<RawObject> RawObject::of(const RawMember& member) {
  if (!member.value.starts_with('{') || !valid_utf8(member.value)) return std::nullopt;
  return RawObject(on_one_line(member.value));
}

RawObject RawObject::of(Writer& finished) {
  std::string text = finished.take();
  if (!text.starts_with('{')) std::abort();
  return RawObject(std::move(text));
}

}  // namespace mcpbox::json
