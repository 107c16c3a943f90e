#include "box/init/sandbox_watch.h"

#include <stdio.h>

#include <algorithm>

namespace mcpbox::box::init {
namespace {

// Less than that is no difference: figures change by themselves.
constexpr std::uint64_t kNoise = 8ull << 20;
constexpr std::uint64_t kLeastHint = 64ull << 20;
constexpr int kLookRest = 1;

// The inverse of box::sandbox_memory, for who was not told.
std::uint64_t servers_part(std::uint64_t ceiling) {
  return left_of(ceiling, 64ull << 20) / 9 * 8;
}

}  // namespace

SandboxWatch::Known& SandboxWatch::known_of(uid_t uid) {
  // Where the kernel counts, it also ends somebody, and could be faster.
  const auto first = measured_ ? LookPace::kHurried : LookPace::kUsual;
  return known_.try_emplace(uid, Known{std::nullopt, LookPace(first), false, false, 0, {}, {}}).first->second;
}

LookPace::Time SandboxWatch::look_time(uid_t uid) const {
  const auto found = known_.find(uid);
  return found == known_.end() ? LookPace::kUsual : found->second.pace.time();
}

ServerMemory SandboxWatch::memory_of(const Seen& server, bool measured, bool hint, TimePoint now) {
  Known& known = known_of(server.uid);
  ServerMemory out;
  out.uid = server.uid;
  out.limit = server.limit;
  out.named = server.named;
  out.least = server.sum.least;
  out.most = server.sum.most;
  out.looking = known.looking;
  out.ending = known.ending;
  if (const auto held = held_(server.uid)) {
    out.least = out.most = *held;
    return out;
  }
  out.hidden = measured || hint ? kUnknownMemory : 0;
  if (known.look && now - known.look->when >= kValid) known.look.reset();
  bool moved = true;
  if (known.look) {
    const Look& look = *known.look;
    // What has come since may be its own, or shared with what it had, and so may what went.
    const std::uint64_t came = left_of(out.most, look.most), went = left_of(look.most, out.most);
    out.least = std::max(out.least, left_of(look.found.bytes, went));
    if (look.found.all) out.most = std::max(out.least, std::min(out.most, look.found.bytes + came));
    const std::uint64_t grown = left_of(unseen_, look.unseen);
    // What others of the machine have must not be taken for that of who cannot be looked at.
    out.hidden = measured && !look.found.hidden_all ? kUnknownMemory : look.found.hidden.value_or(0) + grown;
    out.evidence = out.hidden >= kUnknownMemory ? kUnknownMemory : look.found.hidden.value_or(0);
    moved = grown > kNoise || server.sum.most > look.most + kNoise;
  }
  out.look = !known.looking && moved && now >= known.next;
  return out;
}

SandboxWatch::Round SandboxWatch::round(const std::vector<Seen>& servers, TimePoint now) {
  Round round;
  SandboxUse use;
  std::uint64_t shared = 0;
  for (const Seen& server : servers) use.all = std::max(use.all, server.all), shared += server.shared;
  std::uint64_t hint = 0;
  if (const auto group = memory_.measured()) {
    use.measured = true;
    use.used = group->used;
    use.ceiling = group->limit;
    if (use.all == 0) use.all = servers_part(group->limit);
  } else if (use.all != 0) {
    hint = memory_.unexplained(shared);
  }
  if (use.all == 0) return round;
  matters_ = SandboxGauge::matters(use);
  measured_ = use.measured;
  if (use.measured && !matters_) {
    note_above({}, now);
    // As nearly always: nobody's memory has to be known.
    (void)gauge_.look({}, use, now);
    choose_turns({}, now, round);
    return round;
  }
  if (hint < kLeastHint) hint = 0;
  std::vector<ServerMemory> known;
  std::uint64_t seen = 0, least = 0, bound = 0;
  for (const Seen& server : servers) {
    known.push_back(memory_of(server, use.measured, hint != 0, now));
    seen += known.back().most;
    least += known.back().least;
    bound += known.back().hidden;
  }
  // Where the kernel does not count, only what can be a server's is taken to be.
  if (!use.measured) {
    use.used = seen + std::min(hint, bound);
    use.sure = least + (bound >= kUnknownMemory ? 0 : std::min(hint, bound));
  }
  unseen_ = left_of(use.measured ? left_of(use.used, SandboxGauge::kOurs) : use.used, seen);
  matters_ = SandboxGauge::matters(use);
  SandboxGauge::Verdict verdict = gauge_.look(known, use, now);
  all_ = use.all;
  for (const uid_t uid : verdict.look) {
    Known& asked = known_of(uid);
    asked.looking = true;
    asked.asked = now;
    for (const Seen& server : servers) asked.most = server.uid == uid ? server.sum.most : asked.most;
  }
  round.closely = std::move(verdict.look);
  note_above(verdict.above, now);
  choose_turns(verdict.suspects, now, round);
  if (verdict.end) ending(verdict.end->first);
  round.end = verdict.end;
  if (verdict.doubt) {
    ::dprintf(2,
              "mcpbox-init: the sandbox's memory is nearly used up (%llu of %llu MiB), and no server is known for "
              "certain to be above its part: nobody is ended\n",
              static_cast<unsigned long long>(use.used >> 20), static_cast<unsigned long long>(use.all >> 20));
  }
  return round;
}

// Who is early or first is told again after a time only: those that it starts inherit it, only who was between two
// looks does not have it, and two that are first by turns must not cost us a round each.
void SandboxWatch::choose_turns(const std::vector<uid_t>& suspects, TimePoint now, Round& round) {
  std::erase_if(turns_, [&](const auto& each) {
    const bool other = std::find(suspects.begin(), suspects.end(), each.first) == suspects.end();
    if (other) round.turns.emplace_back(each.first, KernelTurn::kUsual);
    return other;
  });
  for (std::size_t i = 0; i < suspects.size(); ++i) {
    const auto [found, fresh] = turns_.try_emplace(suspects[i]);
    if (!fresh && now - found->second.told < kTurnAgain) continue;
    found->second = {i == 0 ? KernelTurn::kFirst : KernelTurn::kEarly, now};
    round.turns.emplace_back(suspects[i], found->second.turn);
  }
}

void SandboxWatch::note_above(const std::vector<std::pair<uid_t, std::uint64_t>>& above, TimePoint now) {
  std::erase_if(above_, [&](const auto& each) { return now - each.second.when >= kRecent; });
  for (const auto& [uid, bytes] : above) {
    Above& known = above_[uid];
    known = {std::max(known.bytes, bytes), now};
  }
}

void SandboxWatch::looked(uid_t uid, const std::optional<LookedClosely>& found, TimePoint now) {
  const auto known = known_.find(uid);
  if (known == known_.end()) return;
  known->second.looking = false;
  known->second.pace.answered(found && found->all);
  known->second.next = now + kLookRest * (now - known->second.asked);
  if (found) known->second.look = Look{known->second.most, unseen_, *found, now};
}

std::optional<wire::PassedLimit> SandboxWatch::above(uid_t uid) const {
  const auto found = above_.find(uid);
  if (found == above_.end()) return std::nullopt;
  return wire::PassedLimit{wire::LimitKind::kSandboxMemory, all_, found->second.bytes};
}

}  // namespace mcpbox::box::init
