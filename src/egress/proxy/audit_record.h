// What the egress audit says of one decision.
#pragma once

#include <cstdint>
#include <string>

namespace mcpbox::egress {

struct AuditRecord {
  // "refuse": it was not allowed; "open": it was, the connection stands; "close": that connection's end, with its
  // bytes; "fail": it was allowed, but could not be done.
  std::string event;
  std::string server;
  std::string process;
  std::string phase;  // "" when the caller could not be identified
  std::string host;   // never a path or a query; "" where several different ones are summed up
  std::uint16_t port = 0;
  std::string address;                         // the one connected to, or the one that was refused
  std::string rule;                            // what allowed it
  std::string reason;                          // why it was refused, or failed
  std::uint64_t bytes_up = 0, bytes_down = 0;  // of all that it stands for
  std::int64_t milliseconds = 0;               // the longest of them
  std::uint64_t count = 1;                     // how many decisions it stands for
  std::string caller;                          // whose budget it takes where no server is known; is not written
};

}  // namespace mcpbox::egress
