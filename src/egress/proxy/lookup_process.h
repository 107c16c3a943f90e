// One look-up of a name in a process of its own, which can be ended at any time.
//
// getaddrinfo(3) is what knows /etc/hosts, NSS and search rules. It blocks, for as long as a DNS server likes to say
// nothing, and a thread in it cannot be taken back; a process can.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "egress/rules/ip_address.h"
#include "net/task.h"

namespace mcpbox::egress {

// Blocking look-up by getaddrinfo(3): in the resolver's order, without duplicates, at most 16. kNotFound when the name
// does not exist, kUnavailable when nobody could say.
Result<std::vector<IpAddress>> lookup_addresses(const std::string& name);

// Runs `lookup` in a forked child: the calling process has one thread, and its confinement is the child's too. The
// child ends with the coroutine, however that ends, with its parent, and after half a minute. kUnavailable when it
// cannot be started or ends without an answer.
Task<Result<std::vector<IpAddress>>> lookup_in_process(
    std::string name, std::function<Result<std::vector<IpAddress>>(const std::string&)> lookup = lookup_addresses);

}  // namespace mcpbox::egress
