// The one place where Boost.URL's own code is compiled.
#include "base/url.h"

#include <algorithm>
#include <boost/url/src.hpp>

#include "base/text.h"

namespace mcpbox {
namespace {

namespace urls = boost::urls;

constexpr urls::grammar::lut_chars kPathChars = urls::unreserved_chars + urls::grammar::lut_chars("!$&'()*+,;=:@/");
constexpr urls::grammar::lut_chars kUserChars = urls::unreserved_chars + urls::grammar::lut_chars("!$&'()*+,;=:");

template <class Text>
std::string text_of(const Text& text) {
  return std::string(text.data(), text.size());
}

bool is_scheme(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  return !text.empty() && letter(text.front()) && std::ranges::all_of(text, [&](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
  });
}

// What was escaped stays as it is. A backslash is a slash to those who read URLs as browsers do, so that the host
// stands in front of it: it is no name's, nor is a control character.
std::string escaped_user(std::string_view user) {
  if (std::ranges::any_of(user, [](unsigned char c) { return c < 0x20 || c == '\\'; })) return std::string(user);
  std::string out;
  for (const std::string_view piece : split(user, '%')) out += '%' + urls::encode(piece, kUserChars);
  return out.substr(1);
}

}  // namespace

std::string Url::authority() const {
  return port.empty() ? host : host + ":" + port;
}

Result<Url> parse_url(std::string_view text) {
  const std::size_t separator = text.find("://");
  if (separator == std::string_view::npos || !is_scheme(text.substr(0, separator)))
    return fail(Code::kInvalidArgument, "it has no scheme");
  Url out;
  for (const char c : text.substr(0, separator)) out.scheme += c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  text.remove_prefix(separator + 3);
  const std::size_t end = std::min(text.find_first_of("/?#"), text.size());
  out.target = text.substr(end);
  std::string authority(text.substr(0, end));
  if (const std::size_t at = authority.rfind('@'); at != std::string::npos)
    authority = escaped_user(std::string_view(authority).substr(0, at)) + authority.substr(at);
  const auto parsed = urls::parse_authority(authority);
  if (!parsed) return fail(Code::kInvalidArgument, "its host and port cannot be read");
  if (parsed->has_userinfo()) out.user = UserInfo{parsed->user(), parsed->password()};
  out.host = text_of(parsed->encoded_host());
  out.port = text_of(parsed->port());
  return out;
}

std::string percent_encode(std::string_view text, Plain plain) {
  return plain == Plain::kPath ? urls::encode(text, kPathChars) : urls::encode(text, urls::unreserved_chars);
}

std::optional<std::string> percent_decode(std::string_view text) {
  const auto checked = urls::make_pct_string_view(text);
  if (!checked) return std::nullopt;
  std::string out = checked->decode();
  if (out.contains('\0')) return std::nullopt;
  return out;
}

}  // namespace mcpbox
