// When a server that failed is started again: after 2, 4 and 8 s, then not any more; a stable minute fills the budget.
#pragma once

#include <chrono>
#include <optional>

namespace mcpbox::hosting {

class RetryBudget {
 public:
  using Clock = std::chrono::steady_clock;

  static constexpr unsigned kRetries = 3;
  static constexpr std::chrono::seconds kStable{60};

  // `first`: the first delay, which doubles from retry to retry.
  explicit RetryBudget(std::chrono::milliseconds first = std::chrono::seconds(2)) : first_(first) {}

  // `connected_since`: when this attempt became connected, if it did. The delay before the next attempt, or nothing
  // when the budget is spent.
  std::optional<std::chrono::milliseconds> on_failure(Clock::time_point now,
                                                      std::optional<Clock::time_point> connected_since);
  void reset() { used_ = 0; }
  unsigned used() const { return used_; }

 private:
  std::chrono::milliseconds first_;
  unsigned used_ = 0;
};

}  // namespace mcpbox::hosting
