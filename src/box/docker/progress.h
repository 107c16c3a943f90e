// The stream of JSON lines with which an engine reports a pull, an import or a build. Sans I/O.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "box/docker/lines.h"
#include "box/engine.h"

namespace mcpbox::box {

// Feed it the body in any pieces. Lines above 1 MiB end it with kDataLoss; an error that the engine reports in the
// stream (whose HTTP status said 200) ends it too. Each step of a layer is passed on once, not every byte count of it.
class DockerProgress {
 public:
  explicit DockerProgress(Progress progress) : progress_(std::move(progress)) {}
  Result<void> feed(std::string_view piece);
  Result<void> finish();

 private:
  Result<void> take_line(std::string_view line);
  void say(std::string_view text);

  Progress progress_;
  DockerLines lines_;
  std::map<std::string, std::string> layer_status_;
};

}  // namespace mcpbox::box
