// The egress audit: one JSON line per decision, in a file that is only ever appended to and rotated by size.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mcpbox::egress {

struct AuditRecord {
  // "refuse": it was not allowed; "open": it was, the connection stands; "close": that connection's end, with its
  // bytes; "fail": it was allowed, but could not be done.
  std::string event;
  std::string server;
  std::string process;
  std::string phase;  // "" when the caller could not be identified
  std::string host;   // never a path or a query
  std::uint16_t port = 0;
  std::string address;  // the one connected to, or the one that was refused
  std::string rule;     // what allowed it
  std::string reason;   // why it was refused, or failed
  std::uint64_t bytes_up = 0, bytes_down = 0;
  std::int64_t milliseconds = 0;
};

struct AuditOptions {
  std::string directory;  // made 0700 when it is not there
  std::string name = "egress.jsonl";
  std::uint64_t max_bytes = 16u << 20;  // then it becomes NAME.1
  unsigned keep = 3;                    // older files, NAME.1 to NAME.<keep>
};

// Works relative to a descriptor of the directory, so that it goes on after privileges are dropped. Every text is
// escaped (printable()).
class AuditLog {
 public:
  static Result<AuditLog> open(AuditOptions options);

  // A failure to write is reported once on our own log; it does not stop the proxy.
  void write(const AuditRecord& record);
  int directory() const { return directory_.get(); }
  int file() const { return file_.get(); }

 private:
  AuditLog() = default;
  bool open_file();
  void rotate();

  AuditOptions options_;
  UniqueFd directory_;
  UniqueFd file_;
  std::uint64_t size_ = 0;
  bool complained_ = false;
};

// One line, with its line feed.
std::string audit_line(const AuditRecord& record, std::int64_t unix_milliseconds);

}  // namespace mcpbox::egress
