#include "workspace/stage_manifest.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "base/digest.h"
#include "base/errno_error.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "sys/small_file.h"

namespace mcpbox::workspace {
namespace {

constexpr std::string_view kMagic{"MCPBMAN\x01", 8};
constexpr std::size_t kMaxBytes = 512u << 20;
constexpr std::size_t kDigest = 64;  // hexadecimal

void put_number(std::string& out, std::uint64_t value) {
  for (unsigned shift = 0; shift < 64; shift += 8) out += static_cast<char>(value >> shift & 0xff);
}
void put_text(std::string& out, std::string_view text) {
  put_number(out, text.size());
  out += text;
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  std::uint64_t number() {
    if (bytes_.size() < 8) {
      ok_ = false;
      bytes_ = {};
      return 0;
    }
    std::uint64_t value = 0;
    for (unsigned i = 0; i < 8; ++i) value |= std::uint64_t{static_cast<unsigned char>(bytes_[i])} << (8 * i);
    bytes_.remove_prefix(8);
    return value;
  }
  std::string text() {
    const std::uint64_t size = number();
    if (size > bytes_.size()) {
      ok_ = false;
      return {};
    }
    std::string value(bytes_.substr(0, size));
    bytes_.remove_prefix(size);
    return value;
  }
  bool ok() const { return ok_; }
  std::size_t left() const { return bytes_.size(); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

// On a file system that counts whole seconds only, or two of them, a change is told from the next much later.
std::int64_t coarseness(std::int64_t time_ns) {
  return time_ns % 1'000'000'000 == 0 ? 2'100'000'000 : 50'000'000;
}

}  // namespace

void StageManifest::distrust_changes_since(std::int64_t realtime_ns) {
  for (Entry& entry : entries) {
    if (entry.kind != Kind::kFile) continue;
    if (entry.stamp.ctime_ns + coarseness(entry.stamp.ctime_ns) >= realtime_ns) entry.stamp.ctime_ns = 0;
  }
}

std::string encode_manifest(const StageManifest& manifest) {
  std::string out(kMagic);
  put_text(out, manifest.generation);
  put_text(out, manifest.host);
  put_text(out, manifest.mount);
  put_number(out, (manifest.writable ? 1u : 0u) | (manifest.digests ? 2u : 0u));
  put_number(out, manifest.entries.size());
  for (const StageManifest::Entry& entry : manifest.entries) {
    put_number(out, static_cast<std::uint64_t>(entry.kind));
    put_text(out, entry.path);
    put_text(out, entry.detail);
    if (entry.kind != StageManifest::Kind::kFile) continue;
    const FileStamp& stamp = entry.stamp;
    for (const std::uint64_t value : {stamp.device, stamp.inode, stamp.size, static_cast<std::uint64_t>(stamp.mtime_ns),
                                      static_cast<std::uint64_t>(stamp.ctime_ns), std::uint64_t{stamp.mode}}) {
      put_number(out, value);
    }
  }
  return out + sha256_hex(out);
}

Result<StageManifest> decode_manifest(std::string_view bytes) {
  const auto broken = [] { return fail(Code::kDataLoss, "the record of a staged folder is damaged"); };
  if (!bytes.starts_with(kMagic) || bytes.size() < kMagic.size() + kDigest) return broken();
  const std::string_view body = bytes.substr(0, bytes.size() - kDigest);
  if (sha256_hex(body) != bytes.substr(body.size())) return broken();
  Reader reader(body.substr(kMagic.size()));
  StageManifest manifest;
  manifest.generation = reader.text();
  manifest.host = reader.text();
  manifest.mount = reader.text();
  const std::uint64_t flags = reader.number();
  manifest.writable = (flags & 1) != 0;
  manifest.digests = (flags & 2) != 0;
  const std::uint64_t count = reader.number();
  if (!reader.ok() || flags > 3 || count > reader.left() / 24) return broken();
  manifest.entries.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    StageManifest::Entry entry;
    const std::uint64_t kind = reader.number();
    if (kind < 1 || kind > 3) return broken();
    entry.kind = static_cast<StageManifest::Kind>(kind);
    entry.path = reader.text();
    entry.detail = reader.text();
    if (entry.kind == StageManifest::Kind::kFile) {
      entry.stamp.device = reader.number();
      entry.stamp.inode = reader.number();
      entry.stamp.size = reader.number();
      entry.stamp.mtime_ns = static_cast<std::int64_t>(reader.number());
      entry.stamp.ctime_ns = static_cast<std::int64_t>(reader.number());
      entry.stamp.mode = static_cast<std::uint32_t>(reader.number());
    }
    if (!reader.ok()) return broken();
    manifest.entries.push_back(std::move(entry));
  }
  if (reader.left() != 0) return broken();
  return manifest;
}

Result<StageManifest> load_manifest(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) return fail(errno_error(errno, "open '" + path + "'"));
  auto bytes = sys::read_all(fd.get(), kMaxBytes);
  if (!bytes) return fail(bytes.error().with_context("'" + path + "'"));
  return decode_manifest(*bytes);
}

Result<void> save_manifest(const std::string& path, const StageManifest& manifest) {
  const std::string directory = path.substr(0, path.rfind('/'));
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
    return fail(errno_error(errno, "make '" + directory + "'"));
  return sys::replace_file(path, encode_manifest(manifest));
}

ManifestIndex::ManifestIndex(const StageManifest& manifest) {
  by_path_.reserve(manifest.entries.size());
  for (const StageManifest::Entry& entry : manifest.entries) by_path_.emplace(entry.path, &entry);
}

const StageManifest::Entry* ManifestIndex::find(std::string_view path) const {
  const auto found = by_path_.find(path);
  return found == by_path_.end() ? nullptr : found->second;
}

const StageManifest::Entry* ManifestIndex::same_file(std::string_view path, const FileStamp& stamp) const {
  const StageManifest::Entry* entry = find(path);
  return entry != nullptr && entry->kind == StageManifest::Kind::kFile && entry->stamp == stamp ? entry : nullptr;
}

Result<void> ManifestMatcher::different(std::string_view path) {
  differs_ = true;
  return fail(Code::kAborted, "'" + printable(path) + "' is not as it was");
}

Result<void> ManifestMatcher::expect(StageManifest::Kind kind, std::string_view path, std::string_view detail) {
  if (next_ == manifest_.entries.size()) return different(path);
  const StageManifest::Entry& entry = manifest_.entries[next_];
  if (entry.kind != kind || entry.path != path || entry.detail != detail) return different(path);
  ++next_;
  return {};
}

Result<void> ManifestMatcher::directory(std::string_view path) {
  return expect(StageManifest::Kind::kDirectory, path, "");
}

Result<void> ManifestMatcher::symlink(std::string_view path, std::string_view target) {
  return expect(StageManifest::Kind::kLink, path, target);
}

bool ManifestMatcher::unchanged(std::string_view path, const FileStamp& stamp) {
  if (next_ == manifest_.entries.size()) return false;
  const StageManifest::Entry& entry = manifest_.entries[next_];
  if (entry.kind != StageManifest::Kind::kFile || entry.path != path || entry.stamp != stamp) return false;
  ++next_;
  return true;
}

Result<void> ManifestMatcher::file(std::string_view path, std::uint64_t, bool, int) {
  return different(path);
}

}  // namespace mcpbox::workspace
