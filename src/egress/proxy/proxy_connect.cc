// Part of proxy_impl.h, from a request to a connected socket: names, the judgement of addresses, the further proxy.
#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include "base/text.h"
#include "egress/proxy/proxy_impl.h"

namespace mcpbox::egress {
namespace {

boost::asio::generic::stream_protocol::endpoint endpoint_of(const IpAddress& address, std::uint16_t port) {
  namespace ip = boost::asio::ip;
  if (address.v6) return ip::tcp::endpoint(ip::address_v6(address.bytes), port);
  ip::address_v4::bytes_type bytes;
  std::copy_n(address.bytes.begin(), bytes.size(), bytes.begin());
  return ip::tcp::endpoint(ip::address_v4(bytes), port);
}

// " 200" and its likes.
bool is_status(std::string_view text) {
  return text.size() == 4 && text[0] == ' ' &&
         std::ranges::all_of(text.substr(1), [](char c) { return c >= '0' && c <= '9'; });
}

std::unexpected<Refusal> failed(unsigned status, std::string message) {
  return std::unexpected(Refusal{status, std::move(message), false});
}

}  // namespace

Task<std::expected<Connected, Refusal>> Proxy::Impl::connect_to(std::vector<IpAddress> addresses, std::uint16_t port,
                                                                bool judged, Trust trust) {
  std::string refused, last = "it has no address";
  bool timed_out = false;
  for (const IpAddress& found : addresses) {
    const IpAddress address = found.unmapped();
    if (judged) {
      if (auto ok = destinations.check(address, trust); !ok) {
        refused = ok.error().message();
        continue;
      }
    }
    Stream socket(executor);
    const auto endpoint = endpoint_of(address, port);
    boost::system::error_code error;
    socket.open(endpoint.protocol(), error);
    if (error) {
      last = error.message();
      continue;
    }
    {
      const Deadline deadline(socket, options.connect_timeout);
      std::tie(error) = co_await socket.async_connect(endpoint, kTuple);
      timed_out = deadline.passed();
    }
    if (!error) {
      socket.set_option(boost::asio::ip::tcp::no_delay(true), error);
      co_return Connected{std::move(socket), address.text(), ""};
    }
    last = fmt::format("{}: {}", address.text(), timed_out ? "no answer" : error.message());
  }
  if (!refused.empty() && last == "it has no address") co_return std::unexpected(Refusal{403, refused, true});
  co_return failed(timed_out ? 504 : 502, "it cannot be reached: " + last);
}

Task<std::expected<Connected, Refusal>> Proxy::Impl::connect(const ProxyRequest& request, Trust trust,
                                                             const std::string& asker) {
  const HostName& host = request.target.host;
  const NetworkSettings& settings = destinations.settings();
  if (const auto fixed = settings.hosts.find(host.name); fixed != settings.hosts.end()) {
    co_return co_await connect_to({fixed->second}, request.target.port, true, trust);
  }
  if (settings.upstream) {
    const UpstreamProxy upstream = *settings.upstream;
    co_return co_await connect_upstream(request, upstream, trust, asker);
  }
  if (host.literal) co_return co_await connect_to({*host.literal}, request.target.port, true, trust);
  auto addresses = co_await resolver.resolve(host.name, asker);
  if (!addresses) co_return failed(addresses.error().code() == Code::kTimeout ? 504 : 502, addresses.error().message());
  co_return co_await connect_to(std::move(*addresses), request.target.port, true, trust);
}

Task<std::expected<Connected, Refusal>> Proxy::Impl::connect_upstream(const ProxyRequest& request,
                                                                      const UpstreamProxy& upstream, Trust trust,
                                                                      const std::string& asker) {
  // Behind such a proxy names of the internet often do not resolve; what does resolve is judged all the same.
  std::vector<IpAddress> known;
  if (request.target.host.literal) {
    known = {*request.target.host.literal};
  } else if (auto found = co_await resolver.resolve(request.target.host.name, asker)) {
    known = std::move(*found);
  }
  std::string refused;
  const bool usable = known.empty() || std::ranges::any_of(known, [&](const IpAddress& address) {
                        auto ok = destinations.check(address, trust);
                        if (!ok) refused = ok.error().message();
                        return ok.has_value();
                      });
  if (!usable) co_return std::unexpected(Refusal{403, refused, true});

  std::vector<IpAddress> proxies;
  if (upstream.address.host.literal) {
    proxies = {*upstream.address.host.literal};
  } else {
    auto found = co_await resolver.resolve(upstream.address.host.name, asker);
    if (!found) co_return failed(502, "the upstream proxy: " + found.error().message());
    proxies = std::move(*found);
  }
  auto connected = co_await connect_to(std::move(proxies), upstream.address.port, false, Trust::kPublic);
  if (!connected) co_return failed(connected.error().status, "the upstream proxy: " + connected.error().message);
  connected->address = fmt::format("via {}", upstream.address.host.name);
  // For http:// as well: what stands behind our credential is a tunnel then, and no request that such a proxy could
  // answer with what it was sent (TRACE, error pages).
  const std::string target = fmt::format("{}:{}", request.target.host.authority(), request.target.port);
  std::string head = fmt::format("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n", target);
  if (!upstream.authorization.empty())
    head += fmt::format("Proxy-Authorization: {}\r\n", upstream.authorization.reveal());
  head += "\r\n";
  const Deadline deadline(connected->server, options.connect_timeout);
  auto [write_error, written] = co_await boost::asio::async_write(connected->server, boost::asio::buffer(head), kTuple);
  std::string reply;
  std::size_t end = std::string::npos;
  bool broken = static_cast<bool>(write_error);
  while (!broken && end == std::string::npos && reply.size() < kMaxHead) {
    char piece[2048];
    auto [error, size] = co_await connected->server.async_read_some(boost::asio::buffer(piece), kTuple);
    broken = static_cast<bool>(error);
    reply.append(piece, size);
    end = reply.find("\r\n\r\n");
  }
  if (end == std::string::npos) co_return failed(deadline.passed() ? 504 : 502, "the upstream proxy gave no answer");
  // Its words are not repeated: they may be ours, with the credential.
  const std::string_view status = std::string_view(reply).substr(0, 12);
  if (!status.starts_with("HTTP/1.") || !is_status(status.substr(8))) {
    co_return failed(502, "the upstream proxy answered in another language than HTTP/1");
  }
  if (status[9] != '2') {
    co_return failed(502, fmt::format("the upstream proxy answered {}{}", status.substr(9),
                                      status.ends_with("407") ? "; see the user and password of its address"
                                      : request.connect       ? ""
                                                        : "; it is asked with CONNECT for http:// too: use https://"));
  }
  connected->early = reply.substr(end + 4);
  co_return connected;
}

}  // namespace mcpbox::egress
