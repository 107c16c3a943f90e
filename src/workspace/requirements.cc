#include "workspace/requirements.h"

#include <algorithm>
#include <set>

#include "base/text.h"
#include "workspace/command.h"
#include "workspace/host_view.h"
#include "workspace/manifest_text.h"
#include "workspace/path_text.h"
#include "workspace/pinned.h"

namespace mcpbox::workspace {
namespace {

constexpr std::size_t kMaxFile = 4 << 20;
constexpr std::size_t kMaxFiles = 64;

class Collector {
 public:
  Collector(Draft& draft, const Site& site) : draft_(draft), site_(site) {}

  std::optional<std::string> collect(const std::string& file, const std::string& included_by);
  bool any_hash = false;
  // Of what is required: that no exact version is named for, neither there nor in a constraint.
  std::vector<std::string> inexact() const;

 private:
  void refuse(const std::string& path, std::string reason) { draft_.refused.push_back({path, std::move(reason)}); }
  std::optional<std::string> local(const RequirementLine& line, const std::string& folder, const std::string& file);

  Draft& draft_;
  const Site& site_;
  const Root* root_ = nullptr;
  std::set<std::string> seen_;
  std::vector<std::string> required_;
  std::set<std::string> exact_;  // names
  bool constraining_ = false;
  std::set<std::string> written_;
};

// A folder or archive of the project itself: where the installer finds it.
std::optional<std::string> Collector::local(const RequirementLine& line, const std::string& folder,
                                            const std::string& file) {
  std::string written = line.target.empty() ? "." : line.target;
  auto real = canonical(written.starts_with('/') ? written : join_path(folder, written));
  if (!real) {
    refuse(written, "'" + file + "' names it and it does not exist");
    return std::nullopt;
  }
  if (!is_beneath(*real, root_->host)) {
    refuse(*real, "'" + file + "' names it and it lies outside of '" + root_->host +
                      "', the folder that goes into the sandbox");
    return std::nullopt;
  }
  std::string source = std::string(kBase) + "/tmp/src";
  add_source(draft_, site_, root_->host, source);
  return join_path(source, relative_to(*real, root_->host)) + line.suffix;
}

std::optional<std::string> Collector::collect(const std::string& file, const std::string& included_by) {
  auto real = canonical(file);
  std::string whence = included_by.empty() ? std::string() : "'" + included_by + "' includes it and ";
  if (!real) {
    refuse(file, whence + "it does not exist");
    return std::nullopt;
  }
  if (root_ == nullptr) root_ = site_.root_of(*real);
  if (root_ == nullptr || !is_beneath(*real, root_->host)) {
    refuse(*real, whence + "it lies in no folder that goes into the sandbox");
    return std::nullopt;
  }
  std::string path = std::string(kBase) + "/tmp/in/" + relative_to(*real, root_->host);
  if (included_by.empty()) written_.insert("-r " + path);
  if (!seen_.insert(*real).second) return path;
  if (seen_.size() > kMaxFiles) {
    refuse(*real, "requirements include more than " + std::to_string(kMaxFiles) + " files");
    return std::nullopt;
  }
  auto text = site_.text(draft_, *real, kMaxFile);
  if (!text) return std::nullopt;
  draft_.plan.manifests.push_back(*real);
  std::string folder = parent_of(*real);
  std::string result;
  for (const RequirementLine& line : parse_requirements(*text)) {
    any_hash |= line.has_hash;
    switch (line.kind) {
      case RequirementLine::Kind::kInclude:
      case RequirementLine::Kind::kConstraint: {
        std::string_view option = line.kind == RequirementLine::Kind::kInclude ? "-r " : "-c ";
        if (line.target.find("://") != std::string::npos) {
          result += std::string(option) + line.target + "\n";
          required_.push_back(line.target);
          draft_.why.push_back("'" + *real + "' includes " + line.target +
                               ", whose content is not part of the environment's hash");
          break;
        }
        const bool outside = constraining_;
        constraining_ = outside || line.kind == RequirementLine::Kind::kConstraint;
        auto included = collect(line.target.starts_with('/') ? line.target : join_path(folder, line.target), *real);
        constraining_ = outside;
        if (!included) return std::nullopt;
        // Once is enough, and a file that includes itself must not send uv round in circles.
        if (!written_.insert(std::string(option) + *included).second) break;
        result += std::string(option) + *included + "\n";
        break;
      }
      case RequirementLine::Kind::kEditable:
      case RequirementLine::Kind::kLocalPath: {
        auto place = local(line, folder, *real);
        if (!place) return std::nullopt;
        if (line.kind == RequirementLine::Kind::kEditable) {
          draft_.why.push_back("'" + line.text +
                               "' is installed as a copy, not editable: the environment is sealed and shared");
        }
        required_.push_back(line.text);
        result += *place + "\n";
        break;
      }
      case RequirementLine::Kind::kPackage:
        if (is_exact_requirement(line.text)) exact_.insert(python_name_of(line.text));
        if (!constraining_) required_.push_back(line.text);
        result += line.text + "\n";
        break;
      case RequirementLine::Kind::kOption:
        result += line.text + "\n";
        break;
    }
  }
  for (const InstallInput& known : draft_.plan.inputs) {
    if (known.path == path) return path;
  }
  draft_.plan.inputs.push_back({path, std::move(result)});
  return path;
}

std::vector<std::string> Collector::inexact() const {
  std::vector<std::string> out;
  for (const std::string& one : required_) {
    if (!is_exact_requirement(one) && !exact_.contains(python_name_of(one))) out.push_back(one);
  }
  return out;
}

}  // namespace

std::optional<CollectedRequirements> collect_requirements(Draft& draft, const Site& site, const std::string& file) {
  Collector collector(draft, site);
  auto path = collector.collect(file, "");
  if (!path) return std::nullopt;
  return CollectedRequirements{*path, collector.any_hash, collector.inexact()};
}

void add_source(Draft& draft, const Site& site, const std::string& host, const std::string& path) {
  for (const InstallSource& known : draft.plan.sources) {
    if (known.path == path) return;
  }
  TreeContents contents;
  auto digest = tree_digest(
      host, site.policy.allowed_roots, {}, nullptr,
      {.denied = site.policy.denied, .home = site.policy.home, .secret_files = site.policy.secret_files}, &contents);
  if (!digest) {
    if (digest.error().code() == Code::kAborted)
      draft.changed = digest.error().message();
    else
      draft.refused.push_back({host, digest.error().message()});
    return;
  }
  draft.plan.sources.push_back({host, path, *digest});
  draft.plan.needs_sources = true;
  draft.fingerprints.push_back("source " + path + " " + *digest);
  draft.contents.insert_or_assign(host, std::move(contents));
}

FolderReader::Within Site::within(const std::string& path) const {
  const Root* root = root_of(path);
  // Nothing outside of the roots is read, so a path there stays in itself and is found to be no file in a folder.
  return root == nullptr ? FolderReader::Within{path} : FolderReader::Within{root->host, root->mode == RootMode::kBind};
}

bool Site::has(Draft& draft, const std::string& folder, std::string_view name) const {
  const std::string path = join_path(folder, name);
  const FolderReader::Look seen = files.look(within(path), path);
  if (seen.kind != FolderReader::Kind::kLeaves) return seen.kind == FolderReader::Kind::kFile;
  const auto told = [&](const Refusal& refusal) { return refusal.path == path; };
  if (std::ranges::none_of(draft.refused, told)) draft.refused.push_back({path, seen.why});
  return false;
}

std::optional<std::string> Site::text(Draft& draft, const std::string& path, std::size_t limit) const {
  auto text = files.text(within(path), path, limit);
  if (text) return std::move(*text);
  // What was there a moment ago is being exchanged: looking again tells more than this does.
  if (text.error().code() == Code::kNotFound)
    draft.changed = text.error().message();
  else
    draft.refused.push_back({path, text.error().message()});
  return std::nullopt;
}

const Root* Site::root_of(const std::string& path) const {
  const Root* best = nullptr;
  for (const Root& root : roots) {
    if (is_beneath(path, root.host) && (best == nullptr || root.host.size() > best->host.size())) best = &root;
  }
  return best;
}

}  // namespace mcpbox::workspace
