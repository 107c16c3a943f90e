// Names to addresses, with a time-out, one look-up per name at a time, and a short memory.
//
// Who asks for many names, or for names of a server that does not answer, waits for itself: one asker has a share of
// the look-ups that run and of the queue, a place goes to who has the fewest, and where none is free who has none gets
// that of who has most. What nobody waits for any more is given up.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "egress/rules/ip_address.h"
#include "net/task.h"

namespace mcpbox::egress {

struct ResolverOptions {
  std::chrono::milliseconds timeout{10000};
  std::chrono::milliseconds remember{5000};
  std::size_t max_remembered = 256;  // then the oldest answers are forgotten before their time
  std::size_t max_pending = 1024;    // names without an answer; one of each asker may be beyond
  std::size_t max_pending_of_one = 32;
  std::size_t max_running = 64;  // so many askers have a place each, whatever the others do
  std::size_t max_running_of_one = 4;
  // Cancelled when nobody waits any more, or another asker needs its place; empty: lookup_in_process().
  std::function<Task<Result<std::vector<IpAddress>>>(std::string)> lookup;
};

// Lives on one executor.
class Resolver {
 public:
  Resolver(boost::asio::any_io_executor executor, ResolverOptions options = {});
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // In the resolver's order, without duplicates, at most 16. Errors: those of the look-up, kTimeout,
  // kResourceExhausted. `asker`: in whose name it is done.
  Task<Result<std::vector<IpAddress>>> resolve(std::string name, std::string asker);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace mcpbox::egress
