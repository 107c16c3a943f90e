// What the sections of mcpbox.yaml are decoded with: strict scalars, references to secrets, paths, key checks.
//
// No problem names a value that may be secret: it quotes numbers, switches and paths as they stand in the file, never
// what a reference gave, and never the value of an environment variable.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/load.h"
#include "config/yaml_reader.h"

namespace mcpbox::config {

class Decoder {
 public:
  Decoder(std::string file, const Sources& sources, std::vector<Problem>& problems);

  const std::string& file() const { return file_; }
  void problem(const Node& at, std::string what);

  // The entries of a section, or nothing (with a problem) when the node is no map. Unknown keys are reported. An empty
  // section is an empty map.
  class Map {
   public:
    const Node* find(std::string_view key) const;  // nullptr when absent

   private:
    friend class Decoder;
    const Node* node_ = nullptr;
  };
  Map map(const Node& node, std::string_view section, std::string_view path);

  // Each sets `out` when the value is right, and reports a problem that begins with `path` otherwise.
  void text(const Node& node, const std::string& path, std::string& out);  // references resolved, not empty
  void boolean(const Node& node, const std::string& path, bool& out);
  void whole(const Node& node, const std::string& path, std::uint64_t low, std::uint64_t high, std::uint64_t& out);
  void decimal(const Node& node, const std::string& path, double low, double high, double& out);
  // Index of the text in `choices`, which also stand in the problem.
  std::optional<std::size_t> choice(const Node& node, const std::string& path,
                                    std::span<const std::string_view> choices);
  // A list of such, each added to `out`.
  void choices(const Node& node, const std::string& path, std::span<const std::string_view> choices,
               std::vector<std::string>& out);
  void texts(const Node& node, const std::string& path, std::vector<std::string>& out);
  void env(const Node& node, const std::string& path, std::map<std::string, Value>& out);

  enum class Must { kBeDirectory, kBeFile, kNothing };
  // An absolute path: `~/` is HOME, a relative one starts at the file's directory. With kBe… it must exist and comes
  // back canonical.
  void path(const Node& node, const std::string& path, Must must, std::string& out);
  // The same for a PEM file that holds a certificate.
  void certificates(const Node& node, const std::string& path, std::string& out);
  void path_text(const Node& at, const std::string& written, const std::string& path, Must must, std::string& out);
  // The address of an engine that there is (Sources::engine_problem).
  void engine(const Node& node, const std::string& path, std::string& out);

  // What references gave since the last call, for redaction.
  std::vector<Secret> take_secrets();
  // The files of all ${file:…} so far, absolute, as they were written.
  std::vector<std::string> take_secret_files();

  // For what is derived from one.
  void learn(std::string value);

  // While it lives, `${helper:…}` is not asked but noted in `helpers`, and stands for itself. `any` becomes true when
  // there was a reference of any kind.
  class Later {
   public:
    Later(Decoder& decoder, std::set<HelperKey>& helpers, bool& any) : decoder_(decoder), helpers(helpers), any(any) {
      decoder_.later_ = this;
    }
    ~Later() { decoder_.later_ = nullptr; }
    Later(const Later&) = delete;
    Later& operator=(const Later&) = delete;

   private:
    friend class Decoder;
    Decoder& decoder_;
    std::set<HelperKey>& helpers;
    bool& any;
  };

 private:
  bool is_text(const Node& node, const std::string& path);
  bool resolve(const Node& node, const std::string& path, std::string& out, bool& referenced);
  bool resolve_one(const Node& node, const std::string& path, std::string_view reference, std::string& out);
  bool resolve_helper(const Node& node, const std::string& path, std::string_view reference, std::string& out);
  std::string absolute(const Node& node, const std::string& path, std::string written);

  std::string file_;
  std::string directory_;
  const Sources& sources_;
  std::vector<Problem>& problems_;
  std::vector<Secret> secrets_;
  std::vector<std::string> secret_files_;
  Later* later_ = nullptr;
  bool place_ = false;  // a path is read: what is said of the daemon's own places has to name them
};

// True when `path` is `root` or beneath it, component by component. Both canonical.
bool is_beneath(const std::string& path, const std::string& root);

}  // namespace mcpbox::config
