#include "json/value.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/secrets.h"
#include "base/text.h"
#include "json/scanner.h"
#include "json/text.h"

namespace mcpbox::json {
namespace {

using Json = nlohmann::json;

const Json* as_json(const void* node) {
  return static_cast<const Json*>(node);
}

// Watches the parser's events for a key that its object already has; the library itself lets the last one win.
class DuplicateWatch {
 public:
  bool operator()(int, Json::parse_event_t event, Json& parsed) {
    switch (event) {
      case Json::parse_event_t::object_start:
        open_.emplace_back();
        break;
      case Json::parse_event_t::object_end:
        open_.pop_back();
        break;
      case Json::parse_event_t::key:
        if (!open_.back().insert(parsed.get<std::string>()).second && duplicate_.empty()) {
          duplicate_ = parsed.get<std::string>();
          found_ = true;
        }
        break;
      default:
        break;
    }
    return true;
  }
  bool found() const { return found_; }
  const std::string& duplicate() const { return duplicate_; }

 private:
  std::vector<std::unordered_set<std::string>> open_;
  std::string duplicate_;
  bool found_ = false;
};

}  // namespace

Result<Value> Value::parse(std::string_view text, const ParseLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return fail(Code::kResourceExhausted, fmt::format("the JSON text has {}; at most {} are read",
                                                      human_bytes(text.size()), human_bytes(limits.max_bytes)));
  }
  if (!valid_utf8(text)) return fail(Code::kDataLoss, "the JSON text is not valid UTF-8");
  // The scanner judges first: it bounds the depth, and the parser below then only sees what is well-formed.
  Scanner scan(text);
  if (!scan.skip_value(limits.max_depth)) {
    const Code code = scan.error() == "nested too deeply" ? Code::kResourceExhausted : Code::kDataLoss;
    return fail(code, fmt::format("bad JSON at byte {}: {}", scan.offset(), scan.error()));
  }
  scan.skip_space();
  if (!scan.at_end())
    return fail(Code::kDataLoss, fmt::format("bad JSON at byte {}: text after the document", scan.offset()));
  try {
    DuplicateWatch watch;
    auto document = std::make_shared<const Json>(Json::parse(text.begin(), text.end(), std::ref(watch), true));
    if (watch.found()) {
      return fail(Code::kDataLoss, fmt::format("bad JSON: the key '{}' stands twice in one object",
                                               from_outside(watch.duplicate(), 64)));
    }
    const void* const node = document.get();
    return Value(std::move(document), node);
  } catch (const Json::exception& e) {
    return fail(Code::kDataLoss, fmt::format("bad JSON: {}", from_outside(e.what(), 200)));
  }
}

Value::Type Value::type() const {
  if (node_ == nullptr) return Type::kAbsent;
  const Json& json = *as_json(node_);
  if (json.is_null()) return Type::kNull;
  if (json.is_boolean()) return Type::kBool;
  if (json.is_number()) return Type::kNumber;
  if (json.is_string()) return Type::kString;
  return json.is_array() ? Type::kArray : Type::kObject;
}

Value Value::operator[](std::string_view key) const {
  if (!is_object()) return {};
  const auto found = as_json(node_)->find(std::string(key));
  return found == as_json(node_)->end() ? Value() : Value(document_, &*found);
}

Value Value::at(std::size_t index) const {
  if (!is_array() || index >= as_json(node_)->size()) return {};
  return Value(document_, &(*as_json(node_))[index]);
}

std::size_t Value::size() const {
  return is_array() || is_object() ? as_json(node_)->size() : 0;
}

std::optional<std::string_view> Value::string() const {
  if (!is_string()) return std::nullopt;
  return *as_json(node_)->get_ptr<const std::string*>();
}

std::optional<std::int64_t> Value::integer() const {
  if (type() != Type::kNumber) return std::nullopt;
  const Json& json = *as_json(node_);
  if (json.is_number_unsigned()) {
    const auto value = json.get<std::uint64_t>();
    return value <= INT64_MAX ? std::optional(static_cast<std::int64_t>(value)) : std::nullopt;
  }
  if (json.is_number_integer()) return json.get<std::int64_t>();
  const double value = json.get<double>();
  // 2^63 is exact as a double; 2^63 - 1 is not.
  if (std::trunc(value) != value || value < -0x1p63 || value >= 0x1p63) return std::nullopt;
  return static_cast<std::int64_t>(value);
}

std::optional<std::uint64_t> Value::unsigned_integer() const {
  if (type() == Type::kNumber && as_json(node_)->is_number_unsigned()) return as_json(node_)->get<std::uint64_t>();
  const auto value = integer();
  return value && *value >= 0 ? std::optional(static_cast<std::uint64_t>(*value)) : std::nullopt;
}

std::optional<double> Value::number() const {
  if (type() != Type::kNumber) return std::nullopt;
  return as_json(node_)->get<double>();
}

std::optional<bool> Value::boolean() const {
  if (type() != Type::kBool) return std::nullopt;
  return as_json(node_)->get<bool>();
}

std::vector<Value> Value::elements() const {
  std::vector<Value> out;
  if (!is_array()) return out;
  for (const Json& element : *as_json(node_)) out.push_back(Value(document_, &element));
  return out;
}

std::vector<std::pair<std::string, Value>> Value::members() const {
  std::vector<std::pair<std::string, Value>> out;
  if (!is_object()) return out;
  for (const auto& [key, value] : as_json(node_)->items()) out.emplace_back(key, Value(document_, &value));
  return out;
}

std::string Value::dump(int indent) const {
  if (node_ == nullptr) return "null";
  return as_json(node_)->dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace mcpbox::json
