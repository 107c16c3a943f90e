#include "box/init/sandbox_gauge.h"

#include <algorithm>

namespace mcpbox::box::init {
namespace {

// What looks at different moments differ by.
std::uint64_t slack_of(const SandboxUse& use) {
  return std::max<std::uint64_t>(8ull << 20, use.all / 32);
}

// What a server has, at least and at most.
struct Range {
  std::uint64_t lower = 0, upper = 0;
};

// All together have between `sure` and `total`.
std::vector<Range> ranges_of(const std::vector<ServerMemory>& servers, std::uint64_t sure, std::uint64_t total) {
  std::uint64_t least = 0, most = 0;
  for (const ServerMemory& server : servers) least += server.least, most += server.most + server.hidden;
  std::vector<Range> out;
  for (const ServerMemory& server : servers) {
    const std::uint64_t cap = server.most + server.hidden;
    // What all have together, without what the others have at most, is this one's.
    const std::uint64_t rest = std::min(cap, left_of(sure, most - cap));
    const std::uint64_t upper = std::min(cap, left_of(total, least - server.least));
    out.push_back({std::max(server.least, rest), std::max(server.least, upper)});
  }
  return out;
}

// Of those that are certainly above their parts the one that is furthest, unless somebody else may be further.
std::optional<std::size_t> furthest(const std::vector<ServerMemory>& servers, const std::vector<Range>& ranges,
                                    const std::vector<std::uint64_t>& parts, std::uint64_t slack) {
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < servers.size(); ++i) {
    if (ranges[i].lower <= parts[i]) continue;
    if (!found || ranges[i].lower - parts[i] > ranges[*found].lower - parts[*found]) found = i;
  }
  for (std::size_t i = 0; found && i < servers.size(); ++i) {
    if (i != *found && left_of(ranges[i].upper, parts[i]) > ranges[*found].lower - parts[*found] + slack)
      return std::nullopt;
  }
  return found;
}

// Whom the kernel is to take first: who is above its part by what is known, the furthest first, else who was seen to be
// able to have most of what nobody is seen to have.
std::vector<uid_t> suspects_of(const std::vector<ServerMemory>& servers, const std::vector<std::uint64_t>& parts,
                               std::uint64_t unseen, std::uint64_t slack) {
  std::vector<std::pair<std::uint64_t, uid_t>> above;
  for (std::size_t i = 0; i < servers.size(); ++i) {
    const std::uint64_t by = left_of(servers[i].most + std::min(servers[i].evidence, unseen), parts[i]);
    if (by > 0) above.emplace_back(by, servers[i].uid);
  }
  std::sort(above.rbegin(), above.rend());
  std::vector<uid_t> found;
  for (const auto& [by, uid] : above) found.push_back(uid);
  if (!found.empty() || unseen <= slack) return found;
  std::uint64_t hidden = unseen / 2;
  for (const ServerMemory& server : servers) {
    if (server.evidence > hidden) found = {server.uid}, hidden = server.evidence;
  }
  return found;
}

}  // namespace

std::vector<std::uint64_t> parts_of(const std::vector<ServerMemory>& servers, std::uint64_t all) {
  std::uint64_t named = 0, others = 0;
  for (const ServerMemory& server : servers) (server.named ? named : others) += server.named ? server.limit : 1;
  const std::uint64_t equal = others == 0 ? 0 : left_of(all, named) / others;
  std::vector<std::uint64_t> out;
  for (const ServerMemory& server : servers) {
    const double share = named <= all || named == 0 ? 1 : static_cast<double>(all) / static_cast<double>(named);
    out.push_back(server.named ? static_cast<std::uint64_t>(static_cast<double>(server.limit) * share) : equal);
  }
  return out;
}

std::uint64_t memory_bound(const SandboxUse& use) {
  const std::uint64_t bound = use.all + use.all / 32 + SandboxGauge::kOurs;
  return use.ceiling == 0 ? bound : std::min(bound, use.ceiling - use.ceiling / 16);
}

SandboxGauge::Verdict SandboxGauge::look(const std::vector<ServerMemory>& servers, const SandboxUse& use,
                                         TimePoint now) {
  Verdict verdict;
  const std::uint64_t bound = memory_bound(use);
  near_ = use.used > bound / 2 || use.used > last_ + bound / 32;
  last_ = use.used;
  if (!matters(use)) return verdict;
  const std::vector<std::uint64_t> parts = parts_of(servers, use.all);
  std::uint64_t most = 0;
  for (const ServerMemory& server : servers) most += server.most;
  const std::uint64_t total = use.measured ? left_of(use.used, kOurs) : use.used;
  const std::uint64_t unseen = left_of(total, most);
  const std::vector<Range> ranges = ranges_of(servers, use.measured ? total : use.sure, total);
  verdict.suspects = suspects_of(servers, parts, unseen, slack_of(use));
  for (std::size_t i = 0; i < servers.size(); ++i) {
    // One that was looked at: what it has for all that is seen.
    const std::uint64_t seen = servers[i].most + std::min(servers[i].evidence, unseen);
    const std::uint64_t has = std::max(ranges[i].lower, servers[i].evidence == 0 ? 0 : std::min(ranges[i].upper, seen));
    if (has > parts[i]) verdict.above.emplace_back(servers[i].uid, has);
  }
  const bool over = (use.measured ? use.used : use.sure) > bound;
  // Who is ended already gives back what it has.
  const bool settling =
      ended_ && now - *ended_ < kSettle &&
      std::any_of(servers.begin(), servers.end(), [](const ServerMemory& server) { return server.ending; });
  bool waiting = false;
  std::uint64_t explained = 0;
  for (std::size_t i = 0; i < servers.size(); ++i) {
    const bool vague = ranges[i].upper > ranges[i].lower + slack_of(use) && !servers[i].ending;
    if (vague && servers[i].look) verdict.look.push_back(servers[i].uid);
    waiting = waiting || (vague && servers[i].looking);
    explained += servers[i].most + servers[i].hidden;
  }
  if (!over || settling) return verdict;
  const auto found = furthest(servers, ranges, parts, slack_of(use));
  // Else there is more than all of them can have: what the kernel would give back, or has for nobody of them.
  if (found && (!use.measured || explained + kOurs > bound)) {
    const ServerMemory& server = servers[*found];
    const std::uint64_t has = ranges[*found].lower;
    if (server.ending) return verdict;
    const bool own = server.limit != 0 && has > server.limit;
    verdict.end = {server.uid, own ? wire::PassedLimit{wire::LimitKind::kMemory, server.limit, has}
                                   : wire::PassedLimit{wire::LimitKind::kSandboxMemory, use.all, has}};
    ended_ = now;
    return verdict;
  }
  verdict.doubt = verdict.look.empty() && !waiting && (!said_ || now - *said_ >= kQuiet);
  if (verdict.doubt) said_ = now;
  return verdict;
}

}  // namespace mcpbox::box::init
