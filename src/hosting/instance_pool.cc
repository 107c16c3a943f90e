#include "hosting/instance_pool.h"

#include <utility>

namespace mcpbox::hosting {

struct InstancePool::Row {
  Row(boost::asio::any_io_executor executor, std::unique_ptr<Instance> one)
      : instance(std::move(one)), returned(std::move(executor)) {}
  std::unique_ptr<Instance> instance;
  unsigned leases = 0;
  bool retiring = false;
  net::Signal returned;
};

InstancePool::Lease::Lease(std::shared_ptr<Row> row) : row_(std::move(row)) {
  ++row_->leases;
}

InstancePool::Lease::~Lease() {
  if (!row_) return;
  --row_->leases;
  row_->returned.notify();
}

Instance* InstancePool::Lease::operator->() const {
  return row_->instance.get();
}

void InstancePool::add(ScopeKey key, std::unique_ptr<Instance> instance) {
  rows_.insert_or_assign(std::move(key), std::make_shared<Row>(executor_, std::move(instance)));
}

Instance* InstancePool::find(const ScopeKey& key) const {
  const auto row = rows_.find(key);
  return row == rows_.end() || row->second->retiring ? nullptr : row->second->instance.get();
}

Task<Result<InstancePool::Lease>> InstancePool::acquire(ScopeKey key) {
  const auto row = rows_.find(key);
  if (row == rows_.end() || row->second->retiring) co_return fail(Code::kFailedPrecondition, "it does not run");
  co_return Lease(row->second);
}

Task<void> InstancePool::retire(ScopeKey key, Error reason, bool broken) {
  const auto found = rows_.find(key);
  if (found == rows_.end()) co_return;
  const std::shared_ptr<Row> row = found->second;
  row->retiring = true;
  co_await row->instance->end(std::move(reason), broken);
  while (row->leases > 0) co_await row->returned.wait();
  rows_.erase(key);
}

}  // namespace mcpbox::hosting
