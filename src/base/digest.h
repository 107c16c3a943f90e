// SHA-256 and random identifiers.
#pragma once

#include <string>
#include <string_view>

namespace mcpbox {

// Lower-case hexadecimal SHA-256 of `data`.
std::string sha256_hex(std::string_view data);

// Incremental form of the same.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(std::string_view data);
  std::string hex();  // finishes; the object must not be used afterwards

 private:
  void* context_;
};

// `bytes` random bytes from getrandom(2) as lower-case hexadecimal.
std::string random_hex(unsigned bytes);
// A uniformly distributed number in [0, bound). bound > 0.
unsigned long long random_below(unsigned long long bound);

}  // namespace mcpbox
