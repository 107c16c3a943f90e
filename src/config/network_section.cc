// Part of sections.h: decodes what servers may reach: `box.network` of a server, and `egress:` for all of them.
#include <fmt/format.h>

#include "base/text.h"
#include "config/sections.h"
#include "egress/control/codec.h"

namespace mcpbox::config {
namespace {

constexpr std::string_view kNetwork[] = {"mode", "allow", "install_allow"};
constexpr std::string_view kEgress[] = {"hosts", "allow_private", "upstream_proxy", "ca_bundle"};
constexpr Section kNetworkSections[] = {{"network", kNetwork, "servers.NAME.box.network"},
                                        {"egress", kEgress, "egress"}};
constexpr Hint kNetworkHints[] = {
    {"network", "allow_private", "it belongs under 'egress:' at the top, because it holds for all servers"},
    {"egress", "proxy", "did you mean 'upstream_proxy'?"},
};

// In the order of NetworkMode, then the other words for the same.
constexpr std::string_view kModes[] = {"none", "allowlist", "public", "off", "on"};
constexpr NetworkMode kMeanings[] = {NetworkMode::kNone, NetworkMode::kAllowlist, NetworkMode::kPublic,
                                     NetworkMode::kNone, NetworkMode::kPublic};

// A list of texts, each of which `check` reads; what is wrong is told where it stands.
template <class Check>
void decode_checked(Decoder& decoder, const Node& node, const std::string& path, std::vector<std::string>& out,
                    Check check) {
  if (node.kind != Node::Kind::kSequence) {
    decoder.texts(node, path, out);  // says what is wrong, or takes nothing for an empty list
    return;
  }
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    std::string text;
    decoder.text(node.items[i], fmt::format("{}[{}]", path, i), text);
    if (text.empty()) continue;
    if (auto read = check(text); !read) {
      decoder.problem(node.items[i], fmt::format("{}[{}]: {}", path, i, read.error().message()));
    } else {
      out.push_back(std::move(text));
    }
  }
}

}  // namespace

KeyTable network_keys() {
  return {kNetworkSections, kNetworkHints};
}

void decode_network(Decoder& decoder, const Node& node, const std::string& path, ServerNetwork& network) {
  if (node.kind == Node::Kind::kScalar) {
    if (const auto index = decoder.choice(node, path, kModes)) network.mode = kMeanings[*index];
    return;
  }
  const auto map = decoder.map(node, "network", path);
  if (const Node* mode = map.find("mode")) {
    if (const auto index = decoder.choice(*mode, path + ".mode", kModes)) network.mode = kMeanings[*index];
  }
  const auto rule = [](const std::string& text) { return egress::Rule::parse(text); };
  const Node* const allow = map.find("allow");
  if (allow != nullptr) decode_checked(decoder, *allow, path + ".allow", network.allow, rule);
  if (const Node* install = map.find("install_allow")) {
    decode_checked(decoder, *install, path + ".install_allow", network.install_allow, rule);
  }
  if (network.mode == NetworkMode::kNone && !network.allow.empty()) {
    decoder.problem(
        *allow,
        fmt::format("{0}.allow: with 'mode: none' nothing is allowed while the server runs; remove the list, or "
                    "write 'mode: allowlist'",
                    path));
  }
}

void decode_egress(Decoder& decoder, const Node& node, Settings& settings) {
  EgressSettings& egress = settings.egress;
  const auto map = decoder.map(node, "egress", "egress");
  if (const Node* hosts = map.find("hosts"); hosts != nullptr && hosts->kind != Node::Kind::kNull) {
    if (hosts->kind != Node::Kind::kMap) decoder.problem(*hosts, "egress.hosts: expected 'NAME: ADDRESS' lines");
    for (const auto& [key, value] : hosts->entries) {
      std::string address;
      decoder.text(value, fmt::format("egress.hosts.{}", printable(key.text, 70)), address);
      if (address.empty()) continue;
      egress::NetworkText one;
      one.hosts[key.text] = address;
      if (auto read = egress::parse_network(one); !read) {
        decoder.problem(value, read.error().message());
      } else {
        egress.hosts[key.text] = std::move(address);
      }
    }
  }
  if (const Node* ranges = map.find("allow_private")) {
    const auto cidr = [](const std::string& text) { return egress::Cidr::parse(text); };
    decode_checked(decoder, *ranges, "egress.allow_private", egress.allow_private, cidr);
  }
  if (const Node* proxy = map.find("upstream_proxy")) {
    std::string url;
    decoder.text(*proxy, "egress.upstream_proxy", url);
    if (url == "none") {
      egress.upstream_proxy = Secret();
    } else if (!url.empty()) {
      auto read = egress::UpstreamProxy::parse(url);
      if (!read) decoder.problem(*proxy, read.error().message());
      egress.upstream_proxy = Secret(std::move(url));
    }
  }
  if (const Node* bundle = map.find("ca_bundle")) {
    std::string path;
    decoder.certificates(*bundle, "egress.ca_bundle", path);
    if (!settings.box.ca_bundle.empty()) {
      decoder.problem(*bundle, "egress.ca_bundle: it is the same setting as box.ca_bundle; write one of them");
    } else {
      settings.box.ca_bundle = std::move(path);
    }
  }
}

}  // namespace mcpbox::config
