// The one place that writes JSON: an append-only text of nested objects and arrays, compact, on one line, members in
// the order of the calls. Keys and strings are escaped by json/text.h, so whatever bytes they hold the text is valid.
//
//   json::Writer out;
//   out.object().member("op", "register").member("uid", 1900);
//   out.object("policy").member("mode", mode).member("allow", rules).end();
//   out.end();
//   send(out.take());        // {"op":"register","uid":1900,"policy":{"mode":"none","allow":[]}}
//
// Calls that make no JSON (a member in an array, an end() too many, a take() of an open object) are faults of the
// caller and not of its data: they end the program. Nothing that a peer sends can cause them. That a key is new in its
// object is the caller's to know.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace mcpbox::json {

// Text that is one valid JSON value already and is copied as it is (json/raw.h, Value::dump). Empty text becomes null.
struct Raw {
  std::string_view text;
};

class Writer {
 public:
  // An object or array as the document or as the next element of an array; with a key, as a member. Each is closed by
  // end(). At most 64 levels, as many as the readers take.
  Writer& object();
  Writer& object(std::string_view key);
  Writer& array();
  Writer& array(std::string_view key);
  Writer& end();

  // One value: the document, or the next element of an array. A `T` is a string, a bool, an integer, null (nullptr or
  // an empty optional), Raw, or a range of such values, which becomes an array.
  template <class T>
  Writer& value(const T& value) {
    before_value();
    put(value);
    return *this;
  }

  // A member of the innermost object.
  template <class T>
  Writer& member(std::string_view key, const T& value) {
    before_member(key);
    put(value);
    return *this;
  }

  // How long the text is up to now, for callers that stop at a limit.
  std::size_t size() const { return text_.size(); }

  // The whole text; the writer is empty afterwards.
  std::string take();
  std::string take_line() { return take() + '\n'; }  // as a record of a file or a message of a stream

 private:
  void before_value();
  void before_member(std::string_view key);
  void open(char bracket, bool is_object);
  void put_string(std::string_view text);
  void put_signed(std::int64_t number);
  void put_unsigned(std::uint64_t number);

  template <class T>
  static constexpr bool is_optional = false;
  template <class T>
  static constexpr bool is_optional<std::optional<T>> = true;

  template <class T>
  void put(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      text_ += value ? "true" : "false";
    } else if constexpr (std::is_same_v<T, std::nullptr_t>) {
      text_ += "null";
    } else if constexpr (std::is_same_v<T, Raw>) {
      text_ += value.text.empty() ? std::string_view("null") : value.text;
    } else if constexpr (std::convertible_to<const T&, std::string_view>) {
      put_string(value);
    } else if constexpr (std::signed_integral<T>) {
      static_assert(!std::is_same_v<T, char>, "a char is neither a string nor a number");
      put_signed(value);
    } else if constexpr (std::unsigned_integral<T>) {
      put_unsigned(value);
    } else if constexpr (is_optional<T>) {
      value ? put(*value) : put(nullptr);
    } else {
      static_assert(std::ranges::input_range<const T>, "no JSON value");
      array_of(value);
    }
  }

  template <class R>
  void array_of(const R& range) {
    open('[', false);
    for (const auto& one : range) value(one);
    end();
  }

  std::string text_;
  std::uint64_t objects_ = 0;  // bit n: the container at level n is an object and no array
  unsigned depth_ = 0;
  bool first_ = true;  // nothing stands yet in the innermost container (or in the document)
};

}  // namespace mcpbox::json
