#include "box/stage_writer.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/errno_error.h"
#include "base/text.h"

namespace mcpbox::box {
namespace {

constexpr std::size_t kChunk = 256 * 1024;

Result<void> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail(errno_error(errno, "send a staged tree to the sandbox"));
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

}  // namespace

Result<void> StageWriter::put(std::string_view bytes) {
  if (!out_) return fail(Code::kUnavailable, "send a staged tree to the sandbox: the stream is closed");
  if (!started_) {
    buffer_ = wire::kStageMagic;
    started_ = true;
  }
  Result<void> result;
  if (buffer_.size() + bytes.size() <= kChunk) {
    buffer_ += bytes;
  } else {
    result = write_all(out_.get(), buffer_);
    buffer_.clear();
    if (result) result = write_all(out_.get(), bytes);
  }
  if (!result) out_.reset();
  return result;
}

Result<void> StageWriter::begin(std::string_view path) {
  if (wire::is_stage_path(path)) return {};
  return fail(Code::kInvalidArgument,
              fmt::format("stage '{}': not a plain relative path of at most {} levels and {} bytes",
                          printable(path, 200), wire::kMaxStageDepth, wire::kMaxStagePath));
}

Result<void> StageWriter::directory(std::string_view path) {
  if (auto ok = begin(path); !ok) return ok;
  ++totals_.entries;
  return put(wire::stage_directory(path));
}

Result<void> StageWriter::symlink(std::string_view path, std::string_view target) {
  if (auto ok = begin(path); !ok) return ok;
  if (!wire::is_stage_link(path, target)) {
    return fail(Code::kInvalidArgument, fmt::format("stage link '{}' → '{}': it leads out of the tree, or may",
                                                    printable(path, 200), printable(target, 200)));
  }
  ++totals_.entries;
  return put(wire::stage_link(path, target));
}

Result<void> StageWriter::file(std::string_view path, std::uint64_t size, bool executable, int content) {
  return file(path, size, executable, [&](char* buffer, std::size_t capacity) -> Result<std::size_t> {
    while (true) {
      const ssize_t got = ::read(content, buffer, capacity);
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno != EINTR) return fail(errno_error(errno, fmt::format("read '{}'", printable(path, 200))));
    }
  });
}

Result<void> StageWriter::file(std::string_view path, std::uint64_t size, bool executable, const Read& read) {
  if (auto ok = begin(path); !ok) return ok;
  ++totals_.entries;
  totals_.bytes += size;
  if (auto ok = put(wire::stage_file(path, size, executable)); !ok) return ok;
  std::vector<char> chunk(static_cast<std::size_t>(std::clamp<std::uint64_t>(size, 1, kChunk)));
  std::uint64_t left = size;
  while (left > 0) {
    auto got = read(chunk.data(), static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), left)));
    if (got && *got == 0) {
      got = fail(Code::kAborted,
                 fmt::format("stage '{}': it became shorter while it was read; try again", printable(path, 200)));
    }
    if (!got) {
      out_.reset();  // the promised bytes cannot come any more
      return fail(got.error());
    }
    if (auto ok = put(std::string_view(chunk.data(), *got)); !ok) return ok;
    left -= *got;
  }
  return {};
}

Result<wire::StageTotals> StageWriter::finish() {
  if (auto ok = put(wire::stage_end(totals_)); !ok) return fail(ok.error());
  auto written = write_all(out_.get(), buffer_);
  out_.reset();
  if (!written) return fail(written.error());
  return totals_;
}

}  // namespace mcpbox::box
