#include "egress/rules/destination.h"

#include <fmt/format.h>

#include <algorithm>

#include "egress/rules/http_head.h"

namespace mcpbox::egress {

Result<UpstreamProxy> UpstreamProxy::parse(std::string_view url) {
  // The URL may hold a password: the message does not repeat it.
  const auto wrong = [](std::string_view why) {
    return fail(Code::kInvalidArgument, fmt::format("egress.upstream_proxy: {}; write http://HOST:PORT", why));
  };
  if (!url.starts_with("http://")) return wrong("only http:// proxies are supported");
  url.remove_prefix(7);
  if (url.ends_with('/')) url.remove_suffix(1);
  UpstreamProxy out;
  if (const std::size_t at = url.rfind('@'); at != std::string_view::npos) {
    const std::string_view user = url.substr(0, at);
    const std::size_t colon = std::min(user.find(':'), user.size());
    out.authorization = Secret(basic_credential(user.substr(0, colon), user.substr(std::min(colon + 1, user.size()))));
    url.remove_prefix(at + 1);
  }
  auto address = parse_host_port(url);
  if (!address) return wrong("the host and port cannot be read");
  out.address = std::move(*address);
  return out;
}

namespace {

bool open_to_registries(AddressClass kind) {
  switch (kind) {
    case AddressClass::kPublic:
    case AddressClass::kPrivate:
    case AddressClass::kCgnat:
    case AddressClass::kDocumentation:
    case AddressClass::kBenchmark:
    case AddressClass::kReserved:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<void> Destinations::check(const IpAddress& address, Trust trust) {
  const AddressClass kind = classify(address);
  const bool own = own_.contains(address);
  if (kind == AddressClass::kPublic && !own) return {};
  if (trust == Trust::kRegistry && open_to_registries(kind) && !own) return {};
  const bool named = trust != Trust::kPublic;
  const bool excepted =
      std::ranges::any_of(settings_.allow_private, [&](const Cidr& range) { return range.contains(address); });
  if (excepted && named && !never_excepted(kind)) return {};
  const std::string what =
      fmt::format("{} is {}", address.text(),
                  own ? "an address of this machine itself" : fmt::format("a {} address", class_name(kind)));
  if (never_excepted(kind)) return fail(Code::kPermissionDenied, what + ", which is never allowed");
  if (excepted)
    return fail(
        Code::kPermissionDenied,
        what +
            "; `egress.allow_private` covers it, but no rule names exactly this host: add one to `box.network.allow`");
  return fail(Code::kPermissionDenied,
              fmt::format("{0}; if servers shall reach it, add `egress.allow_private: [{1}]` to the configuration or "
                          "run with `--allow-private {1}`{2}",
                          what, address.text(), named ? "" : ", and a rule that names exactly this host"));
}

}  // namespace mcpbox::egress
