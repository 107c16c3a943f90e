#include "gateway/control_call.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/text.h"
#include "json/text.h"

namespace mcpbox::gateway {

Result<BodyMembers> BodyMembers::read(std::string text, const std::vector<std::string>& allowed) {
  BodyMembers body;
  body.text_ = std::make_unique<const std::string>(std::move(text));
  auto members = json::raw_members(*body.text_);
  if (!members || !json::valid_utf8(*body.text_)) {
    return fail(Code::kInvalidArgument,
                fmt::format("the body must be one JSON object, with members out of: {}", join(allowed, ", ")));
  }
  for (auto member = members->begin(); member != members->end(); ++member) {
    if (std::ranges::find(allowed, member->key) == allowed.end()) {
      return fail(Code::kInvalidArgument, fmt::format("the body has a member '{}'; there are: {}",
                                                      printable(member->key, 80), join(allowed, ", ")));
    }
    if (std::any_of(members->begin(), member, [&](const auto& other) { return other.key == member->key; }))
      return fail(Code::kInvalidArgument, fmt::format("the body has the member '{}' twice", member->key));
  }
  body.members_ = std::move(*members);
  return body;
}

const json::RawMember* BodyMembers::find(std::string_view name) const {
  const auto found =
      std::ranges::find(members_, name, [](const json::RawMember& member) { return std::string_view(member.key); });
  return found == members_.end() ? nullptr : &*found;
}

Result<std::optional<std::string>> BodyMembers::string(std::string_view name) const {
  const json::RawMember* member = find(name);
  if (member == nullptr) return std::optional<std::string>();
  auto text = json::string_of(member->value);
  if (!text) return fail(Code::kInvalidArgument, fmt::format("'{}' must be a string", name));
  return text;
}

Result<bool> BodyMembers::flag(std::string_view name) const {
  const json::RawMember* member = find(name);
  if (member == nullptr || member->value == "false") return false;
  if (member->value == "true") return true;
  return fail(Code::kInvalidArgument, fmt::format("'{}' must be true or false", name));
}

Result<bool> ControlCall::flag(const std::string& name) const {
  const auto found = query().find(name);
  if (found == query().end() || found->second == "0") return false;
  if (found->second.empty() || found->second == "1") return true;
  return fail(Code::kInvalidArgument, fmt::format("'{}' must be 1 or 0", name));
}

Result<std::uint64_t> ControlCall::number(const std::string& name, std::uint64_t fallback) const {
  const auto found = query().find(name);
  if (found == query().end()) return fallback;
  std::uint64_t value = 0;
  const char* const end = found->second.data() + found->second.size();
  const auto [stop, error] = std::from_chars(found->second.data(), end, value);
  if (error == std::errc() && stop == end) return value;
  return fail(Code::kInvalidArgument, fmt::format("'{}' must be a number", name));
}

}  // namespace mcpbox::gateway
