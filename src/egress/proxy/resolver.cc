#include "egress/proxy/resolver.h"

#include <fmt/format.h>
#include <netdb.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "net/wait.h"

namespace mcpbox::egress {

namespace {
using Clock = std::chrono::steady_clock;
constexpr std::size_t kMaxAddresses = 16;
}  // namespace

Result<std::vector<IpAddress>> lookup_addresses(const std::string& name) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(name.c_str(), nullptr, &hints, &list);
  if (error != 0) {
    const bool absent = error == EAI_NONAME || error == EAI_NODATA;
    return fail(absent ? Code::kNotFound : Code::kUnavailable,
                fmt::format("cannot resolve {}: {}", name, ::gai_strerror(error)));
  }
  std::vector<IpAddress> out;
  for (const addrinfo* item = list; item != nullptr && out.size() < kMaxAddresses; item = item->ai_next) {
    const auto address = IpAddress::from_sockaddr(item->ai_addr);
    if (address && std::ranges::find(out, *address) == out.end()) out.push_back(*address);
  }
  ::freeaddrinfo(list);
  return out;
}

struct Resolver::State : std::enable_shared_from_this<Resolver::State> {
  struct Name {
    std::optional<Result<std::vector<IpAddress>>> answer;
    Clock::time_point answered;
    std::map<std::string, unsigned> waiting;  // how many requests of which asker
    std::uint64_t order = 0;
    bool started = false;
    std::string charged;  // whose share of the threads it takes, once it is started

    bool pending_of(const std::string& asker) const {
      return !answer && (started ? charged == asker : waiting.contains(asker));
    }
  };
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
      if (--found->second.waiting[asker_] == 0) found->second.waiting.erase(asker_);
      if (found->second.waiting.empty() && !found->second.started) state_.names.erase(found);
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
  std::unique_ptr<boost::asio::thread_pool>
      threads;                        // from the first look-up on: nobody has confined a process with threads
  std::map<std::string, Name> names;  // one with a waiter stays
  struct Share {
    unsigned running = 0;      // look-ups
    std::uint64_t served = 0;  // when the last one began, as a number of look-ups
  };
  std::map<std::string, Share> shares;  // of askers with something that waits or runs
  unsigned busy = 0;
  std::uint64_t next_order = 0, begun = 0;
  net::Signal changed;

  State(boost::asio::any_io_executor e, ResolverOptions o) : executor(e), options(std::move(o)), changed(e) {
    if (!options.lookup) options.lookup = lookup_addresses;
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
      return fail(Code::kResourceExhausted, "too many names are being looked up for this process; try again");
    if (pending >= options.max_pending)
      return fail(Code::kResourceExhausted, "too many names are being looked up; try again");
    names[name].order = next_order++;
    return {};
  }

  // Of all names that wait, the first one of who has the fewest threads, and of those who was served longest ago.
  void start_more() {
    const unsigned most = std::max(1u, options.threads / 2);
    while (busy < options.threads) {
      std::map<std::string, Name>::iterator best = names.end();
      std::tuple<unsigned, std::uint64_t, std::uint64_t> rank;
      const std::string* asker = nullptr;
      for (auto item = names.begin(); item != names.end(); ++item) {
        if (item->second.started) continue;
        for (const auto& [who, requests] : item->second.waiting) {
          const auto found = shares.find(who);
          const Share share = found == shares.end() ? Share{} : found->second;
          const std::tuple candidate(share.running, share.served, item->second.order);
          if (share.running >= most || (best != names.end() && candidate >= rank)) continue;
          best = item;
          rank = candidate;
          asker = &who;
        }
      }
      if (best == names.end()) return;
      best->second.started = true;
      best->second.charged = *asker;
      Share& share = shares[*asker];
      ++share.running;
      share.served = ++begun;
      ++busy;
      start(best->first);
    }
  }

  void start(const std::string& name) {
    if (!threads) threads = std::make_unique<boost::asio::thread_pool>(options.threads);
    // Weak, because the answer may come after we are gone.
    boost::asio::post(*threads, [weak = weak_from_this(), lookup = options.lookup, executor = executor, name] {
      auto answer = lookup(name);
      boost::asio::post(executor, [weak, name, answer = std::move(answer)]() mutable {
        if (const auto alive = weak.lock()) alive->answered(name, std::move(answer));
      });
    });
  }

  void answered(const std::string& name, Result<std::vector<IpAddress>> answer) {
    Name& entry = names[name];
    entry.answer = std::move(answer);
    entry.answered = Clock::now();
    const std::string asker = entry.charged;
    --shares[asker].running;
    --busy;
    if (std::ranges::none_of(names, [&](const auto& item) { return item.second.pending_of(asker); }))
      shares.erase(asker);
    forget_old();
    start_more();
    changed.notify();
  }
};

Resolver::Resolver(boost::asio::any_io_executor executor, ResolverOptions options)
    : state_(std::make_shared<State>(std::move(executor), std::move(options))) {}

Resolver::~Resolver() {
  if (!state_->threads) return;
  state_->threads->stop();
  state_->threads->join();
}

Task<Result<std::vector<IpAddress>>> Resolver::resolve(std::string name, std::string asker) {
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
