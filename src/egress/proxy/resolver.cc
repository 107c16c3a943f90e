#include "egress/proxy/resolver.h"

#include <fmt/format.h>
#include <netdb.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <map>
#include <optional>

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

struct Resolver::State {
  struct Name {
    std::optional<Result<std::vector<IpAddress>>> answer;
    Clock::time_point answered;
  };
  boost::asio::any_io_executor executor;
  ResolverOptions options;
  std::unique_ptr<boost::asio::thread_pool>
      threads;  // from the first look-up on: nobody has confined a process with threads
  std::map<std::string, Name> names;
  net::Signal changed;

  State(boost::asio::any_io_executor e, ResolverOptions o) : executor(e), options(std::move(o)), changed(e) {
    if (!options.lookup) options.lookup = lookup_addresses;
  }

  void forget_old() {
    const auto now = Clock::now();
    std::erase_if(
        names, [&](const auto& item) { return item.second.answer && now - item.second.answered >= options.remember; });
  }
};

Resolver::Resolver(boost::asio::any_io_executor executor, ResolverOptions options)
    : state_(std::make_shared<State>(std::move(executor), std::move(options))) {}

Resolver::~Resolver() {
  if (!state_->threads) return;
  state_->threads->stop();
  state_->threads->join();
}

Task<Result<std::vector<IpAddress>>> Resolver::resolve(std::string name) {
  const auto state = state_;
  state->forget_old();
  const auto deadline = Clock::now() + state->options.timeout;
  if (!state->names.contains(name)) {
    if (state->names.size() >= state->options.max_names) {
      co_return fail(Code::kResourceExhausted, "too many names are being looked up; try again");
    }
    state->names[name];
    // Weak, because the answer may come after we are gone.
    if (!state->threads) state->threads = std::make_unique<boost::asio::thread_pool>(state->options.threads);
    boost::asio::post(*state->threads,
                      [weak = std::weak_ptr(state), lookup = state->options.lookup, executor = state->executor, name] {
                        auto answer = lookup(name);
                        boost::asio::post(executor, [weak, name, answer = std::move(answer)]() mutable {
                          const auto alive = weak.lock();
                          if (!alive) return;
                          alive->names[name] = {std::move(answer), Clock::now()};
                          alive->changed.notify();
                        });
                      });
  }
  for (;;) {
    const auto found = state->names.find(name);
    if (found != state->names.end() && found->second.answer) co_return *found->second.answer;
    if (found == state->names.end()) co_return fail(Code::kUnavailable, fmt::format("cannot resolve {}", name));
    if (!co_await state->changed.wait_until(deadline)) {
      if (Clock::now() < deadline) continue;
      co_return fail(Code::kTimeout, fmt::format("resolving {} took too long", name));
    }
  }
}

}  // namespace mcpbox::egress
