// Part of stage.h: the digest of a tree.
#include <unistd.h>

#include <array>
#include <memory>

#include "base/digest.h"
#include "base/errno_error.h"
#include "workspace/stage.h"

namespace mcpbox::workspace {
namespace {

// Every field goes in with its length, so that no two trees give one text.
class DigestSink final : public WalkSink {
 public:
  bool replaces_files() const override { return true; }

  Result<void> directory(std::string_view path) override {
    flush();
    add("d", path);
    return {};
  }
  Result<void> file(std::string_view path, std::uint64_t size, bool executable, int fd) override {
    if (path != pending_path_) flush();
    pending_path_ = path;
    pending_kind_ = executable ? "x" : "f";
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
    add("l", path);
    add("t", target);
    return {};
  }
  std::string finish() {
    flush();
    return tree_.hex();
  }

 private:
  void add(std::string_view kind, std::string_view value) {
    tree_.update(kind);
    tree_.update(std::to_string(value.size()) + ":");
    tree_.update(value);
  }
  // The last file is kept back until the next entry, because the walk may read it a second time.
  void flush() {
    if (pending_path_.empty()) return;
    add(pending_kind_, pending_path_);
    add("c", pending_digest_);
    pending_path_.clear();
  }

  Sha256 tree_;
  std::string pending_path_;
  std::string pending_kind_;
  std::string pending_digest_;
  std::unique_ptr<std::array<char, 64 * 1024>> buffer_ = std::make_unique<std::array<char, 64 * 1024>>();
};

}  // namespace

Result<std::string> tree_digest(const std::string& host, const std::vector<std::string>& allowed_roots,
                                const StageLimits& limits, const std::atomic<bool>* stop, const StageRules& rules) {
  DigestSink sink;
  if (auto walked = walk(host, allowed_roots, limits, sink, stop, rules); !walked) return fail(walked.error());
  return sink.finish();
}

}  // namespace mcpbox::workspace
