// The environments of an instance as a whole: what there is, what of it may go, and the quota.
//
// Everything goes through the supervisor of a sandbox that mounts the cache; removing needs one that may write it.
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "box/sandbox.h"
#include "net/task.h"
#include "provision/install/env_ledger.h"
#include "provision/install/env_record.h"
#include "provision/uid_book.h"

namespace mcpbox::provision {

struct EnvEntry {
  EnvRecord record;
  bool complete = false;  // false: an installation was interrupted, or runs now; only the hash is known
  bool in_use = false;
  EnvUsage usage;
};

class EnvShelf {
 public:
  EnvShelf(boost::asio::thread_pool& pool, box::Supervisor& supervisor, EnvLedger ledger, UidBook uids)
      : pool_(pool), supervisor_(supervisor), ledger_(std::move(ledger)), uids_(std::move(uids)) {}

  // Newest use first. Reads the records and none of the packages.
  Task<Result<std::vector<EnvEntry>>> list();

  struct Removed {
    std::vector<std::string> hashes;
    std::vector<std::string> in_use;  // stayed
    std::uint64_t bytes = 0;          // of those whose size is known
  };
  // Never what somebody uses: that is told in `in_use`.
  Task<Result<Removed>> remove(std::vector<EnvEntry> entries);
  // Removes what was not used for longest until the rest has at most `quota` bytes, but `keep`; and what interrupted
  // installations left more than a day ago. 0 = no quota.
  Task<Result<Removed>> enforce_quota(std::uint64_t quota, std::string keep);

 private:
  boost::asio::thread_pool& pool_;
  box::Supervisor& supervisor_;
  EnvLedger ledger_;
  UidBook uids_;
};

// What `entries` (newest use first) must lose so that the rest fits into `quota`: what is not in use and not `keep`,
// longest unused first.
std::vector<EnvEntry> over_quota(const std::vector<EnvEntry>& entries, std::uint64_t quota, const std::string& keep);

}  // namespace mcpbox::provision
