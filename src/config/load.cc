#include "config/load.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <tuple>

#include "base/secrets.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "config/credential_helper.h"
#include "config/decoder.h"
#include "config/sections.h"
#include "config/yaml_reader.h"

namespace mcpbox::config {
namespace {

constexpr std::size_t kMaxSecretFile = 64u << 10;

// At most limit + 1 bytes of a regular file, so that the caller sees that there were more.
std::expected<std::string, std::string> read_regular(const std::string& path, std::size_t limit) {
  // O_NONBLOCK: a FIFO must not hang us before fstat tells what it is.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return std::unexpected(std::strerror(errno));
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return std::unexpected(std::strerror(errno));
  if (!S_ISREG(status.st_mode))
    return std::unexpected(S_ISDIR(status.st_mode) ? "it is a directory" : "it is not a regular file");
  std::string out;
  char buffer[16384];
  while (out.size() <= limit) {
    const ssize_t got = ::read(fd.get(), buffer, std::min(sizeof buffer, limit + 1 - out.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::unexpected(std::strerror(errno));
    if (got == 0) break;
    out.append(buffer, static_cast<std::size_t>(got));
  }
  return out;
}

std::expected<std::string, std::vector<Problem>> read_configuration(const std::string& file) {
  auto text = read_regular(file, kMaxYamlBytes);
  if (text) return std::move(*text);
  std::string next;
  if (::access(file.c_str(), F_OK) != 0 && errno == ENOENT)
    next = "; docs/configuration.md says how to write one, and `mcpbox run -- COMMAND` needs none";
  return std::unexpected(
      std::vector<Problem>{{file, 0, 0, fmt::format("cannot read the configuration: {}{}", text.error(), next)}});
}

template <typename Decode>
std::expected<Settings, std::vector<Problem>> parse_with(std::string_view text, const std::string& file,
                                                         const Sources& sources, const Decode& decode) {
  std::vector<Problem> problems;
  bool usable = false;
  const Node root = read_yaml(text, file, problems, usable);
  Settings settings;
  settings.file = file;
  if (usable) {
    Decoder decoder(file, sources, problems);
    decode(decoder, root, settings);
  }
  if (problems.empty()) return settings;
  sort_by_place(problems);
  return std::unexpected(std::move(problems));
}

}  // namespace

std::string Problem::text() const {
  if (line == 0) return fmt::format("{}: {}", file, what);
  return fmt::format("{}:{}:{}: {}", file, line, column, what);
}

void sort_by_place(std::vector<Problem>& problems) {
  std::sort(problems.begin(), problems.end(), [](const Problem& a, const Problem& b) {
    return std::tie(a.line, a.column, a.what) < std::tie(b.line, b.column, b.what);
  });
}

const char* Sources::env(const std::string& name) const {
  return std::getenv(name.c_str());
}

std::expected<std::string, std::string> Sources::file(const std::string& path) const {
  auto content = read_regular(path, kMaxSecretFile);
  if (!content) return content;
  if (content->size() > kMaxSecretFile) return std::unexpected("it has more than 64 KiB");
  if (content->ends_with('\n')) content->pop_back();
  if (content->ends_with('\r')) content->pop_back();
  return content;
}

Result<Secret> Sources::helper(const HelperKey& key) const {
  return ask_helper_now(key);
}

Result<void> Sources::has_helper(const HelperKey& key) const {
  auto found = find_helper(key);
  if (!found) return fail(std::move(found).error());
  return {};
}

void Sources::learned(const Secret& secret) const {
  keep_secret(secret);
}

std::string Sources::engine_problem(const std::string& /*address*/) const {
  return {};
}

std::expected<Settings, std::vector<Problem>> parse(std::string_view text, const std::string& file,
                                                    const Sources& sources) {
  return parse_with(text, file, sources, decode_settings);
}

std::expected<Settings, std::vector<Problem>> parse_place(std::string_view text, const std::string& file, Image image,
                                                          const Sources& sources) {
  return parse_with(text, file, sources, [image](Decoder& decoder, const Node& root, Settings& settings) {
    decode_place(decoder, root, image, settings);
  });
}

std::expected<Settings, std::vector<Problem>> load(const std::string& file, const Sources& sources) {
  auto text = read_configuration(file);
  if (!text) return std::unexpected(std::move(text).error());
  return parse(*text, file, sources);
}

std::expected<Settings, std::vector<Problem>> load_place(const std::string& file, Image image, const Sources& sources) {
  auto text = read_configuration(file);
  if (!text) return std::unexpected(std::move(text).error());
  return parse_place(*text, file, image, sources);
}

}  // namespace mcpbox::config
