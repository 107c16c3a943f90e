// Writes the stage stream (wire/stage_stream.h) that mcpbox-init unpacks. Blocking: for a pool thread, never for a
// loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"
#include "box/link/pipe_wait.h"
#include "box/wire/stage_stream.h"

namespace mcpbox::box {

// One archive on one descriptor. A failed write fails every later call the same way; kUnavailable means that the
// unpacker is gone, and its own answer says why; kTimeout that it took nothing any more. Paths are relative, parents
// come first. A path or link that the format refuses is kInvalidArgument and writes nothing, so that the caller can
// skip that entry and go on.
class StageWriter {
 public:
  // Owns `out`, our end of a pipe, and makes it non-blocking; `wait` says how long the unpacker may take nothing.
  StageWriter(UniqueFd out, std::shared_ptr<PipeWait> wait);
  // With two minutes, and nobody to stop it.
  explicit StageWriter(UniqueFd out)
      : StageWriter(std::move(out), std::make_shared<PipeWait>(std::chrono::minutes(2))) {}

  Result<void> directory(std::string_view path);
  // Copies exactly `size` bytes from the current position of `content`; kAborted when it ends earlier: the file
  // changed, and the archive is broken then.
  Result<void> file(std::string_view path, std::uint64_t size, bool executable, int content);
  // As above, with content that `read(buffer, capacity)` yields: 0 is the end.
  using Read = std::function<Result<std::size_t>(char* buffer, std::size_t capacity)>;
  Result<void> file(std::string_view path, std::uint64_t size, bool executable, const Read& read);
  Result<void> symlink(std::string_view path, std::string_view target);
  // The file that the previous generation has at `path` stays; nothing of it is sent.
  Result<void> keep(std::string_view path, std::uint64_t size, bool executable);
  // Writes the end entry and closes the descriptor.
  Result<wire::StageTotals> finish();

 private:
  Result<void> begin(std::string_view path);
  Result<void> flush();
  Result<void> put(std::string_view bytes);

  UniqueFd out_;
  std::shared_ptr<PipeWait> wait_;
  std::string buffer_;  // small entries go out together
  wire::StageTotals totals_;
  bool started_ = false;
};

}  // namespace mcpbox::box
