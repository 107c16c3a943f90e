// Names to addresses, off the loop, with a time-out, one look-up per name at a time, and a short memory.
//
// getaddrinfo(3) on a few threads of its own: it is what knows /etc/hosts, NSS and search rules, and it blocks. Who
// asks for many names, or for names of a server that does not answer, waits for itself: one asker has at most half of
// the threads and a share of the queue, and a free thread goes to who has the fewest.
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
  std::size_t max_pending = 1024;    // names without an answer
  std::size_t max_pending_of_one = 32;
  unsigned threads = 4;
  // For tests; runs on the resolver's threads.
  std::function<Result<std::vector<IpAddress>>(const std::string&)> lookup;
};

// Blocking look-up by getaddrinfo(3). kNotFound when the name does not exist, kUnavailable when nobody could say.
Result<std::vector<IpAddress>> lookup_addresses(const std::string& name);

// Lives on one executor. The destructor waits for look-ups that run.
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
