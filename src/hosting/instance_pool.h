// The running instances of one server, by whose they are, and who uses them at the moment.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "hosting/instance.h"
#include "net/task.h"
#include "net/wait.h"

namespace mcpbox::hosting {

// Whose instance. Today there is one row, `shared`; a key a client or a call will give each its own.
struct ScopeKey {
  std::string value;
  friend auto operator<=>(const ScopeKey&, const ScopeKey&) = default;
};
inline const ScopeKey kShared{};

// Lives on one executor. Every row is retired, and every lease given back, before it is destroyed.
class InstancePool {
 private:
  struct Row;

 public:
  // An instance in use: it lives at least until the lease is destroyed.
  class Lease {
   public:
    Lease(Lease&&) noexcept = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease();
    Instance* operator->() const;

   private:
    friend class InstancePool;
    explicit Lease(std::shared_ptr<Row> row);
    std::shared_ptr<Row> row_;  // null when moved from
  };

  explicit InstancePool(boost::asio::any_io_executor executor) : executor_(std::move(executor)) {}

  // Takes an instance in that was started. There is none with that key.
  void add(ScopeKey key, std::unique_ptr<Instance> instance);
  // For views: null when there is none, or when it is about to end.
  Instance* find(const ScopeKey& key) const;
  // kFailedPrecondition when there is none, or when it is about to end. Waits for nothing today; an instance that must
  // be started first will be waited for.
  Task<Result<Lease>> acquire(ScopeKey key);
  // Gives no lease of it out any more, ends it (Instance::end), and returns when the last lease is back and it is gone.
  Task<void> retire(ScopeKey key, Error reason, bool broken);

 private:
  boost::asio::any_io_executor executor_;
  std::map<ScopeKey, std::shared_ptr<Row>> rows_;
};

}  // namespace mcpbox::hosting
