// Reads and writes the fields of a message: little endian, bounded, one description for both directions.
//
// A message type has `template <class V, class S> static void fields(V& v, S& s)` that calls v(s.member) for each
// member in wire order. The Encoder appends them, the Decoder takes them from untrusted bytes. Both stop at the first
// problem and remember it; decoding never allocates more than a small multiple of the bytes that are really there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace mcpbox::box::wire {

constexpr std::size_t kMaxString = 128 * 1024;  // one argv or env string: MAX_ARG_STRLEN of the kernel
constexpr std::size_t kMaxList = 16 * 1024;     // elements of one list
constexpr std::size_t kMaxBlob = 1024 * 1024;   // content of read_file and write_file

// A string that may be as long as a file.
struct Blob {
  std::string bytes;
  bool operator==(const Blob&) const = default;
};

class Encoder {
 public:
  template <class T>
  void operator()(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      number<std::uint8_t>(value ? 1 : 0);
    } else if constexpr (std::is_enum_v<T>) {
      number(static_cast<std::underlying_type_t<T>>(value));
    } else if constexpr (std::is_integral_v<T>) {
      number(value);
    } else {
      T::fields(*this, value);
    }
  }
  void operator()(const std::string& value) { bytes(value, kMaxString); }
  void operator()(const Blob& value) { bytes(value.bytes, kMaxBlob); }
  template <class T>
  void operator()(const std::vector<T>& list) {
    if (list.size() > kMaxList) ok_ = false;
    if (!ok_) return;
    number(static_cast<std::uint32_t>(list.size()));
    for (const T& item : list) (*this)(item);
  }
  template <class T>
  void operator()(const std::optional<T>& value) {
    (*this)(value.has_value());
    if (value) (*this)(*value);
  }

  // False when a member was larger than the format allows: the peer would refuse the message.
  bool ok() const { return ok_; }
  std::string take() { return std::move(out_); }

 private:
  template <class N>
  void number(N value) {
    auto bits = static_cast<std::make_unsigned_t<N>>(value);
    for (std::size_t i = 0; i < sizeof(N); ++i) {
      out_.push_back(static_cast<char>(static_cast<unsigned char>(static_cast<std::uint64_t>(bits) >> (8 * i))));
    }
  }
  void bytes(const std::string& value, std::size_t limit) {
    if (value.size() > limit) ok_ = false;
    if (!ok_) return;
    number(static_cast<std::uint32_t>(value.size()));
    out_ += value;
  }

  std::string out_;
  bool ok_ = true;
};

class Decoder {
 public:
  explicit Decoder(std::string_view in) : in_(in) {}

  template <class T>
  void operator()(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      const auto byte = number<std::uint8_t>();
      if (byte > 1) ok_ = false;
      value = byte == 1;
    } else if constexpr (std::is_enum_v<T>) {
      value = static_cast<T>(number<std::underlying_type_t<T>>());
    } else if constexpr (std::is_integral_v<T>) {
      value = number<T>();
    } else {
      T::fields(*this, value);
    }
  }
  void operator()(std::string& value) { value = bytes(kMaxString); }
  void operator()(Blob& value) { value.bytes = bytes(kMaxBlob); }
  template <class T>
  void operator()(std::vector<T>& list) {
    const auto count = number<std::uint32_t>();
    // Every element takes at least one byte, so a count beyond what is left is a lie.
    if (count > kMaxList || count > in_.size()) ok_ = false;
    list.clear();
    for (std::uint32_t i = 0; ok_ && i < count; ++i) (*this)(list.emplace_back());
  }
  template <class T>
  void operator()(std::optional<T>& value) {
    bool there = false;
    (*this)(there);
    value.reset();
    if (ok_ && there) (*this)(value.emplace());
  }

  // True when every member was there and nothing is left over.
  bool done() const { return ok_ && in_.empty(); }
  bool ok() const { return ok_; }

 private:
  template <class N>
  N number() {
    if (!ok_ || in_.size() < sizeof(N)) {
      ok_ = false;
      return N{};
    }
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < sizeof(N); ++i) {
      bits |= static_cast<std::uint64_t>(static_cast<unsigned char>(in_[i])) << (8 * i);
    }
    in_.remove_prefix(sizeof(N));
    return static_cast<N>(bits);
  }
  std::string bytes(std::size_t limit) {
    const auto length = number<std::uint32_t>();
    if (!ok_ || length > limit || length > in_.size()) {
      ok_ = false;
      return {};
    }
    std::string out(in_.substr(0, length));
    in_.remove_prefix(length);
    return out;
  }

  std::string_view in_;
  bool ok_ = true;
};

}  // namespace mcpbox::box::wire
