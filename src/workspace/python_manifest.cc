// The one file that sees toml++. Its exceptions are off: a parse gives a document or an error.
#include "workspace/python_manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "base/text.h"
#include "workspace/toml_bounds.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#define TOML_MAX_NESTED_VALUES 32
// Some of its assertions do not hold for text that is no TOML ("[ = 1]"), although the code behind them copes: neither
// end the program by them nor, as it does with NDEBUG, tell the compiler that they hold.
#define TOML_ASSERT(expr) static_assert(true)
#pragma push_macro("NDEBUG")
#undef NDEBUG
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

namespace mcpbox::workspace {
namespace {

static_assert(TOML_MAX_NESTED_VALUES == kTomlNesting);

constexpr TomlBounds kManifestBounds{};
constexpr TomlBounds kLockBounds{.max_bytes = 16u << 20, .max_tokens = 1'000'000};

std::unexpected<Error> wrong(const toml::source_region& where, std::string_view why) {
  return fail(Code::kDataLoss, fmt::format("line {}: {}", where.begin.line, printable(why, 300)));
}

Result<toml::table> parse(std::string_view text, const TomlBounds& bounds) {
  if (auto fits = check_toml_bounds(text, bounds); !fits) return fail(std::move(fits).error());
  toml::parse_result parsed = toml::parse(text);
  if (!parsed) return wrong(parsed.error().source(), parsed.error().description());
  return std::move(parsed).table();
}

// Each becomes a line of a requirements file: a second line in it would be an option to the installer.
bool is_one_line(std::string_view text) {
  return std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

Result<std::vector<std::string>> strings_of(const toml::node& node, std::string_view name) {
  const toml::array* array = node.as_array();
  if (array == nullptr) return wrong(node.source(), fmt::format("{} is no array", name));
  std::vector<std::string> out;
  for (const toml::node& item : *array) {
    const auto text = item.value<std::string_view>();
    if (!text || !is_one_line(*text))
      return wrong(item.source(), fmt::format("{} has an entry that is no text of one line", name));
    out.emplace_back(*text);
  }
  return out;
}

bool is_table(const toml::node_view<const toml::node>& node) {
  return node.is_table();
}

// One source of a dependency: a table, or an array of them with markers.
bool is_local_source(const toml::node& source) {
  if (const toml::table* table = source.as_table()) return table->contains("path") || table->contains("workspace");
  const toml::array* several = source.as_array();
  return several != nullptr &&
         std::ranges::any_of(*several, [](const toml::node& one) { return one.is_table() && is_local_source(one); });
}

constexpr std::string_view kFolderKeys[] = {"editable", "directory", "path", "virtual"};

// Can names_folder() be true of this text at all? Parsing 150 KiB takes 10 ms at every start, and most locks name only
// the project itself. Without a backslash each key stands there as it is spelled.
bool has_word_of_folders(std::string_view lock) {
  if (lock.find('\\') != std::string_view::npos) return true;
  return std::ranges::any_of(kFolderKeys, [&](std::string_view key) {
    for (std::size_t at = lock.find(key); at != std::string_view::npos; at = lock.find(key, at + 1)) {
      if (!lock.substr(at + key.size()).starts_with(" = \".\" }")) return true;
    }
    return false;
  });
}

bool names_folder(const toml::node& node) {
  if (const toml::array* array = node.as_array()) return std::ranges::any_of(*array, names_folder);
  const toml::table* table = node.as_table();
  if (table == nullptr) return false;
  return std::ranges::any_of(*table, [](const auto& entry) {
    const auto& [key, value] = entry;
    const bool local = std::ranges::find(kFolderKeys, key.str()) != std::end(kFolderKeys);
    return (local && value.is_string() && value.template value_or<std::string_view>("") != ".") || names_folder(value);
  });
}

// What PEP 508 and PEP 440 have in a name and a version; anything else would not stay in its line.
bool is_word(std::string_view text) {
  return !text.empty() && text.front() != '-' && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_' || c == '+' || c == '!';
  });
}

}  // namespace

Result<ProjectFacts> read_project(std::string_view text) {
  const auto parsed = parse(text, kManifestBounds);
  if (!parsed) return fail(parsed.error());
  const toml::table& document = *parsed;
  const toml::table* project = document["project"].as_table();
  const toml::table& basis = project != nullptr ? *project : document;  // PEP 723 has the same keys at the top

  ProjectFacts facts;
  facts.has_project = project != nullptr;
  facts.has_build_system = is_table(document["build-system"]);
  facts.has_poetry = is_table(document["tool"]["poetry"]);
  facts.has_workspace = is_table(document["tool"]["uv"]["workspace"]);
  facts.no_package =
      !document["tool"]["uv"]["package"].value_or(true) || !document["tool"]["poetry"]["package-mode"].value_or(true);
  facts.requires_python = basis["requires-python"].value_or(std::string());
  if (const toml::node* dependencies = basis.get("dependencies")) {
    auto read = strings_of(*dependencies, "dependencies");
    if (!read) return fail(std::move(read).error());
    facts.dependencies = std::move(*read);
  }
  if (const toml::node* dynamic = project != nullptr ? project->get("dynamic") : nullptr) {
    const auto read = strings_of(*dynamic, "dynamic");
    if (!read) return fail(read.error());
    facts.dynamic_dependencies = std::ranges::find(*read, "dependencies") != read->end();
  }
  if (const toml::table* sources = document["tool"]["uv"]["sources"].as_table()) {
    facts.has_local_sources =
        std::ranges::any_of(*sources, [](const auto& entry) { return is_local_source(entry.second); });
  }
  return facts;
}

Result<std::vector<std::string>> poetry_pins(std::string_view lock) {
  const auto parsed = parse(lock, kLockBounds);
  if (!parsed) return fail(parsed.error());
  std::map<std::string, std::string> pins;
  std::map<std::string, int> seen;
  const toml::array* packages = (*parsed)["package"].as_array();
  for (std::size_t i = 0; packages != nullptr && i < packages->size(); ++i) {
    const toml::table* package = packages->get(i)->as_table();
    if (package == nullptr) continue;
    const auto name = (*package)["name"].value_or(std::string());
    const auto version = (*package)["version"].value_or(std::string());
    if (name.empty()) continue;
    ++seen[name];
    // From a repository, a folder or a URL a version says nothing.
    const std::string_view type = (*package)["source"]["type"].value_or(std::string_view("pypi"));
    if (version.empty() || (type != "legacy" && type != "pypi")) continue;
    if (!is_word(name) || !is_word(version)) return wrong(package->source(), "a package has no name or version");
    pins[name] = version;
  }
  std::vector<std::string> result;
  for (const auto& [name, version] : pins) {
    if (seen[name] == 1) result.push_back(name + "==" + version);
  }
  return result;
}

Result<bool> lock_names_folders(std::string_view lock) {
  if (!has_word_of_folders(lock)) return false;
  const auto parsed = parse(lock, kLockBounds);
  if (!parsed) return fail(parsed.error());
  return names_folder(*parsed);
}

}  // namespace mcpbox::workspace
