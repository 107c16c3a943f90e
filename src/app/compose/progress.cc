#include "app/compose/progress.h"

#include <fmt/core.h>

#include <cstdio>

#include "base/text.h"

namespace mcpbox::app {

void ProgressPrinter::step(std::string_view what) {
  done();
  what_ = what;
  began_ = Clock::now();
  last_detail_ = began_;
  if (verbose_) show();
}

void ProgressPrinter::show() {
  if (shown_ || what_.empty()) return;
  shown_ = true;
  std::fputs(fmt::format("mcpbox: {} …\n", what_).c_str(), stderr);
}

void ProgressPrinter::detail(std::string_view line) {
  const auto now = Clock::now();
  if (!verbose_ && now - last_detail_ < std::chrono::seconds(2)) {
    if (now - began_ > std::chrono::seconds(1)) show();
    return;
  }
  last_detail_ = now;
  show();
  std::fputs(fmt::format("mcpbox:   {}\n", printable(trim(line), 160)).c_str(), stderr);
}

void ProgressPrinter::note(std::string_view line) {
  if (verbose_) std::fputs(fmt::format("mcpbox: {}\n", line).c_str(), stderr);
}

void ProgressPrinter::done() {
  if (what_.empty()) return;
  const double ms = std::chrono::duration<double, std::milli>(Clock::now() - began_).count();
  if (shown_ || ms > 1000) std::fputs(fmt::format("mcpbox: {}: {}\n", what_, human_milliseconds(ms)).c_str(), stderr);
  what_.clear();
  shown_ = false;
}

}  // namespace mcpbox::app
