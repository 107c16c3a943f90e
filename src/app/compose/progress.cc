#include "app/compose/progress.h"

#include "app/output.h"
#include "base/secrets.h"
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
  print_err("mcpbox: {} …\n", what_);
}

void ProgressPrinter::detail(std::string_view line) {
  if (trim(line).empty()) return;  // npm prints such lines
  const auto now = Clock::now();
  if (!verbose_ && now - last_detail_ < std::chrono::seconds(2)) {
    if (now - began_ > std::chrono::seconds(1)) show();
    return;
  }
  last_detail_ = now;
  show();
  print_err("mcpbox:   {}\n", from_outside(trim(line), 160));
}

void ProgressPrinter::note(std::string_view line) {
  if (verbose_) print_err("mcpbox: {}\n", line);
}

void ProgressPrinter::done() {
  if (what_.empty()) return;
  const double ms = std::chrono::duration<double, std::milli>(Clock::now() - began_).count();
  if (shown_ || ms > 1000) print_err("mcpbox: {}: {}\n", what_, human_milliseconds(ms));
  what_.clear();
  shown_ = false;
}

}  // namespace mcpbox::app
