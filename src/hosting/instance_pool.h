// The instances of one server, by whose they are. Whoever wants more rows than one makes, starts and ends them here.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "base/result.h"
#include "hosting/instance_life.h"
#include "net/task.h"

namespace mcpbox::hosting {

// Whose instance. Today there is one row, `shared`; a key a client or a call will give each its own.
struct ScopeKey {
  std::string value;
  friend auto operator<=>(const ScopeKey&, const ScopeKey&) = default;
};
inline const ScopeKey kShared{};

// Lives on one executor. run() has ended, and every lease is back, before it is destroyed.
class InstancePool {
 public:
  using Lease = InstanceLife::Lease;

  // `context` outlives it.
  explicit InstancePool(InstanceContext& context);

  // The lives of the rows; ends when a shut-down was asked for, with nothing of them left. Not to be cancelled.
  Task<void> run() { return shared_->run(); }
  // All rows.
  void tell(const Lifecycle::Event& event);
  // Every row is connected, failed for good or stopped, as the newest request wants it.
  bool settled() const;

  // kFailedPrecondition when it is not connected (the message says why) or there is no such row. Waits for nothing
  // today; an instance that must be started first will be waited for.
  Task<Result<Lease>> acquire(ScopeKey key);
  // For views: null when there is no such row.
  const InstanceLife* find(const ScopeKey& key) const;
  // The row that is shown where one has to stand for all.
  const InstanceLife& shown() const { return *shared_; }

 private:
  std::map<ScopeKey, InstanceLife> rows_;
  InstanceLife* shared_;
};

}  // namespace mcpbox::hosting
