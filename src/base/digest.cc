#include "base/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <sys/random.h>

#include <array>
#include <cstdlib>
#include <limits>

namespace mcpbox {
namespace {

constexpr char kHex[] = "0123456789abcdef";

std::string to_hex(const unsigned char* bytes, std::size_t size) {
  std::string out(size * 2, '0');
  for (std::size_t i = 0; i < size; ++i) {
    out[2 * i] = kHex[bytes[i] >> 4];
    out[2 * i + 1] = kHex[bytes[i] & 15];
  }
  return out;
}

void random_bytes(unsigned char* out, std::size_t size) {
  while (size > 0) {
    const ssize_t got = ::getrandom(out, size, 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      std::abort();  // getrandom(2) cannot fail otherwise on a kernel that we support; guessable ids would be worse
    }
    out += got;
    size -= static_cast<std::size_t>(got);
  }
}

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), EVP_sha256(), nullptr);
}

Sha256::~Sha256() {
  EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_));
}

void Sha256::update(std::string_view data) {
  EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), data.data(), data.size());
}

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), digest.data(), &size);
  return to_hex(digest.data(), size);
}

std::string sha256_hex(std::string_view data) {
  Sha256 digest;
  digest.update(data);
  return digest.hex();
}

std::string random_hex(unsigned bytes) {
  std::string raw(bytes, '\0');
  random_bytes(reinterpret_cast<unsigned char*>(raw.data()), raw.size());
  return to_hex(reinterpret_cast<const unsigned char*>(raw.data()), raw.size());
}

unsigned long long random_below(unsigned long long bound) {
  // Rejection keeps the distribution even.
  const unsigned long long limit = std::numeric_limits<unsigned long long>::max() / bound * bound;
  unsigned long long value = 0;
  do {
    random_bytes(reinterpret_cast<unsigned char*>(&value), sizeof value);
  } while (value >= limit);
  return value % bound;
}

}  // namespace mcpbox
