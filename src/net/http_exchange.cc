#include "net/http_exchange.h"

#include <algorithm>

namespace mcpbox::net {

std::string_view ServedRequest::field(std::string_view name) const {
  const auto found = std::ranges::find(fields, name, [](const auto& field) { return std::string_view(field.first); });
  return found == fields.end() ? std::string_view() : std::string_view(found->second);
}

std::size_t ServedRequest::count(std::string_view name) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(fields, [&](const auto& field) { return field.first == name; }));
}

Task<Result<std::string>> read_body(HttpExchange& exchange) {
  std::string body;
  if (exchange.request().content_length)
    body.reserve(std::min<std::uint64_t>(*exchange.request().content_length, 64u << 10));
  char piece[8192];
  for (;;) {
    auto size = co_await exchange.read_some(piece);
    if (!size) co_return fail(std::move(size).error());
    if (*size == 0) co_return body;
    body.append(piece, *size);
  }
}

unsigned status_of_body_error(Code code) {
  switch (code) {
    case Code::kResourceExhausted:
      return 413;
    case Code::kTimeout:
      return 408;
    case Code::kAborted:
      return 429;
    default:
      return 400;
  }
}

}  // namespace mcpbox::net
