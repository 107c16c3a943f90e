#include "box/docker/json.h"

#include <nlohmann/json.hpp>

namespace mcpbox::box {
namespace {

constexpr int kMaxDepth = 64;

// Counts brackets outside strings, so that the recursive parser's result never nests deeper than its destructor can
// bear.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

}  // namespace

Result<nlohmann::json> parse_docker_json(std::string_view text, std::string_view what) {
  if (too_deep(text)) {
    return fail(Code::kDataLoss, "the engine's answer (" + std::string(what) + ") nests deeper than 64 levels");
  }
  auto value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) {
    return fail(Code::kDataLoss, "the engine's answer (" + std::string(what) + ") is not valid JSON");
  }
  return value;
}

const nlohmann::json& member(const nlohmann::json& object, std::initializer_list<const char*> path) {
  static const nlohmann::json kNull;
  const nlohmann::json* at = &object;
  for (const char* name : path) {
    if (!at->is_object()) return kNull;
    const auto found = at->find(name);
    if (found == at->end()) return kNull;
    at = &*found;
  }
  return *at;
}

std::string string_at(const nlohmann::json& object, std::initializer_list<const char*> path) {
  const auto& value = member(object, path);
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::int64_t integer_at(const nlohmann::json& object, std::initializer_list<const char*> path, std::int64_t fallback) {
  const auto& value = member(object, path);
  return value.is_number_integer() ? value.get<std::int64_t>() : fallback;
}

bool bool_at(const nlohmann::json& object, std::initializer_list<const char*> path, bool fallback) {
  const auto& value = member(object, path);
  return value.is_boolean() ? value.get<bool>() : fallback;
}

std::map<std::string, std::string> strings_at(const nlohmann::json& object, std::initializer_list<const char*> path) {
  std::map<std::string, std::string> out;
  const auto& value = member(object, path);
  if (!value.is_object()) return out;
  for (const auto& [name, text] : value.items()) {
    if (text.is_string()) out.emplace(name, text.get<std::string>());
  }
  return out;
}

std::string dump_json(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace mcpbox::box
