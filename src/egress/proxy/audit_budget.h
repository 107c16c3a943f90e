// How much of the audit log one server may fill: equal refusals become one line with a count, and what is beyond the
// server's budget is only counted.
//
// Without it one server's refusals, thousands a second, rotate everybody's lines out of the log. Pure: fed with records
// and the time; who owns it writes what it hands out, and tells it how much that was.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "egress/proxy/audit_record.h"

namespace mcpbox::egress {

struct AuditBudgetOptions {
  std::chrono::seconds equal{10};    // so long equal refusals and failures of one server are one line
  std::size_t max_equal = 64;        // different ones that are looked for at a time, of one server
  double burst = 400;                // lines that one server may write at once,
  double per_second = 4;             // and how many come to that each second
  std::uint64_t file_share = 8;      // one server fills at most this part of one file: its size by this number
  std::chrono::seconds summary{60};  // what is beyond that is summed up so often, a line for each kind of event
  std::size_t max_askers = 4096;     // more share one budget
};

class AuditBudget {
 public:
  using Time = std::chrono::steady_clock::time_point;
  AuditBudget(AuditBudgetOptions options, std::uint64_t file_bytes);

  // True when the record is to be written now; otherwise it has been counted.
  bool admit(const AuditRecord& record, Time now);
  // What was counted and is to be written now, with its counts. Everything when `all`.
  std::vector<AuditRecord> due(Time now, bool all = false);
  // The same for a process that is gone, which may come again: its refusals are written then as if for the first time.
  std::vector<AuditRecord> ended(const std::string& server, const std::string& process, Time now);
  // Something is counted that due() will hand out some time.
  bool waiting() const;
  void wrote(const AuditRecord& record, std::uint64_t bytes);
  // A new file began.
  void rotated();

 private:
  struct Equal {
    AuditRecord record;  // count: of those that were not written
    Time since;
  };
  struct Asker {
    double lines = 0;  // that it may still write
    Time refilled;
    std::uint64_t bytes = 0;  // of the file
    std::map<std::string, Equal> equal;
    std::map<std::string, AuditRecord> beyond;  // by event
    Time beyond_since;
  };
  Asker& asker_of(const AuditRecord& record, Time now);
  bool spend(Asker& asker, Time now) const;
  void take(Asker& asker, Time now, const std::function<bool(const Equal&)>& over, std::vector<AuditRecord>& out) const;
  void sum_up(Asker& asker, const AuditRecord& record, Time now) const;
  static std::string budget_of(const AuditRecord& record);

  AuditBudgetOptions options_;
  std::uint64_t most_bytes_;
  std::map<std::string, Asker> askers_;
};

}  // namespace mcpbox::egress
