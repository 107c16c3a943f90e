#include "base/base64.h"

#include <openssl/evp.h>

#include <algorithm>

namespace mcpbox {
namespace {

constexpr std::size_t kMostText = 64u << 20;  // OpenSSL counts in int

bool in_alphabet(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

unsigned char* bytes(char* text) {
  return reinterpret_cast<unsigned char*>(text);
}
const unsigned char* bytes(const char* text) {
  return reinterpret_cast<const unsigned char*>(text);
}

// 48 MiB at a time: whole groups of three bytes.
constexpr std::size_t kPiece = 48u << 20;

}  // namespace

std::string base64_encode(std::string_view data) {
  std::string out;
  while (!data.empty()) {
    const std::string_view piece = data.substr(0, kPiece);
    data.remove_prefix(piece.size());
    const std::size_t begin = out.size(), size = (piece.size() + 2) / 3 * 4;
    out.resize(begin + size + 1);  // EVP_EncodeBlock writes a NUL behind the text
    ::EVP_EncodeBlock(bytes(out.data() + begin), bytes(piece.data()), static_cast<int>(piece.size()));
    out.resize(begin + size);
  }
  return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.size() > kMostText) return std::nullopt;
  while (text.ends_with('=')) text.remove_suffix(1);
  // EVP_DecodeBlock passes over white space at both ends and wants the padding.
  if (text.size() % 4 == 1 || !std::ranges::all_of(text, in_alphabet)) return std::nullopt;
  std::string padded(text);
  padded.append((4 - text.size() % 4) % 4, 'A');
  std::string out(padded.size() / 4 * 3, '\0');
  const int size = ::EVP_DecodeBlock(bytes(out.data()), bytes(padded.data()), static_cast<int>(padded.size()));
  if (size != static_cast<int>(out.size())) return std::nullopt;
  out.resize(text.size() * 3 / 4);
  return out;
}

}  // namespace mcpbox
