#include "egress/rules/destination.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/setting_name.h"
#include "base/url.h"
#include "egress/rules/http_head.h"

namespace mcpbox::egress {

Result<UpstreamProxy> UpstreamProxy::parse(std::string_view url) {
  // The URL may hold a password: the message does not repeat it.
  const auto wrong = [](std::string_view why) {
    return fail(Code::kInvalidArgument, fmt::format("egress.upstream_proxy: {}; write http://HOST:PORT", why));
  };
  const auto parsed = parse_url(url);
  if (!parsed) return wrong(parsed.error().message());
  if (parsed->scheme != "http") return wrong("only http:// proxies are supported");
  if (!parsed->target.empty() && parsed->target != "/") return wrong("something stands behind the host and port");
  auto address = parse_host_port(parsed->authority());
  if (!address) return wrong("the host and port cannot be read");
  UpstreamProxy out;
  if (parsed->user) out.authorization = Secret(basic_credential(parsed->user->name, parsed->user->password));
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

std::string how_to_open(std::string_view address) {
  return settings_from() == SettingsFrom::kOptions
             ? fmt::format("run with `--allow-private {}`", address)
             : fmt::format("add `egress.allow_private: [{}]` to the configuration", address);
}

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
    return fail(Code::kPermissionDenied,
                what + fmt::format("; `{}` covers it, but no rule names exactly this host: add one to `{}`",
                                   setting_name("egress.allow_private", "--allow-private"),
                                   setting_name("box.network.allow", "--allow")));
  return fail(Code::kPermissionDenied,
              fmt::format("{}; if servers shall reach it, {}{}", what, how_to_open(address.text()),
                          named ? "" : ", and a rule that names exactly this host"));
}

}  // namespace mcpbox::egress
