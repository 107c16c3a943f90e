#include "config/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <utility>

#include "base/text.h"
#include "config/credential_helper.h"
#include "config/keys.h"
#include "config/units.h"
#include "sys/pem_file.h"

namespace mcpbox::config {
namespace fs = std::filesystem;
namespace {

std::string_view kind_name(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull:
      return "nothing";
    case Node::Kind::kScalar:
      return "a single value";
    case Node::Kind::kSequence:
      return "a list";
    case Node::Kind::kMap:
      return "a mapping";
  }
  return "nothing";
}

// What to write in place of 512m or 30s, where the key says the unit.
std::string without_unit(std::string_view path, std::string_view text, std::uint64_t low, std::uint64_t high) {
  const bool size = path.ends_with("_mb");
  const auto number = size ? mebibytes(text) : path.ends_with("_sec") ? seconds(text) : std::nullopt;
  if (!number || *number < low || *number > high) return "";
  return fmt::format("; it counts {}: write {}", size ? "MiB" : "seconds", *number);
}

}  // namespace

Decoder::Decoder(std::string file, const Sources& sources, std::vector<Problem>& problems)
    : file_(std::move(file)), sources_(sources), problems_(problems) {
  std::error_code ignored;
  directory_ = fs::absolute(fs::path(file_), ignored).parent_path().string();
}

void Decoder::problem(const Node& at, std::string what) {
  problems_.push_back({file_, at.line, at.column, std::move(what)});
}

const Node* Decoder::Map::find(std::string_view key) const {
  if (node_ == nullptr) return nullptr;
  for (const auto& [name, value] : node_->entries) {
    if (name.text == key) return &value;
  }
  return nullptr;
}

Decoder::Map Decoder::map(const Node& node, std::string_view section, std::string_view path) {
  Map map;
  if (node.kind == Node::Kind::kNull) return map;
  if (node.kind != Node::Kind::kMap) {
    problem(node, fmt::format("{}: expected 'key: value' lines, found {}", path, kind_name(node)));
    return map;
  }
  map.node_ = &node;
  const auto keys = keys_of(section);
  for (const auto& [key, value] : node.entries) {
    if (std::find(keys.begin(), keys.end(), key.text) != keys.end()) continue;
    const std::string name = printable(key.text, 60);
    const std::string_view near = nearest(key.text, keys);
    if (const std::string_view hint = hint_for(section, key.text); !hint.empty()) {
      problem(key, fmt::format("unknown key '{}'; {}", name, hint));
    } else if (const std::string places = places_of(key.text); !places.empty()) {
      problem(key, fmt::format("unknown key '{}'; it belongs {}", name, places));
    } else if (!near.empty()) {
      problem(key, fmt::format("unknown key '{}'; did you mean '{}'?", name, near));
    } else {
      problem(key, fmt::format("unknown key '{}'; known here: {}", name, fmt::join(keys.begin(), keys.end(), ", ")));
    }
  }
  return map;
}

bool Decoder::is_text(const Node& node, const std::string& path) {
  if (node.kind == Node::Kind::kScalar) return true;
  const char* const advice = node.kind == Node::Kind::kNull ? "; give it a value or remove the key" : "";
  problem(node, fmt::format("{}: expected text, found {}{}", path, kind_name(node), advice));
  return false;
}

// ---- references

bool Decoder::resolve_one(const Node& node, const std::string& path, std::string_view reference, std::string& out) {
  if (reference.starts_with("env:")) {
    const std::string name(reference.substr(4));
    if (!is_variable_name(name)) {
      problem(node, fmt::format("{}: '{}' is no name of an environment variable", path, printable(name, 60)));
      return false;
    }
    const char* const value = sources_.env(name);
    if (value == nullptr) {
      problem(node,
              fmt::format("{}: the environment variable '{}' is not set; export it before mcpbox starts", path, name));
      return false;
    }
    out += value;
    if (!is_harmless_variable(name)) learn(value);
    return true;
  }
  if (reference.starts_with("file:")) {
    const std::string name = absolute(node, path, std::string(reference.substr(5)));
    if (name.empty()) return false;
    secret_files_.push_back(name);
    auto content = sources_.file(name);
    if (!content) {
      problem(node, fmt::format("{}: cannot read '{}': {}", path, printable(name, 300), content.error()));
      return false;
    }
    if (content->find('\0') != std::string::npos) {
      problem(node, fmt::format("{}: '{}' holds a NUL byte; it is no text", path, printable(name, 300)));
      return false;
    }
    out += *content;
    learn(*std::move(content));
    return true;
  }
  if (reference.starts_with("helper:")) return resolve_helper(node, path, reference, out);
  problem(node, fmt::format("{}: '${{{}}}' is no reference; write ${{env:NAME}}, ${{file:PATH}} or "
                            "${{helper:NAME:KEY}}, or $$ for a dollar sign",
                            path, printable(reference, 60)));
  return false;
}

bool Decoder::resolve_helper(const Node& node, const std::string& path, std::string_view reference, std::string& out) {
  const auto wrong = [&](const Error& error) {
    problem(node, fmt::format("{}: '${{{}}}': {}", path, printable(reference, 100), error.message()));
    return false;
  };
  const auto key = parse_helper(reference.substr(std::string_view("helper:").size()));
  if (!key) return wrong(key.error());
  if (later_ != nullptr) {
    if (const auto there = sources_.has_helper(*key); !there) return wrong(there.error());
    later_->helpers.insert(*key);
    out += fmt::format("${{{}}}", reference);
    return true;
  }
  auto secret = sources_.helper(*key);
  if (!secret) return wrong(secret.error());
  out += secret->reveal();
  learn(std::string(secret->reveal()));
  return true;
}

void Decoder::learn(std::string value) {
  secrets_.emplace_back(std::move(value));
  if (!place_) sources_.learned(secrets_.back());
}

bool Decoder::resolve(const Node& node, const std::string& path, std::string& out, bool& referenced) {
  const std::string_view text = node.text;
  bool good = true;
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    if (rest.starts_with("$$")) {
      out += '$';
      at += 2;
    } else if (rest.starts_with("${")) {
      const std::size_t end = rest.find('}');
      if (end == std::string_view::npos) {
        problem(node, fmt::format("{}: '${{' without '}}'; write $$ for a dollar sign", path));
        return false;
      }
      referenced = true;
      if (later_ != nullptr) later_->any = true;
      good = resolve_one(node, path, rest.substr(2, end - 2), out) && good;
      at += end + 1;
    } else {
      out += rest.front();
      ++at;
    }
  }
  if (good && out.find('\0') != std::string::npos) {
    problem(node, fmt::format("{}: a NUL character is not possible here", path));
    return false;
  }
  return good;
}

void Decoder::engine(const Node& node, const std::string& path, std::string& out) {
  std::string address;
  text(node, path, address);
  if (address.empty()) return;
  if (const std::string why = sources_.engine_problem(address); !why.empty()) {
    problem(node, fmt::format("{}: {}, not '{}'", path, why, printable(node.text, 100)));
  } else {
    out = std::move(address);
  }
}

std::vector<Secret> Decoder::take_secrets() {
  return std::exchange(secrets_, {});
}

std::vector<std::string> Decoder::take_secret_files() {
  return std::exchange(secret_files_, {});
}

// ---- scalars

void Decoder::text(const Node& node, const std::string& path, std::string& out) {
  std::string value;
  bool referenced = false;
  if (!is_text(node, path) || !resolve(node, path, value, referenced)) return;
  if (value.empty()) {
    problem(node, fmt::format("{}: must not be empty", path));
    return;
  }
  out = std::move(value);
}

void Decoder::boolean(const Node& node, const std::string& path, bool& out) {
  if (node.kind == Node::Kind::kScalar && node.plain && (node.text == "true" || node.text == "false")) {
    out = node.text == "true";
  } else if (node.kind == Node::Kind::kScalar) {
    problem(node, fmt::format("{}: expected true or false{}, not '{}'", path, node.plain ? "" : " without quotes",
                              printable(node.text, 40)));
  } else {
    problem(node, fmt::format("{}: expected true or false, found {}", path, kind_name(node)));
  }
}

void Decoder::whole(const Node& node, const std::string& path, std::uint64_t low, std::uint64_t high,
                    std::uint64_t& out) {
  std::uint64_t value = 0;
  const std::string& text = node.text;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  // 010 would be 8 in YAML 1.1 and 10 in 1.2: refused.
  const bool plain = node.kind == Node::Kind::kScalar && node.plain && !(text.size() > 1 && text.front() == '0');
  if (plain && error == std::errc{} && end == text.data() + text.size() && value >= low && value <= high) {
    out = value;
    return;
  }
  const std::string found = node.kind == Node::Kind::kScalar ? fmt::format("not '{}'", printable(text, 40))
                                                             : fmt::format("found {}", kind_name(node));
  problem(node, fmt::format("{}: expected a whole number from {} to {}, {}{}", path, low, high, found,
                            without_unit(path, text, low, high)));
}

void Decoder::decimal(const Node& node, const std::string& path, double low, double high, double& out) {
  const std::string& text = node.text;
  const bool shaped = node.kind == Node::Kind::kScalar && node.plain && !text.empty() && text.size() < 20 &&
                      text.front() != '.' && text.find_first_not_of("0123456789.") == std::string::npos &&
                      std::count(text.begin(), text.end(), '.') <= 1;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (shaped && error == std::errc{} && end == text.data() + text.size() && value >= low && value <= high) {
    out = value;
    return;
  }
  const std::string found = node.kind == Node::Kind::kScalar ? fmt::format("not '{}'", printable(text, 40))
                                                             : fmt::format("found {}", kind_name(node));
  problem(node, fmt::format("{}: expected a number from {} to {}, {}", path, low, high, found));
}

std::optional<std::size_t> Decoder::choice(const Node& node, const std::string& path,
                                           std::span<const std::string_view> choices) {
  if (node.kind == Node::Kind::kScalar) {
    const auto found = std::find(choices.begin(), choices.end(), node.text);
    if (found != choices.end()) return static_cast<std::size_t>(found - choices.begin());
  }
  const std::string what = node.kind == Node::Kind::kScalar ? fmt::format("not '{}'", printable(node.text, 40))
                                                            : fmt::format("found {}", kind_name(node));
  problem(node, fmt::format("{}: expected {}, {}", path, fmt::join(choices.begin(), choices.end(), " or "), what));
  return std::nullopt;
}

void Decoder::choices(const Node& node, const std::string& path, std::span<const std::string_view> choices,
                      std::vector<std::string>& out) {
  if (node.kind == Node::Kind::kNull) return;
  if (node.kind != Node::Kind::kSequence) {
    problem(node, fmt::format("{}: expected a list ('- item' lines or [a, b]), found {}", path, kind_name(node)));
    return;
  }
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    if (const auto index = choice(node.items[i], fmt::format("{}[{}]", path, i), choices))
      out.emplace_back(choices[*index]);
  }
}

void Decoder::texts(const Node& node, const std::string& path, std::vector<std::string>& out) {
  if (node.kind == Node::Kind::kNull) return;
  if (node.kind != Node::Kind::kSequence) {
    problem(node, fmt::format("{}: expected a list ('- item' lines or [a, b]), found {}", path, kind_name(node)));
    return;
  }
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    const std::string item = fmt::format("{}[{}]", path, i);
    std::string value;
    bool referenced = false;
    if (is_text(node.items[i], item) && resolve(node.items[i], item, value, referenced))
      out.push_back(std::move(value));
  }
}

void Decoder::env(const Node& node, const std::string& path, std::map<std::string, Value>& out) {
  if (node.kind == Node::Kind::kNull) return;
  if (node.kind != Node::Kind::kMap) {
    problem(node, fmt::format("{}: expected 'NAME: value' lines, found {}", path, kind_name(node)));
    return;
  }
  for (const auto& [key, value] : node.entries) {
    const std::string name = fmt::format("{}.{}", path, printable(key.text, 60));
    if (!is_variable_name(key.text)) {
      problem(key, fmt::format("{}: no name for an environment variable (letters, digits and _)", name));
      continue;
    }
    std::string text;
    bool referenced = false;
    const std::size_t before = secrets_.size();
    if (!is_text(value, name) || !resolve(value, name, text, referenced)) continue;
    Value& entry = out[key.text];
    const bool learned = secrets_.size() > before;  // not of ${env:HOME}
    const bool awaited = referenced && text.contains("${helper:");
    entry.secret = learned || awaited || is_secret_variable(key.text, text);
    entry.text = Secret(std::move(text));
    if (entry.secret && !learned && !awaited) sources_.learned(entry.text);
  }
}

// ---- paths

std::string Decoder::absolute(const Node& node, const std::string& path, std::string written) {
  if (written == "~" || written.starts_with("~/")) {
    const char* const home = sources_.env("HOME");
    if (home == nullptr || *home != '/') {
      problem(node, fmt::format("{}: '~' cannot be resolved, because HOME is not set", path));
      return {};
    }
    written.replace(0, 1, home);
  }
  fs::path result = fs::path(written).is_absolute() ? fs::path(written) : fs::path(directory_) / written;
  std::string text = result.lexically_normal().string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

void Decoder::path(const Node& node, const std::string& path, Must must, std::string& out) {
  std::string written;
  place_ = true;
  text(node, path, written);
  place_ = false;
  if (!written.empty()) path_text(node, written, path, must, out);
}

void Decoder::certificates(const Node& node, const std::string& path, std::string& out) {
  std::string file;
  this->path(node, path, Must::kBeFile, file);
  if (file.empty()) return;
  if (!sys::check_certificates(file)) {
    const std::string& shown = node.text.find("${") == std::string::npos ? file : node.text;
    problem(node, fmt::format("{}: '{}' cannot be read or holds no PEM certificate", path, printable(shown, 300)));
    return;
  }
  out = std::move(file);
}

void Decoder::path_text(const Node& at, const std::string& written, const std::string& path, Must must,
                        std::string& out) {
  std::string full = absolute(at, path, written);
  if (full.empty()) return;
  // The resolved path may hold what a reference gave; then the text of the file is shown instead.
  const std::string shown = printable(at.text.find("${") == std::string::npos ? full : at.text, 300);
  if (must != Must::kNothing) {
    const bool directory = must == Must::kBeDirectory;
    std::error_code error;
    const fs::path canonical = fs::canonical(full, error);
    const fs::file_status status = error ? fs::file_status() : fs::status(canonical, error);
    if (error) {
      const bool absent = error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory;
      problem(at, fmt::format("{}: '{}': {}", path, shown,
                              !absent     ? error.message()
                              : directory ? "no such directory"
                                          : "no such file"));
      return;
    }
    if (directory ? !fs::is_directory(status) : !fs::is_regular_file(status)) {
      problem(at, fmt::format("{}: '{}' is not a {}", path, shown, directory ? "directory" : "file"));
      return;
    }
    full = canonical.string();
  }
  out = std::move(full);
}

bool is_beneath(const std::string& path, const std::string& root) {
  const fs::path inner(path), outer(root);
  const auto [in, out] = std::mismatch(inner.begin(), inner.end(), outer.begin(), outer.end());
  (void)in;
  return out == outer.end();
}

}  // namespace mcpbox::config
