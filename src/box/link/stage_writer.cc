#include "box/link/stage_writer.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/errno_error.h"
#include "base/text.h"

namespace mcpbox::box {
namespace {

constexpr std::size_t kChunk = 256 * 1024;

constexpr std::string_view kWhat = "send a staged tree to the sandbox";

}  // namespace

StageWriter::StageWriter(UniqueFd out, std::shared_ptr<PipeWait> wait) : out_(std::move(out)), wait_(std::move(wait)) {
  ::fcntl(out_.get(), F_SETFL, O_NONBLOCK);
}

Result<void> StageWriter::flush() {
  auto result = wait_->write_all(out_.get(), buffer_, kWhat);
  buffer_.clear();
  if (!result) out_.reset();
  return result;
}

Result<void> StageWriter::put(std::string_view bytes) {
  if (!out_) return fail(Code::kUnavailable, "send a staged tree to the sandbox: the stream is closed");
  if (!started_) {
    buffer_.reserve(kChunk);
    buffer_ = wire::kStageMagic;
    started_ = true;
  }
  if (buffer_.size() + bytes.size() > kChunk) {
    if (auto flushed = flush(); !flushed) return flushed;
  }
  buffer_ += bytes;
  return {};
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

Result<void> StageWriter::keep(std::string_view path, std::uint64_t size, bool executable) {
  if (auto ok = begin(path); !ok) return ok;
  ++totals_.entries;
  return put(wire::stage_keep(path, size, executable));
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
  for (std::uint64_t left = size; left > 0;) {
    if (kChunk - std::min(kChunk, buffer_.size()) < std::min<std::uint64_t>(left, kChunk / 4)) {
      if (auto ok = flush(); !ok) return ok;
    }
    // Content goes straight to where it is sent from.
    const std::size_t had = buffer_.size();
    const auto room = static_cast<std::size_t>(std::min<std::uint64_t>(left, kChunk - had));
    Result<std::size_t> got = 0;
    buffer_.resize_and_overwrite(had + room, [&](char* bytes, std::size_t) {
      got = read(bytes + had, room);
      return had + (got ? *got : 0);
    });
    if (got && *got == 0) {
      got = fail(Code::kAborted,
                 fmt::format("stage '{}': it became shorter while it was read; try again", printable(path, 200)));
    }
    if (!got) {
      out_.reset();  // the promised bytes cannot come any more
      return fail(got.error());
    }
    left -= *got;
  }
  return {};
}

Result<wire::StageTotals> StageWriter::finish() {
  if (auto ok = put(wire::stage_end(totals_)); !ok) return fail(ok.error());
  auto written = wait_->write_all(out_.get(), buffer_, kWhat);
  out_.reset();
  if (!written) return fail(written.error());
  return totals_;
}

}  // namespace mcpbox::box
