// Reads a request target in origin-form (RFC 9112 §3.2.1).
#pragma once

#include <string_view>

#include "net/http_exchange.h"

namespace mcpbox::net {

// Splits the target once, so that routing and authorisation look at the same parts, and fills in path and query. An
// encoded slash inside a segment is refused, so that no later decoding can change the path; so are ".", "..", an empty
// segment (but at the end), a NUL, a query name that stands twice, and more than 4 KiB.
bool parse_target(std::string_view target, ServedRequest& request);

}  // namespace mcpbox::net
