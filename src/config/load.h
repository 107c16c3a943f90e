// mcpbox.yaml → Settings, strictly: every problem at once, each with its place.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/helper_key.h"
#include "config/settings.h"

namespace mcpbox::config {

struct Problem {
  std::string file;
  int line = 0;      // from 1; 0 = the file as a whole
  int column = 0;    // from 1
  std::string what;  // "unknown key 'comand'; did you mean 'command'?"

  std::string text() const;  // "mcpbox.yaml:12:5: unknown key …"
};

void sort_by_place(std::vector<Problem>& problems);

// What the file refers to: environment variables, files and helpers for references, and the engines that there are.
// Tests pass their own.
struct Sources {
  virtual ~Sources() = default;
  virtual const char* env(const std::string& name) const;  // nullptr when unset
  virtual std::expected<std::string, std::string> file(
      const std::string& path) const;                         // ≤ 64 KiB; one trailing newline goes
  virtual Result<Secret> helper(const HelperKey& key) const;  // config/credential_helper.h; blocks
  virtual Result<void> has_helper(const HelperKey& key) const;
  virtual void learned(const Secret& secret) const;  // what was read and is not to be said: keep_secret()
  // Why this address names no engine that can run servers, for people; empty when it does. Here: always empty.
  virtual std::string engine_problem(const std::string& address) const;
};

// Parses `text` (at most 1 MiB, UTF-8, one document, `version: 1`) as if read from `file`, whose directory is the base
// of relative paths. Problems are sorted by place.
std::expected<Settings, std::vector<Problem>> parse(std::string_view text, const std::string& file,
                                                    const Sources& sources = {});

std::expected<Settings, std::vector<Problem>> load(const std::string& file, const Sources& sources = {});

// Where the daemon of a file and its things are: `daemon` and `engine`, and box.image if it is to be read. Nothing else
// is decoded, so that a secret or a folder that is missing here keeps nobody from ending that daemon.
enum class Image { kLeftOut, kRead };
std::expected<Settings, std::vector<Problem>> parse_place(std::string_view text, const std::string& file, Image image,
                                                          const Sources& sources = {});
std::expected<Settings, std::vector<Problem>> load_place(const std::string& file, Image image,
                                                         const Sources& sources = {});

}  // namespace mcpbox::config
