// The egress audit: JSON lines, in a file that is only ever appended to and rotated by size. A line stands for one
// decision, or says for how many (AuditBudget).
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"
#include "egress/proxy/audit_budget.h"
#include "egress/proxy/audit_record.h"

namespace mcpbox::egress {

struct AuditOptions {
  std::string directory;  // made 0700 when it is not there
  std::string name = "egress.jsonl";
  std::uint64_t max_bytes = 16u << 20;  // then it becomes NAME.1
  unsigned keep = 3;                    // older files, NAME.1 to NAME.<keep>
  AuditBudgetOptions budget;
};

// Works relative to a descriptor of the directory, so that it goes on after privileges are dropped. Every text is
// escaped (printable()); host and reason are without what keep_secret() was told.
class AuditLog {
 public:
  static Result<AuditLog> open(AuditOptions options);

  // A failure to write is reported once on our own log; it does not stop the proxy.
  void write(const AuditRecord& record);
  // Writes what was counted instead of written and is due, or all of it: for a timer, and for the end.
  void write_counted(bool all = false);
  // The same for what a process did that is gone.
  void write_counted_of(const std::string& server, const std::string& process);
  // True while there is something that write_counted() has to be called for.
  bool counts() const { return budget_.waiting(); }
  int directory() const { return directory_.get(); }
  int file() const { return file_.get(); }

 private:
  explicit AuditLog(AuditOptions options)
      : options_(std::move(options)), budget_(options_.budget, options_.max_bytes) {}
  void append(const AuditRecord& record);
  bool open_file();
  void rotate();

  AuditOptions options_;
  AuditBudget budget_;
  UniqueFd directory_;
  UniqueFd file_;
  std::uint64_t size_ = 0;
  bool complained_ = false;
};

// One line, with its line feed.
std::string audit_line(const AuditRecord& record, std::int64_t unix_milliseconds);

}  // namespace mcpbox::egress
