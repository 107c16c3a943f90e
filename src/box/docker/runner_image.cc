#include "box/docker/runner_image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <filesystem>

#include "base/digest.h"
#include "base/errno_error.h"
#include "base/secrets.h"
#include "base/setting_name.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "net/child_process.h"

extern char** environ;

namespace mcpbox::box {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFiles = 1000;
constexpr std::uint64_t kMaxFileBytes = 16 << 20;
constexpr std::chrono::minutes kBuildTimeout{40};
constexpr std::size_t kTailLines = 12;

Result<std::string> digest_of_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat info{};
  if (!fd || ::fstat(fd.get(), &info) != 0) return fail(errno_error(errno, "open " + printable(path)));
  Sha256 digest;
  std::string buffer(1 << 16, '\0');
  std::uint64_t total = 0;
  while (true) {
    const ssize_t count = ::read(fd.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(errno_error(errno, "read " + printable(path)));
    if (count == 0) return digest.hex();
    total += static_cast<std::uint64_t>(count);
    if (total > kMaxFileBytes) return fail(Code::kResourceExhausted, printable(path) + " is larger than 16 MiB");
    digest.update(std::string_view(buffer).substr(0, static_cast<std::size_t>(count)));
  }
}

bool has_build(const fs::path& dir) {
  return ::access((dir / "build").c_str(), X_OK) == 0;
}

}  // namespace

Result<std::string> find_runner_image_dir() {
  std::vector<fs::path> looked;
  if (const char* given = std::getenv("MCPBOX_IMAGE_DIR"); given != nullptr && *given != '\0') {
    looked.emplace_back(given);
  } else {
    std::error_code error;
    const auto bin = fs::read_symlink("/proc/self/exe", error).parent_path();
    if (error) return fail(Code::kInternal, "the program's own path cannot be read: " + error.message());
    looked.push_back(bin.parent_path() / "share/mcpbox/images/runner");
    looked.push_back(bin.parent_path().parent_path().parent_path() / "images/runner");
  }
  std::vector<std::string> names;
  for (const auto& dir : looked) {
    if (has_build(dir)) return dir.string();
    names.push_back(dir.string());
  }
  return fail(Code::kNotFound, "the runner image's folder was not found (no executable 'build' in " +
                                   join(names, ", ") + "); set MCPBOX_IMAGE_DIR, or name an image with " +
                                   std::string(setting_name("box.image", "--image")));
}

Result<std::string> runner_image_tag(const std::string& dir) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::recursive_directory_iterator at(dir, error), end; !error && at != end; at.increment(error)) {
    if (!at->is_symlink(error) && at->is_regular_file(error))
      names.push_back(at->path().lexically_relative(dir).string());
    if (names.size() > kMaxFiles) return fail(Code::kResourceExhausted, "more than 1,000 files in " + printable(dir));
  }
  if (error) return fail(errno_error(error.value(), "read " + printable(dir)));
  std::ranges::sort(names);
  Sha256 digest;
  for (const auto& name : names) {
    auto content = digest_of_file(dir + "/" + name);
    if (!content) return fail(std::move(content).error());
    digest.update(*content + "  " + name + "\n");
  }
  return "mcpbox-runner:" + digest.hex().substr(0, 12);
}

Task<Result<ImageInfo>> ensure_runner_image(Engine& engine, std::string engine_address, std::string dir,
                                            std::string ca_bundle, Progress progress) {
  auto tag = runner_image_tag(dir);
  if (!tag) co_return fail(std::move(tag).error());
  auto present = co_await engine.image(*tag);
  if (present || present.error().code() != Code::kNotFound) co_return present;

  std::deque<std::string> tail;
  const auto take_line = [&](std::string_view line) {
    auto text = from_outside(line, 500);
    if (progress) progress(text);
    tail.push_back(std::move(text));
    if (tail.size() > kTailLines) tail.pop_front();
  };
  net::ChildOptions child;
  child.argv = {dir + "/build", "--engine", engine_address};
  if (!ca_bundle.empty()) child.argv.insert(child.argv.end(), {"--ca-bundle", ca_bundle});
  // Proxy and package mirror settings reach the build as they would from a shell.
  for (char** entry = environ; *entry != nullptr; ++entry) child.env.emplace_back(*entry);
  child.on_stdout_line = take_line;
  child.on_stderr_line = take_line;
  child.timeout = kBuildTimeout;
  const std::string command = display_command(child.argv);
  auto ended = co_await net::run_child(std::move(child));
  if (!ended) co_return fail(std::move(ended).error().with_context("build the runner image"));
  if (ended->code != 0) {
    std::string message =
        "building the runner image failed (" + command + ": " +
        (ended->signal != 0 ? "signal " + std::to_string(ended->signal) : "exit code " + std::to_string(ended->code)) +
        ")";
    bool disk_full = false;
    for (const auto& line : tail) {
      message += "\n  " + line;
      disk_full =
          disk_full || line.find("No space left on device") != line.npos || line.find("no space left on") != line.npos;
    }
    co_return fail(disk_full ? Code::kResourceExhausted : Code::kFailedPrecondition, std::move(message));
  }
  auto built = co_await engine.image(*tag);
  if (!built) {
    co_return fail(std::move(built).error().with_context("the build ended well, but the engine has no image " + *tag));
  }
  co_return built;
}

}  // namespace mcpbox::box
