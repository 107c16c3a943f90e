#include "egress/rules/http_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/http_text.h"
#include "base/text.h"

namespace mcpbox::egress {
namespace {

std::unexpected<HeadRefusal> refuse(unsigned status, std::string message) {
  return std::unexpected(HeadRefusal{status, std::move(message)});
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view trim_blanks(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::optional<std::uint64_t> parse_digits(std::string_view text) {
  if (text.empty() || text.size() > 18 || !std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; }))
    return std::nullopt;
  std::uint64_t out = 0;
  for (const char c : text) out = out * 10 + static_cast<std::uint64_t>(c - '0');
  return out;
}

// RFC 9110 §7.6.1, what is written anew from what was read, and what proxies have invented.
bool hop_by_hop(std::string_view name) {
  constexpr std::array<std::string_view, 9> kNames = {"connection",     "keep-alive",        "te",
                                                      "trailer",        "upgrade",           "host",
                                                      "content-length", "transfer-encoding", "max-forwards"};
  return std::ranges::find(kNames, name) != kNames.end() || name.starts_with("proxy-");
}

// "http://host[:port][/path][?query]".
std::expected<void, HeadRefusal> parse_absolute(std::string_view target, ProxyRequest& out) {
  const std::string scheme = lower_case(target.substr(0, target.find("://")));
  if (!target.contains("://") || (scheme != "http" && scheme != "https")) {
    return refuse(400, "this is a proxy: it takes CONNECT host:port and http:// URLs only");
  }
  if (scheme == "https") return refuse(400, "https:// goes through CONNECT");
  target.remove_prefix(scheme.size() + 3);
  const std::size_t end = std::min(target.find_first_of("/?#"), target.size());
  std::string_view authority = target.substr(0, end);
  const std::string_view rest = target.substr(end);
  if (authority.contains('@')) return refuse(400, "user names in URLs are not taken");
  if (rest.contains('#')) return refuse(400, "a request has no fragment");
  const std::size_t bracket = authority.rfind(']');
  const std::size_t colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  out.target.port = 80;
  if (colon != std::string_view::npos) {
    const auto port = parse_port(authority.substr(colon + 1));
    if (!port) return refuse(400, "the port is wrong");
    out.target.port = *port;
    authority = authority.substr(0, colon);
  }
  auto host = parse_host(authority);
  if (!host) return refuse(400, host.error().message());
  out.target.host = std::move(*host);
  out.path = rest.starts_with('/') ? std::string(rest) : "/" + std::string(rest);
  return {};
}

std::expected<void, HeadRefusal> parse_request_line(std::string_view line, ProxyRequest& out) {
  const std::size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return refuse(400, "the request line is wrong");
  const std::string_view method = line.substr(0, first), target = line.substr(first + 1, last - first - 1),
                         version = line.substr(last + 1);
  if (!is_http_token(method) || method.size() > 32) return refuse(400, "the method is wrong");
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return refuse(505, "only HTTP/1.1 and HTTP/1.0 are spoken");
  out.minor_version = version.back() == '1' ? 1 : 0;
  if (target.size() > kMaxTarget) return refuse(414, "the target is longer than 4 KiB");
  if (target.empty() || !std::ranges::all_of(target, [](char c) { return c >= 0x21 && c <= 0x7e; })) {
    return refuse(400, "the target has characters that cannot stand there");
  }
  out.method = method;
  if (method != "CONNECT") return parse_absolute(target, out);
  out.connect = true;
  auto parsed = parse_host_port(target);
  if (!parsed) return refuse(400, parsed.error().message());
  out.target = std::move(*parsed);
  return {};
}

struct Framing {
  unsigned hosts = 0, lengths = 0, encodings = 0;
  std::vector<std::string> named_by_connection;
};

std::expected<void, HeadRefusal> take_framing(std::string_view name, std::string_view value, Framing& framing,
                                              ProxyRequest& out) {
  if (name == "host") {
    ++framing.hosts;
  } else if (name == "content-length") {
    if (++framing.lengths > 1) return refuse(400, "two Content-Length headers");
    const auto length = parse_digits(value);
    if (!length) return refuse(400, "Content-Length is no number");
    out.body.kind = BodyFraming::Kind::kLength;
    out.body.length = *length;
  } else if (name == "transfer-encoding") {
    if (++framing.encodings > 1 || lower_case(value) != "chunked")
      return refuse(501, "only one Transfer-Encoding, chunked, is taken");
    out.body.kind = BodyFraming::Kind::kChunked;
  } else if (name == "connection" || name == "proxy-connection") {
    for (const std::string_view word : split(value, ','))
      framing.named_by_connection.push_back(lower_case(trim_blanks(word)));
  } else if (name == "proxy-authorization") {
    if (out.proxy_authorization) return refuse(400, "two Proxy-Authorization headers");
    out.proxy_authorization = std::string(value);
  } else if (name == "max-forwards") {
    if (out.max_forwards) return refuse(400, "two Max-Forwards headers");
    out.max_forwards = parse_digits(value);
    if (!out.max_forwards) return refuse(400, "Max-Forwards is no number");
  }
  return {};
}

}  // namespace

std::expected<std::optional<std::size_t>, HeadRefusal> head_length(std::string_view bytes) {
  const std::string_view window = bytes.substr(0, kMaxHead);
  const std::size_t end = window.find("\r\n\r\n");
  const std::string_view looked_at = window.substr(0, end == std::string_view::npos ? window.size() : end + 4);
  if (looked_at.contains('\0')) return refuse(400, "a NUL byte in the head");
  for (std::size_t at = looked_at.find('\n'); at != std::string_view::npos; at = looked_at.find('\n', at + 1)) {
    if (at == 0 || looked_at[at - 1] != '\r') return refuse(400, "a line of the head does not end with CR LF");
  }
  if (end != std::string_view::npos) return end + 4;
  if (bytes.size() >= kMaxHead) return refuse(431, "the head is longer than 16 KiB");
  return std::nullopt;
}

std::expected<ProxyRequest, HeadRefusal> parse_head(std::string_view head) {
  if (head.size() > kMaxHead) return refuse(431, "the head is longer than 16 KiB");
  if (!head.ends_with("\r\n\r\n")) return refuse(400, "the head is not complete");
  head.remove_suffix(2);
  ProxyRequest out;
  Framing framing;
  bool first = true;
  std::size_t count = 0;
  while (!head.empty()) {
    const std::size_t end = head.find("\r\n");
    if (end == std::string_view::npos) return refuse(400, "a line of the head does not end with CR LF");
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end + 2);
    if (std::ranges::any_of(line,
                            [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; })) {
      return refuse(400, "a control character in the head");
    }
    if (first) {
      if (auto ok = parse_request_line(line, out); !ok) return std::unexpected(std::move(ok.error()));
      first = false;
      continue;
    }
    if (++count > kMaxHeaders) return refuse(431, "more than 100 headers");
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || !is_http_token(line.substr(0, colon)))
      return refuse(400, "a header line is wrong");
    const std::string name = lower_case(line.substr(0, colon));
    const std::string_view value = trim_blanks(line.substr(colon + 1));
    if (auto ok = take_framing(name, value, framing, out); !ok) return std::unexpected(std::move(ok.error()));
    if (!hop_by_hop(name)) out.headers.emplace_back(line.substr(0, colon), value);
  }
  if (first) return refuse(400, "the request line is missing");
  // Python's http.client sends CONNECT … HTTP/1.0 without one.
  if (framing.hosts > 1 || (framing.hosts == 0 && out.minor_version == 1))
    return refuse(400, "exactly one Host header is needed");
  if (framing.lengths != 0 && framing.encodings != 0) return refuse(400, "both Content-Length and Transfer-Encoding");
  if (framing.encodings != 0 && out.minor_version == 0) return refuse(400, "HTTP/1.0 knows no Transfer-Encoding");
  if (out.connect && (framing.encodings != 0 || out.body.length != 0)) return refuse(400, "CONNECT has no body");
  for (const std::string& name : framing.named_by_connection) {
    // Dropping one of these would change what the next reader takes for the body or the target.
    if (name == "content-length" || name == "transfer-encoding" || name == "host")
      return refuse(400, "Connection names a framing header");
    std::erase_if(out.headers, [&](const auto& header) { return lower_case(header.first) == name; });
  }
  return out;
}

std::string ProxyRequest::forward_head() const {
  const std::string authority =
      target.port == 80 ? target.host.authority() : fmt::format("{}:{}", target.host.authority(), target.port);
  std::string out = fmt::format("{} {} HTTP/1.{}\r\nHost: {}\r\n", method, path, minor_version, authority);
  for (const auto& [name, value] : headers) out += fmt::format("{}: {}\r\n", name, value);
  if (max_forwards) out += fmt::format("Max-Forwards: {}\r\n", *max_forwards - 1);
  if (body.kind == BodyFraming::Kind::kLength) out += fmt::format("Content-Length: {}\r\n", body.length);
  if (body.kind == BodyFraming::Kind::kChunked) out += "Transfer-Encoding: chunked\r\n";
  out += "Connection: close\r\n\r\n";
  return out;
}

}  // namespace mcpbox::egress
