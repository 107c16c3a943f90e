// A string that cannot be printed: tokens, keys, values of secret environment variables.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace mcpbox {

// Holds its bytes until it is destroyed, then overwrites them. There is no conversion and no operator<<; who needs the
// value says reveal(), which is easy to find in a review.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  Secret(const Secret&) = default;
  Secret(Secret&& other) noexcept : value_(other.value_) { other.wipe(); }
  Secret& operator=(const Secret& other) {
    if (this != &other) {
      wipe();
      value_ = other.value_;
    }
    return *this;
  }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      wipe();
      value_ = other.value_;
      other.wipe();
    }
    return *this;
  }
  ~Secret() { wipe(); }

  std::string_view reveal() const { return value_; }
  bool empty() const { return value_.empty(); }

 private:
  void wipe();

  std::string value_;
};

}  // namespace mcpbox
