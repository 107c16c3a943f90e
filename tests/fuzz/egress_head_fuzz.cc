// Proxy request heads and chunked bodies: what is accepted must read the same the second time.
#include <cstdint>
#include <cstdlib>

#include "egress/rules/http_head.h"
#include "egress/rules/up_filter.h"

using namespace mcpbox::egress;

static void must(bool condition) {
  if (!condition) std::abort();
}

static std::string passed(std::string_view bytes, std::size_t piece, bool& ended) {
  BodyFilter filter({BodyFraming::Kind::kChunked, 0});
  std::string out;
  for (std::size_t at = 0; at < bytes.size() && !ended; at += piece) {
    const auto step = filter.feed(bytes.substr(at, piece));
    if (!step.refusal.empty()) return "!";
    out += step.forward;
    ended = step.ended;
  }
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto length = head_length(bytes);
  if (length && *length) {
    must(**length <= bytes.size() && **length <= kMaxHead);
    if (const auto request = parse_head(bytes.substr(0, **length))) {
      must(request->target.port != 0 && request->headers.size() <= kMaxHeaders);
      must(parse_host(request->target.host.authority()).has_value());
      if (!request->connect && request->max_forwards != 0u) {
        // Our own output, with its target spelled out again, must be taken and mean the same.
        std::string again = request->forward_head();
        const std::size_t host = again.find("\r\nHost: ") + 8;
        again.insert(request->method.size() + 1, "http://" + again.substr(host, again.find("\r\n", host) - host));
        const auto second = parse_head(again);
        must(second.has_value() || again.size() > kMaxHead || second.error().status == 414 ||
             second.error().status == 431);
        if (second) {
          must(second->target.host == request->target.host && second->target.port == request->target.port);
          must(second->path == request->path && second->body.kind == request->body.kind &&
               second->body.length == request->body.length);
        }
      }
      if (request->proxy_authorization) parse_credential(*request->proxy_authorization);
    }
  }
  if (size <= 4096) {
    bool whole = false, pieces = false;
    const std::string one = passed(bytes, size + 1, whole), other = passed(bytes, 1, pieces);
    must(whole == pieces && one == other);
  }
  return 0;
}
