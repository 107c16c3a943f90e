// A parsed JSON document for reading, without its library in the header.
//
// For documents that we judge (engine answers, options, files). Payloads that are only passed on stay raw text:
// json/raw.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace mcpbox::json {

struct ParseLimits {
  std::size_t max_bytes = 16u << 20;
  unsigned max_depth = 64;  // at most 64
};

// A view of one value; cheap to copy, keeps the whole document alive. Asking an absent value gives absent values, so a
// path can be walked without a check at each step: `doc["State"]["Running"].bool_or(false)`.
class Value {
 public:
  enum class Type { kAbsent, kNull, kBool, kNumber, kString, kArray, kObject };

  Value() = default;
  // Strict: valid UTF-8, one document, no duplicate keys at any level. kDataLoss says what is wrong and where;
  // kResourceExhausted when a limit was passed. A number that no double can hold is an error.
  static Result<Value> parse(std::string_view text, const ParseLimits& limits = {});

  Type type() const;
  bool present() const { return node_ != nullptr; }
  bool is_object() const { return type() == Type::kObject; }
  bool is_array() const { return type() == Type::kArray; }
  bool is_string() const { return type() == Type::kString; }

  Value operator[](std::string_view key) const;  // absent when this is no object or has no such key
  Value operator[](const char* key) const { return (*this)[std::string_view(key)]; }
  Value at(std::size_t index) const;  // absent when this is no array or shorter
  std::size_t size() const;           // of an array or object; else 0

  // Empty when the type is another one; integers also when the value is fractional or out of range.
  std::optional<std::string_view> string() const;
  std::optional<std::int64_t> integer() const;
  std::optional<std::uint64_t> unsigned_integer() const;
  std::optional<double> number() const;
  std::optional<bool> boolean() const;

  std::string string_or(std::string_view fallback = {}) const { return std::string(string().value_or(fallback)); }
  std::int64_t integer_or(std::int64_t fallback) const { return integer().value_or(fallback); }
  bool bool_or(bool fallback) const { return boolean().value_or(fallback); }

  std::vector<Value> elements() const;                         // empty when no array
  std::vector<std::pair<std::string, Value>> members() const;  // sorted by key; empty when no object

  // Compact JSON text, or indented by `indent` spaces. Keys are sorted, numbers are written anew.
  std::string dump(int indent = -1) const;

 private:
  Value(std::shared_ptr<const void> document, const void* node) : document_(std::move(document)), node_(node) {}

  std::shared_ptr<const void> document_;
  const void* node_ = nullptr;
};

}  // namespace mcpbox::json
