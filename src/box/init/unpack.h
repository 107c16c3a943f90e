// Unpacks a stage stream (box/wire/stage_stream.h) as the server's uid, confined to the destination.
#pragma once

#include <string_view>

#include "base/unique_fd.h"
#include "box/init/roots.h"
#include "box/init/run_as.h"
#include "box/wire/stage_stream.h"

namespace mcpbox::box::init {

// Writes entries below a directory: files 0600 or 0700, directories 0700, nothing is ever followed or overwritten.
class TreeWriter final : public wire::StageSink {
 public:
  explicit TreeWriter(int directory) : directory_(directory) {}
  Result<void> directory(std::string_view path) override;
  Result<void> file(std::string_view path, std::uint64_t size, bool executable) override;
  Result<void> data(std::string_view bytes) override;
  Result<void> file_end() override;
  Result<void> link(std::string_view path, std::string_view target) override;

 private:
  // The directory that holds `path`, and the last name in it; -1 and errno.
  int parent_of(std::string_view path, std::string& name);

  int directory_;
  std::string cached_path_;  // the entries of one directory come together
  UniqueFd cached_;
  UniqueFd file_;
  std::string file_path_;
  std::uint64_t offset_ = 0;
  bool executable_ = false;
};

// In a helper, as root. What was unpacked before a failure is removed. The bytes of the answer are an UnpackReply.
Op<std::string> unpack(const Roots& roots, const wire::Unpack& request, int stream, Clock::time_point deadline);

}  // namespace mcpbox::box::init
