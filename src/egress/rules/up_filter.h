// What may pass from the client to the server: a body's exact length, or a TLS greeting that names the right host. No
// I/O.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "egress/rules/host_name.h"
#include "egress/rules/http_head.h"

namespace mcpbox::egress {

class UpFilter {
 public:
  struct Output {
    std::string_view forward;   // valid until the next call
    bool passed = false;        // everything from now on may pass unseen; the filter is not asked again
    bool ended = false;         // nothing more may pass
    std::string refusal;        // not empty: close, for this reason
    std::string_view farewell;  // and with these bytes to the client
  };
  virtual ~UpFilter() = default;
  virtual Output feed(std::string_view bytes) = 0;
};

// One request's body and not a byte more: a second request on the same connection could name another host.
class BodyFilter final : public UpFilter {
 public:
  explicit BodyFilter(const BodyFraming& framing);
  Output feed(std::string_view bytes) override;

 private:
  enum class Part {
    kSize,
    kExtension,
    kSizeEnd,
    kData,
    kDataEnd,
    kDataLineFeed,
    kTrailer,
    kTrailerText,
    kTrailerEnd,
    kLastEnd,
    kDone,
    kBroken
  };
  void step(char c);

  bool chunked_ = false;
  Part part_ = Part::kDone;
  std::uint64_t left_ = 0;  // of the body, or of the chunk
  unsigned digits_ = 0;
  std::size_t line_ = 0;  // bytes of extensions and trailers so far
};

// Holds the first bytes back until the ClientHello is complete; its server name must be the host of CONNECT.
class HelloFilter final : public UpFilter {
 public:
  // Unless `required`, bytes that are no TLS pass: the port is not one of TLS.
  HelloFilter(HostName host, bool required) : host_(std::move(host)), required_(required) {}
  Output feed(std::string_view bytes) override;

 private:
  HostName host_;
  bool required_;
  std::string held_;
};

}  // namespace mcpbox::egress
