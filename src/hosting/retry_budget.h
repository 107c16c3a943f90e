// When a server that failed is started again: 2, 4, 8 s, then not any more; a stable minute fills the budget up again.
#pragma once

#include <chrono>
#include <optional>

namespace mcpbox::hosting {

class RetryBudget {
 public:
  using Clock = std::chrono::steady_clock;

  // `connected_since`: when this attempt became connected, if it did. The delay before the next attempt, or nothing
  // when the budget is spent.
  std::optional<std::chrono::seconds> on_failure(Clock::time_point now,
                                                 std::optional<Clock::time_point> connected_since);
  void reset() { used_ = 0; }
  unsigned used() const { return used_; }

  static constexpr unsigned kRetries = 3;
  static constexpr std::chrono::seconds kStable{60};

 private:
  unsigned used_ = 0;
};

}  // namespace mcpbox::hosting
