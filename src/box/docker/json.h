// Reads what an engine answered: a bounded parse, and access that takes every missing or mistyped member for its
// default. For the .cc files of this folder, which include nlohmann/json.hpp themselves.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mcpbox::box {

// At most 64 levels deep; kDataLoss says that `what` ("the container's description") cannot be parsed.
Result<nlohmann::json> parse_docker_json(std::string_view text, std::string_view what);

// The member at the end of the path, or null.
const nlohmann::json& member(const nlohmann::json& object, std::initializer_list<const char*> path);
std::string string_at(const nlohmann::json& object, std::initializer_list<const char*> path);
std::int64_t integer_at(const nlohmann::json& object, std::initializer_list<const char*> path,
                        std::int64_t fallback = 0);
bool bool_at(const nlohmann::json& object, std::initializer_list<const char*> path, bool fallback = false);
std::map<std::string, std::string> strings_at(const nlohmann::json& object, std::initializer_list<const char*> path);

// Serialises; what is not UTF-8 is replaced, never thrown over.
std::string dump_json(const nlohmann::json& value);

}  // namespace mcpbox::box
