#include "egress/proxy/audit_budget.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace mcpbox::egress {
namespace {

std::string key_of(const AuditRecord& r) {
  const std::string port = std::to_string(r.port);
  std::string out;
  for (const std::string* part :
       {&r.event, &r.server, &r.caller, &r.process, &r.phase, &r.host, &port, &r.address, &r.rule, &r.reason})
    out += fmt::format("{}:{},", part->size(), *part);
  return out;
}

void add(AuditRecord& sum, const AuditRecord& more) {
  sum.count += more.count;
  sum.bytes_up += more.bytes_up;
  sum.bytes_down += more.bytes_down;
  sum.milliseconds = std::max(sum.milliseconds, more.milliseconds);
}

}  // namespace

AuditBudget::AuditBudget(AuditBudgetOptions options, std::uint64_t file_bytes)
    : options_(options), most_bytes_(file_bytes / std::max<std::uint64_t>(options.file_share, 1)) {}

std::string AuditBudget::budget_of(const AuditRecord& record) {
  return record.server.empty() ? "caller " + record.caller : "server " + record.server;
}

AuditBudget::Asker& AuditBudget::asker_of(const AuditRecord& record, Time now) {
  std::string name = budget_of(record);
  if (!askers_.contains(name) && askers_.size() >= options_.max_askers) name.clear();
  const auto [found, fresh] = askers_.try_emplace(std::move(name));
  if (fresh) {
    found->second.lines = options_.burst;
    found->second.refilled = now;
  }
  return found->second;
}

// The first line of a server in a file may always be written, however small the file is.
bool AuditBudget::spend(Asker& asker, Time now) const {
  const std::chrono::duration<double> passed = now - asker.refilled;
  asker.refilled = now;
  asker.lines = std::min(options_.burst, asker.lines + passed.count() * options_.per_second);
  if (asker.lines < 1 || (asker.bytes != 0 && asker.bytes >= most_bytes_)) return false;
  asker.lines -= 1;
  return true;
}

void AuditBudget::sum_up(Asker& asker, const AuditRecord& record, Time now) const {
  if (asker.beyond.empty()) asker.beyond_since = now;
  const auto [sum, fresh] = asker.beyond.try_emplace(record.event);
  if (!fresh) {
    add(sum->second, record);
    return;
  }
  sum->second = record;
  // Of several processes, hosts and reasons nothing is said but how many they were.
  sum->second.process = sum->second.phase = sum->second.host = sum->second.address = sum->second.rule = "";
  sum->second.port = 0;
  sum->second.reason = "more than this log keeps of one server: these are counted only";
}

bool AuditBudget::admit(const AuditRecord& record, Time now) {
  Asker& asker = asker_of(record, now);
  if (record.event == "refuse" || record.event == "fail") {
    std::string key = key_of(record);
    if (const auto known = asker.equal.find(key); known != asker.equal.end()) {
      add(known->second.record, record);
      return false;
    }
    if (asker.equal.size() < options_.max_equal && spend(asker, now)) {
      asker.equal.emplace(std::move(key), Equal{record, now}).first->second.record.count = 0;
      return true;
    }
  }
  if (spend(asker, now)) return true;
  sum_up(asker, record, now);
  return false;
}

// Takes out what `over` says, and hands out what it counted or sums that up.
void AuditBudget::take(Asker& asker, Time now, const std::function<bool(const Equal&)>& over,
                       std::vector<AuditRecord>& out) const {
  for (auto item = asker.equal.begin(); item != asker.equal.end();) {
    if (!over(item->second)) {
      ++item;
      continue;
    }
    if (AuditRecord& record = item->second.record; record.count != 0) {
      if (spend(asker, now))
        out.push_back(std::move(record));
      else
        sum_up(asker, record, now);
    }
    item = asker.equal.erase(item);
  }
}

std::vector<AuditRecord> AuditBudget::due(Time now, bool all) {
  std::vector<AuditRecord> out;
  for (auto& [name, asker] : askers_) {
    take(asker, now, [&](const Equal& equal) { return all || now - equal.since >= options_.equal; }, out);
    if (asker.beyond.empty() || (!all && now - asker.beyond_since < options_.summary)) continue;
    for (auto& [event, record] : asker.beyond) out.push_back(std::move(record));
    asker.beyond.clear();
  }
  return out;
}

std::vector<AuditRecord> AuditBudget::ended(const std::string& server, const std::string& process, Time now) {
  std::vector<AuditRecord> out;
  const auto asker = askers_.find("server " + server);
  if (asker == askers_.end()) return out;
  take(asker->second, now, [&](const Equal& equal) { return equal.record.process == process; }, out);
  return out;
}

bool AuditBudget::waiting() const {
  return std::ranges::any_of(
      askers_, [](const auto& item) { return !item.second.equal.empty() || !item.second.beyond.empty(); });
}

void AuditBudget::wrote(const AuditRecord& record, std::uint64_t bytes) {
  const auto found = askers_.find(budget_of(record));
  if (const auto asker = found != askers_.end() ? found : askers_.find(""); asker != askers_.end())
    asker->second.bytes += bytes;
}

void AuditBudget::rotated() {
  for (auto& [name, asker] : askers_) asker.bytes = 0;
}

}  // namespace mcpbox::egress
