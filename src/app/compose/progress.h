// Says on stderr what is happening: a line when a step takes longer than a second, and how long it took in the end.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace mcpbox::app {

// Steps of under a second are silent unless `verbose`. Lines carry the prefix "mcpbox: ". A detail line (an installer's
// output) is shown when verbose, and otherwise at most once in two seconds so that a person sees that it goes on.
class ProgressPrinter {
 public:
  explicit ProgressPrinter(bool verbose) : verbose_(verbose) {}
  ~ProgressPrinter() { done(); }
  ProgressPrinter(const ProgressPrinter&) = delete;
  ProgressPrinter& operator=(const ProgressPrinter&) = delete;

  void step(std::string_view what);
  void detail(std::string_view line);
  // A line of its own, when verbose.
  void note(std::string_view line);
  // Ends the current step; its time is printed when it was shown.
  void done();

 private:
  using Clock = std::chrono::steady_clock;
  void show();

  bool verbose_;
  std::string what_;
  bool shown_ = false;
  Clock::time_point began_;
  Clock::time_point last_detail_;
};

}  // namespace mcpbox::app
