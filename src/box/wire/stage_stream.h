// The archive in which a staged tree travels from mcpbox to the unpacker in the sandbox.
//
//   magic "MCPBSTG" and a version byte, then entries, each introduced by a kind byte:
//     1 directory   u16 length, path
//     2 file        u16 length, path, u8 flags (1 = executable), u64 size, content
//     3 link        u16 length, path, u16 length, target
//     4 keep        u16 length, path, u8 flags, u64 size: the file that the previous generation has there, as it is
//     255 end       u64 entries, u64 bytes of content: what the reader must have counted itself; what is
//                   kept has no content
//
// Little endian. Paths are relative; a directory comes before what is in it. Both sides are hostile to each other here:
// the tree is a stranger's, and the unpacker runs next to strangers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mcpbox::box::wire {

constexpr std::string_view kStageMagic{"MCPBSTG\x01", 8};
constexpr std::size_t kMaxStagePath = 4096;
constexpr std::size_t kMaxStageName = 255;
constexpr std::size_t kMaxStageDepth = 64;
constexpr std::uint64_t kMaxStageEntries = 2'000'000;
constexpr std::uint64_t kMaxStageBytes = 1ull << 40;

// Where links of ours may lead: dependencies that were installed apart from the tree ("node_modules"). Read-only there.
constexpr std::string_view kStageEnvironments = "/cache/env/";

// A single component: not empty, not "." or "..", no '/' and no NUL, at most 255 bytes.
bool is_plain_name(std::string_view name);
// Components joined by '/', within the limits above.
bool is_stage_path(std::string_view path);
// A link at `path` that cannot lead out of the tree: relative, and ".." only in front and not more often than `path` is
// deep. (A ".." behind a name could climb out through another link.) Or one into the sealed environments:
// kStageEnvironments and plain names.
bool is_stage_link(std::string_view path, std::string_view target);

struct StageTotals {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  bool operator==(const StageTotals&) const = default;
};

// The bytes that introduce an entry. The caller has checked paths with the functions above.
std::string stage_directory(std::string_view path);
std::string stage_file(std::string_view path, std::uint64_t size, bool executable);
std::string stage_link(std::string_view path, std::string_view target);
std::string stage_keep(std::string_view path, std::uint64_t size, bool executable);
std::string stage_end(const StageTotals& totals);

// What the reader finds. A function that fails ends the reading with that error.
class StageSink {
 public:
  virtual ~StageSink() = default;
  virtual Result<void> directory(std::string_view path) = 0;
  virtual Result<void> file(std::string_view path, std::uint64_t size, bool executable) = 0;
  virtual Result<void> data(std::string_view bytes) = 0;  // of the file that was named last, in order
  virtual Result<void> file_end() = 0;
  virtual Result<void> link(std::string_view path, std::string_view target) = 0;
  // The sink must see for itself that what it has there is a file of this size and kind.
  virtual Result<void> keep(std::string_view path, std::uint64_t size, bool executable) = 0;
};

// Parses the archive from any cut of bytes; holds at most one entry header.
class StageReader {
 public:
  explicit StageReader(StageSink& sink) : sink_(sink) {}
  // kDataLoss for a malformed stream, also for bytes behind the end entry.
  Result<void> feed(std::string_view bytes);
  bool done() const { return done_; }
  const StageTotals& totals() const { return totals_; }

 private:
  // Takes one entry header off `bytes`; 0: more bytes are needed.
  Result<std::size_t> header(std::string_view bytes);
  Result<void> entry(std::uint64_t bytes);

  StageSink& sink_;
  std::string pending_;
  std::uint64_t file_left_ = 0;
  bool in_file_ = false;
  bool magic_ = false;
  bool done_ = false;
  StageTotals totals_;
};

}  // namespace mcpbox::box::wire
