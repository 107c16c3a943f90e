#include "egress/rules/up_filter.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/secrets.h"
#include "base/text.h"
#include "egress/rules/client_hello.h"

namespace mcpbox::egress {
namespace {

constexpr std::size_t kMaxChunkLines = 16u << 10;  // extensions and trailers of one body
constexpr unsigned kMaxSizeDigits = 15;

// TLS 1.2 alert, fatal, unrecognized_name (RFC 6066 §9): the client's library says what happened.
constexpr std::string_view kUnrecognizedName("\x15\x03\x03\x00\x02\x02\x70", 7);

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') return (c | 0x20) - 'a' + 10;
  return -1;
}

}  // namespace

BodyFilter::BodyFilter(const BodyFraming& framing) : chunked_(framing.kind == BodyFraming::Kind::kChunked) {
  if (chunked_) part_ = Part::kSize;
  if (framing.kind == BodyFraming::Kind::kLength && framing.length > 0) {
    part_ = Part::kData;
    left_ = framing.length;
  }
}

void BodyFilter::step(char c) {
  const bool text = static_cast<unsigned char>(c) >= 0x20 || c == '\t';
  switch (part_) {
    case Part::kSize:
      if (const int digit = hex_digit(c); digit >= 0 && ++digits_ <= kMaxSizeDigits) {
        left_ = left_ * 16 + static_cast<unsigned>(digit);
      } else if (digits_ == 0 || digit >= 0) {
        part_ = Part::kBroken;
      } else {
        part_ = c == '\r' ? Part::kSizeEnd : c == ';' ? Part::kExtension : Part::kBroken;
      }
      return;
    case Part::kExtension:
      if (c == '\r')
        part_ = Part::kSizeEnd;
      else if (!text || ++line_ > kMaxChunkLines)
        part_ = Part::kBroken;
      return;
    case Part::kSizeEnd:
      digits_ = 0;
      part_ = c != '\n' ? Part::kBroken : left_ > 0 ? Part::kData : Part::kTrailer;
      return;
    case Part::kDataEnd:
      part_ = c == '\r' ? Part::kDataLineFeed : Part::kBroken;
      return;
    case Part::kDataLineFeed:
      part_ = c == '\n' ? Part::kSize : Part::kBroken;
      return;
    case Part::kTrailer:
      if (c == '\r')
        part_ = Part::kLastEnd;
      else
        part_ = text && ++line_ <= kMaxChunkLines ? Part::kTrailerText : Part::kBroken;
      return;
    case Part::kTrailerText:
      if (c == '\r')
        part_ = Part::kTrailerEnd;
      else if (!text || ++line_ > kMaxChunkLines)
        part_ = Part::kBroken;
      return;
    case Part::kTrailerEnd:
      part_ = c == '\n' ? Part::kTrailer : Part::kBroken;
      return;
    case Part::kLastEnd:
      part_ = c == '\n' ? Part::kDone : Part::kBroken;
      return;
    case Part::kData:
    case Part::kDone:
    case Part::kBroken:
      return;
  }
}

UpFilter::Output BodyFilter::feed(std::string_view bytes) {
  std::size_t used = 0;
  while (used < bytes.size() && part_ != Part::kDone && part_ != Part::kBroken) {
    if (part_ != Part::kData) {
      step(bytes[used++]);
      continue;
    }
    const std::size_t take = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size() - used));
    used += take;
    left_ -= take;
    if (left_ == 0) part_ = chunked_ ? Part::kDataEnd : Part::kDone;
  }
  if (part_ == Part::kBroken) return {.refusal = "the chunked body is malformed"};
  return {.forward = bytes.substr(0, used), .ended = part_ == Part::kDone};
}

UpFilter::Output HelloFilter::feed(std::string_view bytes) {
  held_ += bytes;
  const ClientHello hello = parse_client_hello(held_);
  switch (hello.state) {
    case ClientHello::State::kNeedMore:
      return {};
    case ClientHello::State::kNotTls:
      if (required_) return {.refusal = "the port is one of TLS, but the client does not speak it"};
      return {.forward = held_, .passed = true};
    case ClientHello::State::kMalformed:
      return {.refusal = "the TLS ClientHello cannot be read"};
    case ClientHello::State::kComplete:
      break;
  }
  // Clients name no server when they connect to an address (RFC 6066 §3).
  if (hello.server_name.empty()) {
    if (host_.literal) return {.forward = held_, .passed = true};
    return {.refusal = fmt::format("the TLS client names no server; CONNECT named {}", host_.name),
            .farewell = kUnrecognizedName};
  }
  const auto named = parse_host(hello.server_name);
  if (!named || !(*named == host_)) {
    return {.refusal = fmt::format("the TLS client asks for {}; CONNECT named {}", from_outside(hello.server_name, 300),
                                   host_.name),
            .farewell = kUnrecognizedName};
  }
  return {.forward = held_, .passed = true};
}

}  // namespace mcpbox::egress
