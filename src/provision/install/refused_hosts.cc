#include "provision/install/refused_hosts.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <utility>

#include "egress/proxy/audit_reader.h"

namespace mcpbox::provision {

std::vector<std::string> refused_hosts(const std::string& audit_directory, const std::string& process,
                                       std::chrono::system_clock::time_point since) {
  using std::chrono::milliseconds;
  // As the log writes it: texts of one length, which compare as the times do.
  const auto unix_time = std::chrono::duration_cast<milliseconds>(since.time_since_epoch());
  const std::string from =
      fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03d}Z", fmt::gmtime(static_cast<std::time_t>(unix_time.count() / 1000)),
                  unix_time.count() % 1000);
  std::vector<std::string> refused;
  for (std::string& line : egress::read_audit({.directory = audit_directory}, 1u << 20)) {
    const auto seen = egress::parse_audit_line(line);
    if (seen && seen->record.event == "refuse" && seen->record.process == process && seen->time >= from)
      refused.push_back(std::move(line));
  }
  return egress::suggest(refused, "").install_allow;
}

}  // namespace mcpbox::provision
