// Part of pull.h: takes the server's tree in.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/errno_error.h"
#include "base/text.h"
#include "sys/path_guard.h"
#include "sys/small_file.h"
#include "workspace/denied.h"
#include "workspace/ignore.h"
#include "workspace/pull.h"
#include "workspace/secret_names.h"

namespace mcpbox::workspace {
namespace {

constexpr std::string_view kPullIgnoreFile = ".mcpboxignore";
constexpr std::size_t kMaxRefusedNamed = 200;
constexpr std::size_t kMaxNameBytes = 255;

std::unexpected<Error> senseless(std::string_view path) {
  return fail(Code::kDataLoss, "what the sandbox sent makes no sense at '" + printable(path, 200) + "'");
}

bool is_harmless_name(std::string_view name) {
  if (name.empty() || name.size() > kMaxNameBytes || name == "." || name == ".." || !is_valid_utf8(name)) return false;
  // Nothing with which a name could act on a terminal, or look like another.
  return printable(name, 4 * kMaxNameBytes) == name && name.find('\t') == std::string_view::npos;
}

}  // namespace

const IgnoreRules* PullRules::rules_of(const std::string& directory) {
  auto [found, fresh] = ignore_.try_emplace(directory);
  if (fresh) {
    const std::string path =
        directory.empty() ? std::string(kPullIgnoreFile) : directory + "/" + std::string(kPullIgnoreFile);
    auto file = sys::open_beneath(root_, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, {.cross_mounts = false});
    struct stat status{};
    if (file && ::fstat(file->get(), &status) == 0 && S_ISREG(status.st_mode)) {
      if (auto text = sys::read_all(file->get(), IgnoreRules::kMaxBytes)) found->second.emplace(*text);
    }
  }
  return found->second ? &*found->second : nullptr;
}

std::optional<std::string> PullRules::refuse(const std::string& path, bool is_directory) {
  // Every directory on the way is judged as staging would have judged it.
  for (std::size_t end = path.find('/');; end = path.find('/', end + 1)) {
    const bool last = end == std::string::npos;
    const std::string part = path.substr(0, end);
    const std::string name = part.substr(part.rfind('/') + 1);
    if (!is_harmless_name(name)) return "a name that is no ordinary text";
    if (name == kPullIgnoreFile) return "it decides what the server is shown";
    if (is_credential_name(part)) return "credentials";
    // As directory and as file: `.git` may be either.
    if (ignored_by_default(name)) return "left behind by default";
    bool kept = false;
    for (std::string directory = part;;) {
      const std::size_t slash = directory.rfind('/');
      directory = slash == std::string::npos ? "" : directory.substr(0, slash);
      const IgnoreRules* rules = rules_of(directory);
      const auto decided = rules == nullptr
                               ? std::nullopt
                               : rules->decide(directory.empty() ? std::string_view(part)
                                                                 : std::string_view(part).substr(directory.size() + 1),
                                               !last || is_directory);
      if (decided && *decided) return "ignored by .mcpboxignore";
      kept = kept || decided;
      if (decided || directory.empty()) break;
    }
    if (last && !is_directory && !kept && is_secret_name(name)) return "the name of a key or credential";
    if (last) return std::nullopt;
  }
}

PullReceiver::PullReceiver(const PullTarget& target, const StageManifest& base, int root, std::string spool)
    : target_(target), base_(base), index_(base), rules_(root, target), spool_(std::move(spool)) {
  directories_.emplace("");
}

void PullReceiver::refuse(std::string_view path, std::string reason) {
  ++refused_total_;
  if (refused_.size() < kMaxRefusedNamed) refused_.push_back({std::string(path), std::move(reason)});
}

// False: it stays where it is, and so does all beneath it.
Result<bool> PullReceiver::admit(std::string_view path, std::uint64_t size, bool is_directory) {
  const std::size_t slash = path.rfind('/');
  const std::string_view parent = slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
  if (path.empty() || files_.contains(path) || directories_.contains(path)) return senseless(path);
  if (++entries_ > target_.limits.entries) {
    return fail(Code::kResourceExhausted, "the server has more than " + std::to_string(target_.limits.entries) +
                                              " files and folders in its copy; nothing was brought back");
  }
  if (size > target_.limits.file_bytes) {
    return fail(Code::kResourceExhausted, "'" + printable(path, 200) + "' has " + human_bytes(size) +
                                              ", more than the " + human_bytes(target_.limits.file_bytes) +
                                              " that one file may have; nothing was brought back");
  }
  if (size > target_.limits.bytes - bytes_) {
    return fail(Code::kResourceExhausted, "the server has more than " + human_bytes(target_.limits.bytes) +
                                              " in its copy; nothing was brought back");
  }
  bytes_ += size;
  if (!directories_.contains(parent)) return false;  // beneath what was refused
  const auto depth = static_cast<unsigned>(std::count(path.begin(), path.end(), '/')) + (is_directory ? 1 : 0);
  if (depth > target_.limits.depth) {
    refuse(path, "nested more than " + std::to_string(target_.limits.depth) + " folders deep");
    return false;
  }
  if (auto reason = rules_.refuse(std::string(path), is_directory)) {
    refuse(path, std::move(*reason));
    return false;
  }
  return true;
}

Result<void> PullReceiver::directory(std::string_view path) {
  auto admitted = admit(path, 0, true);
  if (!admitted) return fail(admitted.error());
  if (*admitted) directories_.emplace(path);
  return {};
}

Result<void> PullReceiver::file(std::string_view path, std::uint64_t size, bool executable) {
  auto admitted = admit(path, size, false);
  if (!admitted) return fail(admitted.error());
  now_ = {};
  content_.reset();
  out_.reset();
  if (!*admitted) return {};
  files_.emplace(path);
  now_ = {std::string(path), spool_ + "/" + std::to_string(changed_.size()), "", size, executable};
  out_.reset(::open(now_.spooled.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!out_) return fail(errno_error(errno, "make '" + now_.spooled + "'"));
  content_.emplace();
  return {};
}

Result<void> PullReceiver::data(std::string_view bytes) {
  if (!content_) return {};
  content_->update(bytes);
  auto written = sys::write_all(out_.get(), bytes);
  if (!written) return fail(std::move(written).error().with_context("'" + now_.spooled + "'"));
  return {};
}

Result<void> PullReceiver::file_end() {
  if (!content_) return {};
  if (auto closed = sys::close_written(std::move(out_)); !closed)
    return fail(std::move(closed).error().with_context("'" + now_.spooled + "'"));
  now_.digest = content_->hex();
  content_.reset();
  const StageManifest::Entry* staged = index_.find(now_.path);
  // As it was staged: nothing to bring back. Its place in the spool is taken by the next.
  if (staged != nullptr && staged->kind == StageManifest::Kind::kFile && staged->detail == now_.digest) return {};
  changed_.push_back(std::move(now_));
  return {};
}

Result<void> PullReceiver::link(std::string_view path, std::string_view target) {
  auto admitted = admit(path, 0, false);
  if (!admitted) return fail(admitted.error());
  if (!*admitted) return {};
  const StageManifest::Entry* staged = index_.find(path);
  const bool as_staged = staged != nullptr && staged->kind == StageManifest::Kind::kLink && staged->detail == target;
  if (!as_staged) refuse(path, "links are not brought back");
  return {};
}

std::vector<std::string> PullReceiver::missing() {
  std::vector<std::string> result;
  for (const StageManifest::Entry& entry : base_.entries) {
    if (entry.kind != StageManifest::Kind::kFile || files_.contains(entry.path)) continue;
    if (!rules_.refuse(entry.path)) result.push_back(entry.path);
  }
  return result;
}

}  // namespace mcpbox::workspace
