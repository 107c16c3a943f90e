#include "hosting/instance_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "base/text.h"

namespace mcpbox::hosting {

InstancePool::InstancePool(InstanceContext& context)
    : shared_(&rows_
                   .emplace(std::piecewise_construct, std::forward_as_tuple(kShared),
                            std::forward_as_tuple(context, InstanceId{context.settings.name, kShared.value}))
                   .first->second) {}

void InstancePool::tell(const Lifecycle::Event& event) {
  for (auto& [key, life] : rows_) life.tell(event);
}

bool InstancePool::settled() const {
  return std::ranges::all_of(rows_, [](const auto& row) { return row.second.lifecycle().settled(); });
}

const InstanceLife* InstancePool::find(const ScopeKey& key) const {
  const auto row = rows_.find(key);
  return row != rows_.end() ? &row->second : nullptr;
}

Task<Result<InstancePool::Lease>> InstancePool::acquire(ScopeKey key) {
  const auto row = rows_.find(key);
  if (row == rows_.end())
    co_return fail(Code::kFailedPrecondition, fmt::format("there is no instance for '{}'", printable(key.value)));
  co_return row->second.lease();
}

}  // namespace mcpbox::hosting
