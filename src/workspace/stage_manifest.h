// What a staged copy was made of: for every entry enough to tell whether the host's file was touched since.
//
// Kept on the host by whoever stages, never in the sandbox. It says what a generation of the copy holds, so it is worth
// something only together with proof that this generation is still the one that is there (`generation`).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "workspace/stage.h"

namespace mcpbox::workspace {

struct StageManifest {
  enum class Kind : std::uint8_t { kDirectory = 1, kFile = 2, kLink = 3 };
  struct Entry {
    Kind kind = Kind::kFile;
    std::string path;
    FileStamp stamp;     // of a file; of another kind all zero
    std::string detail;  // a link's target; a file's SHA-256 (32 bytes) where `digests`
    bool operator==(const Entry&) const = default;
  };

  std::string generation;      // names the copy; a new one for every copy
  std::string host;            // the folder that was copied
  std::string mount;           // where the copy is in the sandbox
  bool writable = false;       // the server may have changed the copy
  bool digests = false;        // files have their content's digest
  std::vector<Entry> entries;  // in the order in which they were copied

  bool operator==(const StageManifest&) const = default;

  // A file that was changed so shortly before it was read that it may have been changed again without any of its times
  // telling (the clock of file times is coarse) is never taken for unchanged. To be called with the time at which the
  // walk began.
  void distrust_changes_since(std::int64_t realtime_ns);
};

// One file, with a checksum: what is cut short or altered is kDataLoss, and then everything is staged again.
std::string encode_manifest(const StageManifest& manifest);
Result<StageManifest> decode_manifest(std::string_view bytes);

// kNotFound when there is none. At most 512 MiB are read.
Result<StageManifest> load_manifest(const std::string& path);
// Replaces the file by rename; makes its directory (0700).
Result<void> save_manifest(const std::string& path, const StageManifest& manifest);

// Finds files of a manifest by path. Refers to the manifest.
class ManifestIndex {
 public:
  explicit ManifestIndex(const StageManifest& manifest);
  // The entry, or nullptr.
  const StageManifest::Entry* find(std::string_view path) const;
  // Is it the file as it was?
  const StageManifest::Entry* same_file(std::string_view path, const FileStamp& stamp) const;

 private:
  std::unordered_map<std::string_view, const StageManifest::Entry*> by_path_;
};

// Walks along a manifest, reading no file, until something is different. The walk then ends with an error and
// differs() is true; after a walk that ended well, finished() tells whether anything is missing.
class ManifestMatcher final : public WalkSink {
 public:
  explicit ManifestMatcher(const StageManifest& manifest) : manifest_(manifest) {}
  Result<void> directory(std::string_view path) override;
  bool unchanged(std::string_view path, const FileStamp& stamp) override;
  Result<void> file(std::string_view path, std::uint64_t size, bool executable, int fd) override;
  Result<void> symlink(std::string_view path, std::string_view target) override;

  bool differs() const { return differs_; }
  bool finished() const { return !differs_ && next_ == manifest_.entries.size(); }

 private:
  Result<void> expect(StageManifest::Kind kind, std::string_view path, std::string_view detail);
  Result<void> different(std::string_view path);

  const StageManifest& manifest_;
  std::size_t next_ = 0;
  bool differs_ = false;
};

}  // namespace mcpbox::workspace
