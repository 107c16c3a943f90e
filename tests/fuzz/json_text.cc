// JSON from outside: the scanner, the peeker, raw slices and the document façade must agree with each other.
#include <cstdint>
#include <cstdlib>

#include "base/text.h"
#include "json/peek.h"
#include "json/raw.h"
#include "json/text.h"
#include "json/value.h"

using namespace mcpbox;

static void must(bool condition) {
  if (!condition) std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const bool valid = json::valid(text);
  const json::Message message = json::Peeker().peek(text);
  if (message.kind != json::MessageKind::kInvalid) must(valid);
  if (!message.id.empty()) must(json::valid(message.id));
  if (const auto value = json::Value::parse(text)) {
    must(valid);
    must(json::valid(value->dump()));
  }
  if (const auto members = json::raw_members(text)) {
    for (const auto& member : *members) {
      must(member.value.data() >= text.data() &&
           member.value.data() + member.value.size() <= text.data() + text.size());
    }
  }
  if (const auto elements = json::raw_elements(text); elements && json::valid_utf8(text)) {
    for (const auto element : *elements) must(json::valid(element));
  }
  must(json::valid_utf8(text) == is_valid_utf8(text));
  const std::string repaired = json::repair_utf8(text);
  must(is_valid_utf8(repaired));
  const std::string quoted = json::quote(text);
  must(json::valid(quoted) && json::string_of(quoted) == repaired);
  return 0;
}
