#include "box/wire/stage_stream.h"

#include <algorithm>

#include "box/wire/fields.h"

namespace mcpbox::box::wire {
namespace {

enum class Kind : std::uint8_t { kDirectory = 1, kFile = 2, kLink = 3, kKeep = 4, kEnd = 255 };

constexpr std::size_t kMaxHeader = 1 + 2 + kMaxStagePath + 2 + kMaxStagePath + 16;

std::string start(Kind kind, std::string_view path) {
  Encoder encoder;
  encoder(kind);
  encoder(static_cast<std::uint16_t>(path.size()));
  std::string out = encoder.take();
  out += path;
  return out;
}

std::unexpected<Error> malformed(const char* why) {
  return fail(Code::kDataLoss, std::string("stage stream: ") + why);
}

// Takes numbers and short strings off a header that may still be incomplete.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : bytes_(bytes) {}
  template <class N>
  bool number(N& value) {
    if (bytes_.size() - at_ < sizeof(N)) return false;
    Decoder decoder(bytes_.substr(at_, sizeof(N)));
    decoder(value);
    at_ += sizeof(N);
    return true;
  }
  bool text(std::string_view& value) {
    std::uint16_t length = 0;
    if (!number(length) || bytes_.size() - at_ < length) return false;
    value = bytes_.substr(at_, length);
    at_ += length;
    return true;
  }
  std::size_t used() const { return at_; }

 private:
  std::string_view bytes_;
  std::size_t at_ = 0;
};

}  // namespace

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxStageName && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

bool is_stage_path(std::string_view path) {
  if (path.size() > kMaxStagePath) return false;
  for (std::size_t depth = 1; depth <= kMaxStageDepth; ++depth) {
    const std::size_t slash = path.find('/');
    if (!is_plain_name(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
  return false;
}

bool is_stage_link(std::string_view path, std::string_view target) {
  if (!is_stage_path(path) || target.empty() || target.size() > kMaxStagePath) return false;
  if (target.starts_with(kStageEnvironments)) return is_stage_path(target.substr(kStageEnvironments.size()));
  if (target.front() == '/') return false;
  if (target.find('\0') != std::string_view::npos) return false;
  auto up = std::count(path.begin(), path.end(), '/');
  bool named = false;
  while (!target.empty()) {
    const std::size_t slash = target.find('/');
    const std::string_view part = target.substr(0, slash);
    if (part == "..") {
      if (named || --up < 0) return false;
    } else if (!part.empty() && part != ".") {
      if (part.size() > kMaxStageName) return false;
      named = true;
    }
    target.remove_prefix(slash == std::string_view::npos ? target.size() : slash + 1);
  }
  return true;
}

std::string stage_directory(std::string_view path) {
  return start(Kind::kDirectory, path);
}

std::string stage_file(std::string_view path, std::uint64_t size, bool executable) {
  Encoder encoder;
  encoder(static_cast<std::uint8_t>(executable ? 1 : 0));
  encoder(size);
  return start(Kind::kFile, path) + encoder.take();
}

std::string stage_keep(std::string_view path, std::uint64_t size, bool executable) {
  Encoder encoder;
  encoder(static_cast<std::uint8_t>(executable ? 1 : 0));
  encoder(size);
  return start(Kind::kKeep, path) + encoder.take();
}

std::string stage_link(std::string_view path, std::string_view target) {
  Encoder encoder;
  encoder(static_cast<std::uint16_t>(target.size()));
  std::string out = start(Kind::kLink, path) + encoder.take();
  out += target;
  return out;
}

std::string stage_end(const StageTotals& totals) {
  Encoder encoder;
  encoder(Kind::kEnd);
  encoder(totals.entries);
  encoder(totals.bytes);
  return encoder.take();
}

Result<void> StageReader::entry(std::uint64_t bytes) {
  if (++totals_.entries > kMaxStageEntries) return malformed("too many entries");
  if (bytes > kMaxStageBytes - totals_.bytes) return malformed("too many bytes");
  totals_.bytes += bytes;
  return {};
}

Result<std::size_t> StageReader::header(std::string_view bytes) {
  if (!magic_) {
    const std::size_t have = std::min(bytes.size(), kStageMagic.size());
    if (bytes.substr(0, have) != kStageMagic.substr(0, have)) return malformed("wrong magic or version");
    if (have < kStageMagic.size()) return 0;
    magic_ = true;
    return have;
  }
  Cursor cursor(bytes);
  std::uint8_t kind = 0;
  std::string_view path;
  if (!cursor.number(kind)) return 0;
  if (static_cast<Kind>(kind) == Kind::kEnd) {
    StageTotals said;
    if (!cursor.number(said.entries) || !cursor.number(said.bytes)) return 0;
    if (said != totals_) return malformed("the totals do not fit what came");
    done_ = true;
    return cursor.used();
  }
  if (kind < 1 || kind > 4) return malformed("unknown entry");
  if (!cursor.text(path)) return 0;
  if (!is_stage_path(path)) return malformed("a path is not relative and plain");
  Result<void> result;
  switch (static_cast<Kind>(kind)) {
    case Kind::kDirectory:
      if (auto counted = entry(0); !counted) return fail(counted.error());
      result = sink_.directory(path);
      break;
    case Kind::kLink: {
      std::string_view target;
      if (!cursor.text(target)) return 0;
      if (!is_stage_link(path, target)) return malformed("a link leads out of the tree");
      if (auto counted = entry(0); !counted) return fail(counted.error());
      result = sink_.link(path, target);
      break;
    }
    default: {
      std::uint8_t flags = 0;
      std::uint64_t size = 0;
      if (!cursor.number(flags) || !cursor.number(size)) return 0;
      if (flags > 1) return malformed("unknown file flags");
      if (size > kMaxStageBytes) return malformed("too many bytes");
      const bool content = static_cast<Kind>(kind) == Kind::kFile;
      if (auto counted = entry(content ? size : 0); !counted) return fail(counted.error());
      result = content ? sink_.file(path, size, flags == 1) : sink_.keep(path, size, flags == 1);
      file_left_ = content ? size : 0;
      in_file_ = content;
    }
  }
  if (!result) return fail(result.error());
  return cursor.used();
}

Result<void> StageReader::feed(std::string_view bytes) {
  while (true) {
    if (in_file_) {
      // Content passes through without being kept.
      const auto take = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), file_left_));
      if (take > 0) {
        if (auto written = sink_.data(bytes.substr(0, take)); !written) return written;
        file_left_ -= take;
        bytes.remove_prefix(take);
      }
      if (file_left_ > 0) return {};
      in_file_ = false;
      if (auto ended = sink_.file_end(); !ended) return ended;
    }
    if (done_) return bytes.empty() ? Result<void>{} : Result<void>(malformed("bytes behind the end"));
    if (bytes.empty()) return {};
    if (pending_.empty()) {
      // As a rule a header lies in the input as a whole, and nothing is copied.
      auto used = header(bytes);
      if (!used) return fail(used.error());
      bytes.remove_prefix(*used);
      if (*used > 0) continue;
      if (bytes.size() >= kMaxHeader) return malformed("an entry header is too long");
      pending_ = bytes;
      return {};
    }
    // The header was cut. It is short, so little is copied, and what is behind it stays in the input.
    const std::size_t had = pending_.size();
    pending_ += bytes.substr(0, kMaxHeader - had);
    auto used = header(pending_);
    if (!used) return fail(used.error());
    if (*used == 0) {
      if (pending_.size() >= kMaxHeader) return malformed("an entry header is too long");
      return {};
    }
    bytes.remove_prefix(*used - had);
    pending_.clear();
  }
}

}  // namespace mcpbox::box::wire
