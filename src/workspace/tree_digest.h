// SHA-256 over names, kinds, executable bits and contents of what walk() hands over. Equal for equal trees wherever
// they lie, and for what a sink made it of while it passed a tree on.
#pragma once

#include <atomic>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "workspace/stage.h"

namespace mcpbox::workspace {

// Fed in the order of a walk. Every field goes in with its length, so that no two trees give one text.
class TreeDigest {
 public:
  void directory(std::string_view path);
  void file(std::string_view path, bool executable, std::string_view content_sha256);  // lower-case hexadecimal
  void symlink(std::string_view path, std::string_view target);
  std::string finish();  // the object must not be used afterwards

 private:
  void add(std::string_view kind, std::string_view value);

  Sha256 tree_;
};

// What a walk handed over, as far as it tells one text from another.
struct TreeContents {
  std::map<std::string, std::string> files;  // path → SHA-256 of the content, lower-case hexadecimal
  std::map<std::string, std::string> links;  // path → target

  // What opens under that name in the tree.
  std::string behind_links(const std::string& path) const;
};

// `contents`, where given, gets what the digest is of.
Result<std::string> tree_digest(const std::string& host, const std::vector<std::string>& allowed_roots,
                                const StageLimits& limits, const std::atomic<bool>* stop = nullptr,
                                const StageRules& rules = {}, TreeContents* contents = nullptr);

}  // namespace mcpbox::workspace
