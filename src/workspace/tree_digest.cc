#include "workspace/tree_digest.h"

#include <unistd.h>

#include <array>
#include <memory>

#include "base/errno_error.h"
#include "workspace/path_text.h"

namespace mcpbox::workspace {
namespace {

class DigestSink final : public WalkSink {
 public:
  explicit DigestSink(TreeContents* contents) : contents_(contents) {}
  bool replaces_files() const override { return true; }

  Result<void> directory(std::string_view path) override {
    flush();
    tree_.directory(path);
    return {};
  }
  Result<void> file(std::string_view path, std::uint64_t size, bool executable, int fd) override {
    if (path != pending_path_) flush();
    pending_path_ = path;
    pending_executable_ = executable;
    Sha256 content;
    for (std::uint64_t left = size; left > 0;) {
      ssize_t got = ::read(fd, buffer_->data(), std::min<std::uint64_t>(left, buffer_->size()));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail(errno_error(errno, "read " + std::string(path)));
      if (got == 0) return fail(Code::kAborted, std::string(path) + " shrank while it was read");
      content.update({buffer_->data(), static_cast<std::size_t>(got)});
      left -= static_cast<std::uint64_t>(got);
    }
    pending_digest_ = content.hex();
    return {};
  }
  Result<void> symlink(std::string_view path, std::string_view target) override {
    flush();
    tree_.symlink(path, target);
    if (contents_ != nullptr) contents_->links.insert_or_assign(std::string(path), std::string(target));
    return {};
  }
  std::string finish() {
    flush();
    return tree_.finish();
  }

 private:
  // The last file is kept back until the next entry, because the walk may read it a second time.
  void flush() {
    if (pending_path_.empty()) return;
    tree_.file(pending_path_, pending_executable_, pending_digest_);
    if (contents_ != nullptr) contents_->files.insert_or_assign(pending_path_, pending_digest_);
    pending_path_.clear();
  }

  TreeContents* contents_;
  TreeDigest tree_;
  std::string pending_path_;
  bool pending_executable_ = false;
  std::string pending_digest_;
  std::unique_ptr<std::array<char, 64 * 1024>> buffer_ = std::make_unique<std::array<char, 64 * 1024>>();
};

}  // namespace

void TreeDigest::add(std::string_view kind, std::string_view value) {
  tree_.update(kind);
  tree_.update(std::to_string(value.size()) + ":");
  tree_.update(value);
}

void TreeDigest::directory(std::string_view path) {
  add("d", path);
}

void TreeDigest::file(std::string_view path, bool executable, std::string_view content_sha256) {
  add(executable ? "x" : "f", path);
  add("c", content_sha256);
}

void TreeDigest::symlink(std::string_view path, std::string_view target) {
  add("l", path);
  add("t", target);
}

std::string TreeDigest::finish() {
  return tree_.hex();
}

std::string TreeContents::behind_links(const std::string& path) const {
  std::string at = path;
  for (unsigned hops = 0; hops < 40; ++hops) {
    std::size_t end = at.find('/');
    while (!links.contains(at.substr(0, end)) && end != std::string::npos) end = at.find('/', end + 1);
    const auto link = links.find(at.substr(0, end));
    if (link == links.end()) return at;
    const std::string rest = end == std::string::npos ? "" : at.substr(end);
    at = normalise("/" + join_path(parent_of("/" + link->first), link->second) + rest).substr(1);
  }
  return at;
}

Result<std::string> tree_digest(const std::string& host, const std::vector<std::string>& allowed_roots,
                                const StageLimits& limits, const std::atomic<bool>* stop, const StageRules& rules,
                                TreeContents* contents) {
  DigestSink sink(contents);
  if (auto walked = walk(host, allowed_roots, limits, sink, stop, rules); !walked) return fail(walked.error());
  return sink.finish();
}

}  // namespace mcpbox::workspace
