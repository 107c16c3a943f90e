// Brings what a server changed in its own copy of a folder back to that folder.
//
// The tree that comes is hostile: names, links, sizes and contents are the server's. It is first received as a whole
// into a private folder under names of ours, within limits, then compared, and only then written: beneath the root
// alone, through no link and into no other mount, as plain files of at most 0755, never over anything that is not a
// file. What staging leaves behind is refused here too: ignored names, credentials, denied places, version control and
// what installers make; also `.mcpboxignore` itself, which decides what the server is shown.
//
// Three sides are compared by content: what was staged (the manifest with digests), what the server has, what the host
// has by now. What the server did not change is never touched, whatever the host did with it meanwhile.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "workspace/denied.h"
#include "workspace/ignore.h"
#include "workspace/stage.h"
#include "workspace/stage_manifest.h"

namespace mcpbox::workspace {

struct PullTarget {
  std::string host;  // canonical; where to write
  std::vector<std::string> allowed_roots;
  StageRules rules;
  StageLimits limits;
};

// Why a path is never brought back; nothing when it may be. Reads the ignore files beneath the root as they are on the
// host.
class PullRules {
 public:
  PullRules(int root, const PullTarget& target) : root_(root), denied_(target.rules.denied, target.rules.home) {}
  std::optional<std::string> refuse(const std::string& path, bool is_directory = false);
  const DeniedPlaces& denied() const { return denied_; }

 private:
  const IgnoreRules* rules_of(const std::string& directory);

  int root_;
  DeniedPlaces denied_;
  std::map<std::string, std::optional<IgnoreRules>> ignore_;  // by directory
};

// Takes the server's tree in. Any error means that nothing of it is to be used.
class PullReceiver {
 public:
  // `base`: what was staged; empty when that is not known or does not count. `spool`: an empty private folder of ours.
  PullReceiver(const PullTarget& target, const StageManifest& base, int root, std::string spool);

  Result<void> directory(std::string_view path);
  Result<void> file(std::string_view path, std::uint64_t size, bool executable);
  Result<void> data(std::string_view bytes);
  Result<void> file_end();
  Result<void> link(std::string_view path, std::string_view target);

  struct Received {
    std::string path;
    std::string spooled;  // where its content is
    std::string digest;
    std::uint64_t size = 0;
    bool executable = false;
  };
  struct Refused {
    std::string path;
    std::string reason;
  };
  const std::vector<Received>& changed() const { return changed_; }
  const std::vector<Refused>& refused() const { return refused_; }  // at most 200 named,
  std::uint64_t refused_total() const { return refused_total_; }    // all counted
  // Paths of staged files that the server does not have any more.
  std::vector<std::string> missing();
  PullRules& rules() { return rules_; }

 private:
  Result<bool> admit(std::string_view path, std::uint64_t size, bool is_directory);
  void refuse(std::string_view path, std::string reason);

  const PullTarget& target_;
  const StageManifest& base_;
  ManifestIndex index_;
  PullRules rules_;
  std::string spool_;
  std::set<std::string, std::less<>> directories_;  // that may hold something
  std::set<std::string, std::less<>> files_;
  std::vector<Received> changed_;
  std::vector<Refused> refused_;
  std::uint64_t refused_total_ = 0;
  std::uint64_t entries_ = 0;
  std::uint64_t bytes_ = 0;
  UniqueFd out_;  // -1 while a refused file passes
  std::optional<Sha256> content_;
  Received now_;
};

enum class PullAction { kAdded, kChanged, kDeleted, kConflict, kRefused };
std::string_view name_of(PullAction action);

struct PullItem {
  PullAction action = PullAction::kRefused;
  std::string path;  // relative to the host folder; hostile text
  std::string note;  // why it is a conflict or refused, and where a backup is
  std::uint64_t size = 0;
};

struct PullChoice {
  bool dry_run = false;
  bool force = false;           // write over conflicts too; what was there stays as a backup
  bool delete_missing = false;  // delete what the server deleted
};

struct PullReport {
  std::vector<PullItem> items;
  std::uint64_t refused_total = 0;
  bool applied = false;  // false: a dry run, conflicts without `force`, or an error before that; nothing was written
  StageManifest base;    // as it holds after what was written
};

// Compares what was received with the host, and unless it is a dry run or something conflicts, writes it. After an
// error in the middle every file is either whole or as it was, and report.base knows which: it is to be kept then too.
Result<void> settle_pull(PullReceiver& received, const StageManifest& base, int root, const PullChoice& choice,
                         PullReport& report);

}  // namespace mcpbox::workspace
