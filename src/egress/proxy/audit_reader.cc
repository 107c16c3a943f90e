#include "egress/proxy/audit_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include "base/text.h"
#include "json/value.h"

namespace mcpbox::egress {

std::optional<SeenRecord> parse_audit_line(std::string_view line) {
  const auto doc = json::Value::parse(line, {.max_bytes = 64u << 10, .max_depth = 4});
  if (!doc || !(*doc)["event"].is_string()) return std::nullopt;
  SeenRecord out;
  out.time = (*doc)["time"].string_or();
  AuditRecord& r = out.record;
  r.event = (*doc)["event"].string_or();
  r.server = (*doc)["server"].string_or();
  r.process = (*doc)["process"].string_or();
  r.phase = (*doc)["phase"].string_or();
  r.host = (*doc)["host"].string_or();
  r.port = static_cast<std::uint16_t>(std::clamp<std::int64_t>((*doc)["port"].integer_or(0), 0, 65535));
  r.address = (*doc)["address"].string_or();
  r.rule = (*doc)["rule"].string_or();
  r.reason = (*doc)["reason"].string_or();
  r.bytes_up = (*doc)["bytes_up"].unsigned_integer().value_or(0);
  r.bytes_down = (*doc)["bytes_down"].unsigned_integer().value_or(0);
  r.milliseconds = (*doc)["ms"].integer_or(0);
  r.count = std::max<std::uint64_t>((*doc)["count"].unsigned_integer().value_or(1), 1);
  return out;
}

std::vector<std::string> read_audit(const AuditOptions& options, std::size_t max_bytes) {
  std::vector<std::string> out;
  std::size_t left = max_bytes;
  for (unsigned i = 0; i <= options.keep && left > 0; ++i) {
    const std::string path =
        fmt::format("{}/{}{}", options.directory, options.name, i == 0 ? "" : fmt::format(".{}", i));
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file) continue;
    const auto size = static_cast<std::size_t>(std::max<std::streamoff>(file.tellg(), 0));
    const std::size_t take = std::min(size, left);
    left -= take;
    std::string text(take, '\0');
    file.seekg(static_cast<std::streamoff>(size - take));
    file.read(text.data(), static_cast<std::streamsize>(take));
    text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
    std::vector<std::string> lines;
    for (const std::string_view line : split(text, '\n')) {
      if (!line.empty()) lines.emplace_back(line);
    }
    out.insert(out.begin(), std::make_move_iterator(lines.begin()), std::make_move_iterator(lines.end()));
  }
  return out;
}

namespace {

// The address that a refusal is about: its reason begins with it, or it is what was asked for.
std::optional<IpAddress> refused_address(const AuditRecord& record) {
  if (record.event != "refuse") return std::nullopt;
  if (record.rule.empty()) {
    auto asked = IpAddress::parse(record.host);
    if (!asked || classify(asked->unmapped()) == AddressClass::kPublic) return std::nullopt;
    return asked->unmapped();
  }
  return IpAddress::parse(record.reason.substr(0, record.reason.find(' ')));
}

}  // namespace

Suggestion suggest(const std::vector<std::string>& lines, std::string_view server) {
  std::map<std::string, std::map<std::string, std::set<std::uint16_t>>> wanted;  // phase, host, ports
  std::set<std::string> opened, never;
  Suggestion out;
  for (const std::string& line : lines) {
    const auto seen = parse_audit_line(line);
    if (!seen || (!server.empty() && seen->record.server != server)) continue;
    const AuditRecord& r = seen->record;
    if (r.host.empty() && !r.server.empty()) out.counted_only += r.count;
    if (r.phase.empty()) continue;  // of a caller that nobody knows
    const auto address = refused_address(r);
    if (address && never_excepted(classify(*address))) {
      never.insert(r.host == address->text() ? r.host : fmt::format("{} ({})", r.host, address->text()));
      continue;
    }
    if (address) opened.insert(address->text());
    // Refused after a rule allowed it: for what the other end said of itself.
    if (r.event == "refuse" && !r.rule.empty() && !address) continue;
    const auto host = parse_host(r.host.contains(':') ? "[" + r.host + "]" : r.host);
    if (host && r.port != 0) wanted[r.phase][host->authority()].insert(r.port);
  }
  out.allow_private.assign(opened.begin(), opened.end());
  out.never.assign(never.begin(), never.end());
  for (const auto& [phase, hosts] : wanted) {
    for (const auto& [host, ports] : hosts) {
      const bool usual = std::ranges::all_of(ports, [](std::uint16_t port) { return port == 443 || port == 80; });
      (phase == "install" ? out.install_allow : out.allow)
          .push_back(usual ? host : fmt::format("{}:{}", host, fmt::join(ports, ",")));
    }
  }
  return out;
}

}  // namespace mcpbox::egress
