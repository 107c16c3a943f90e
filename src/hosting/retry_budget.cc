#include "hosting/retry_budget.h"

namespace mcpbox::hosting {

std::optional<std::chrono::milliseconds> RetryBudget::on_failure(Clock::time_point now,
                                                                 std::optional<Clock::time_point> connected_since) {
  if (connected_since && now - *connected_since >= kStable) used_ = 0;
  if (used_ >= kRetries) return std::nullopt;
  return first_ * (1u << used_++);
}

}  // namespace mcpbox::hosting
