// Who is told how a start goes on, and only remembers the phases.
#pragma once

#include <vector>

#include "provision/start_report.h"

namespace mcpbox::test {

struct QuietReport final : provision::StartReport {
  std::vector<provision::Phase> phases;
  void phase(provision::Phase now) override { phases.push_back(now); }
  void progress(std::string_view) override {}
  void note(std::string_view) override {}
};

}  // namespace mcpbox::test
