#include "egress/proxy/resolver.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "egress/proxy/lookup_process.h"
#include "net/wait.h"

namespace mcpbox::egress {

namespace {
using Clock = std::chrono::steady_clock;
using Answer = Result<std::vector<IpAddress>>;

// The function is in the coroutine's own frame: the resolver may be gone before it ends.
Task<Answer> run(std::function<Task<Answer>(std::string)> lookup, std::string name) {
  co_return co_await lookup(std::move(name));
}
}  // namespace

struct Resolver::State : std::enable_shared_from_this<Resolver::State> {
  struct Name {
    std::optional<Answer> answer;
    Clock::time_point answered;
    std::map<std::string, unsigned> waiting;  // how many requests of which asker
    std::uint64_t order = 0;
    std::shared_ptr<boost::asio::cancellation_signal> running;  // its look-up
    std::uint64_t begun = 0;                                    // that look-up's number
    std::string charged;                                        // whose share it takes

    bool pending_of(const std::string& asker) const {
      return !answer && (running ? charged == asker : waiting.contains(asker));
    }
  };
  using Names = std::map<std::string, Name>;
  // A request that waits for a name.
  class Waiter {
   public:
    Waiter(State& state, const std::string& name, const std::string& asker)
        : state_(state), name_(name), asker_(asker) {
      ++state_.names[name_].waiting[asker_];
    }
    // What nobody waits for any more need not be looked up.
    ~Waiter() {
      const auto found = state_.names.find(name_);
      Name& entry = found->second;
      if (--entry.waiting[asker_] == 0) entry.waiting.erase(asker_);
      if (!entry.waiting.empty() || entry.answer) return;
      state_.give_up(entry);
      state_.names.erase(found);
      state_.start_more();
    }
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;

   private:
    State& state_;
    const std::string& name_;
    const std::string& asker_;
  };

  boost::asio::any_io_executor executor;
  ResolverOptions options;
  Names names;  // one with a waiter stays
  struct Share {
    std::size_t running = 0;   // look-ups
    std::uint64_t served = 0;  // when the last one began, as a number of look-ups
  };
  std::map<std::string, Share> shares;  // of askers with something that waits or runs
  std::size_t busy = 0;
  std::uint64_t next_order = 0, begun = 0;
  bool closed = false;
  net::Signal changed;

  State(boost::asio::any_io_executor e, ResolverOptions o) : executor(e), options(std::move(o)), changed(e) {
    if (!options.lookup) options.lookup = [](std::string name) { return lookup_in_process(std::move(name)); };
  }

  void forget_old() {
    const auto now = Clock::now();
    std::erase_if(names, [&](const auto& item) {
      return item.second.answer && item.second.waiting.empty() && now - item.second.answered >= options.remember;
    });
    std::size_t remembered = 0;
    auto oldest = names.end();
    for (auto item = names.begin(); item != names.end(); ++item) {
      if (!item->second.answer || !item->second.waiting.empty()) continue;
      ++remembered;
      if (oldest == names.end() || item->second.answered < oldest->second.answered) oldest = item;
    }
    if (remembered > options.max_remembered) names.erase(oldest);  // answers come one at a time
  }

  Result<void> queue(const std::string& name, const std::string& asker) {
    std::size_t pending = 0, own = 0;
    for (const auto& [known, entry] : names) {
      if (!entry.answer) ++pending;
      if (entry.pending_of(asker)) ++own;
    }
    if (own >= options.max_pending_of_one)
      return fail(Code::kResourceExhausted, "too many names are being looked up for this server; try again");
    // A full queue is that of others for who has nothing in it.
    if (pending >= options.max_pending && own != 0)
      return fail(Code::kResourceExhausted, "too many names are being looked up; try again");
    names[name].order = next_order++;
    return {};
  }

  // Of all names that wait, the first one of who has the fewest look-ups, and of those who was served longest ago.
  void start_more() {
    if (closed) return;
    for (;;) {
      auto best = names.end();
      std::tuple<std::size_t, std::uint64_t, std::uint64_t> rank;
      const std::string* asker = nullptr;
      for (auto item = names.begin(); item != names.end(); ++item) {
        if (item->second.running || item->second.answer) continue;
        for (const auto& [who, requests] : item->second.waiting) {
          const auto found = shares.find(who);
          const Share share = found == shares.end() ? Share{} : found->second;
          const std::tuple candidate(share.running, share.served, item->second.order);
          if (share.running >= options.max_running_of_one || (best != names.end() && candidate >= rank)) continue;
          best = item;
          rank = candidate;
          asker = &who;
        }
      }
      if (best == names.end()) return;
      if (busy >= options.max_running && (std::get<0>(rank) != 0 || !make_place())) return;
      best->second.charged = *asker;
      best->second.begun = ++begun;
      Share& share = shares[*asker];
      ++share.running;
      share.served = begun;
      ++busy;
      start(best->first, best->second);
    }
  }

  // Gives up the oldest look-up of who has most of them, and at least two; it waits again.
  bool make_place() {
    Name* victim = nullptr;
    std::size_t most = 1;
    for (auto& [name, entry] : names) {
      if (!entry.running) continue;
      const std::size_t has = shares[entry.charged].running;
      const bool older = victim != nullptr && has == most && entry.begun < victim->begun;
      if (has <= most && !older) continue;
      victim = &entry;
      most = has;
    }
    if (victim == nullptr) return false;
    give_up(*victim);
    victim->order = next_order++;
    return true;
  }

  void start(const std::string& name, Name& entry) {
    entry.running = std::make_shared<boost::asio::cancellation_signal>();
    // Weak, because the answer may come after we are gone.
    auto done = [weak = weak_from_this(), name, number = entry.begun, signal = entry.running](std::exception_ptr error,
                                                                                              Answer answer) {
      if (error) answer = fail(Code::kInternal, fmt::format("the look-up of {} failed", name));
      if (const auto alive = weak.lock()) alive->answered(name, number, std::move(answer));
    };
    boost::asio::co_spawn(executor, run(options.lookup, name),
                          boost::asio::bind_cancellation_slot(entry.running->slot(), std::move(done)));
  }

  // Its place is free at once; an answer that comes all the same has an old number.
  void give_up(Name& entry) {
    if (!entry.running) return;
    const auto signal = std::exchange(entry.running, nullptr);
    free_place(entry);
    signal->emit(boost::asio::cancellation_type::terminal);
  }

  void free_place(Name& entry) {
    entry.begun = 0;
    --busy;
    const std::string asker = std::exchange(entry.charged, "");
    --shares[asker].running;
    if (std::ranges::none_of(names, [&](const auto& item) { return item.second.pending_of(asker); }))
      shares.erase(asker);
  }

  void answered(const std::string& name, std::uint64_t number, Answer answer) {
    const auto found = names.find(name);
    if (found == names.end() || found->second.begun != number) return;
    Name& entry = found->second;
    entry.answer = std::move(answer);
    entry.answered = Clock::now();
    entry.running = nullptr;
    free_place(entry);
    forget_old();
    start_more();
    changed.notify();
  }

  void close() {
    closed = true;
    for (auto& [name, entry] : names) give_up(entry);
  }
};

Resolver::Resolver(boost::asio::any_io_executor executor, ResolverOptions options)
    : state_(std::make_shared<State>(std::move(executor), std::move(options))) {}

Resolver::~Resolver() {
  state_->close();
}

Task<Answer> Resolver::resolve(std::string name, std::string asker) {
  const auto state = state_;
  state->forget_old();
  const auto deadline = Clock::now() + state->options.timeout;
  if (!state->names.contains(name)) {
    if (auto queued = state->queue(name, asker); !queued) co_return fail(std::move(queued).error());
  }
  const State::Waiter waiter(*state, name, asker);
  state->start_more();
  for (;;) {
    const State::Name& entry = state->names.at(name);
    if (entry.answer) co_return *entry.answer;
    if (!co_await state->changed.wait_until(deadline)) {
      if (Clock::now() < deadline) continue;
      co_return fail(Code::kTimeout, fmt::format("resolving {} took too long", name));
    }
  }
}

}  // namespace mcpbox::egress
