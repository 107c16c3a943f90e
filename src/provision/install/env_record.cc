#include "provision/install/env_record.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "json/text.h"
#include "json/value.h"
#include "json/writer.h"

namespace mcpbox::provision {
namespace {

constexpr std::size_t kResolvedBytes = 40u << 10;
constexpr std::size_t kOthersBytes = 4u << 10;

void member(json::Writer& out, std::string_view key, const std::vector<std::string>& items, std::size_t limit) {
  out.array(key);
  std::size_t size = 0;
  for (const std::string& item : items) {
    const std::string quoted = json::quote(item);
    if (size + quoted.size() + 1 > limit) break;
    size += quoted.size() + (size > 0 ? 1 : 0);
    out.value(json::Raw{quoted});
  }
  out.end();
}

std::vector<std::string> texts(const json::Value& value) {
  std::vector<std::string> out;
  for (const json::Value& item : value.elements()) out.push_back(item.string_or());
  return out;
}

}  // namespace

std::string to_json(const EnvRecord& record) {
  const auto text = [](const std::string& value) { return value.substr(0, 2048); };
  json::Writer out;
  out.object().member("record", 2).member("asked_hash", text(record.asked_hash));
  out.member("program", text(record.program)).member("manager", text(record.manager));
  out.member("server", text(record.server)).member("image", text(record.image)).member("engine", text(record.engine));
  out.member("made", record.made).member("took_ms", record.took_ms).member("bytes", record.bytes);
  out.member("packages", record.packages);
  member(out, "steps", record.steps, kOthersBytes);
  member(out, "asked", record.asked, kOthersBytes);
  member(out, "resolved", record.resolved, kResolvedBytes);
  out.end();
  return out.take_line();
}

Result<EnvRecord> parse_env_record(const std::string& hash, std::string_view text) {
  const auto value = json::Value::parse(text);
  if (!value || !(*value)["program"].is_string()) {
    return fail(
        Code::kDataLoss,
        fmt::format("the record of environment {} cannot be read; remove it with `mcpbox env prune {}`", hash, hash));
  }
  const json::Value& v = *value;
  EnvRecord record;
  record.hash = hash;
  record.asked_hash = v["asked_hash"].string_or(hash);
  record.program = v["program"].string_or();
  record.manager = v["manager"].string_or();
  record.server = v["server"].string_or();
  record.image = v["image"].string_or();
  record.engine = v["engine"].string_or();
  record.made = v["made"].integer_or(0);
  record.took_ms = v["took_ms"].integer_or(0);
  record.bytes = v["bytes"].unsigned_integer().value_or(0);
  record.packages = v["packages"].unsigned_integer().value_or(0);
  record.steps = texts(v["steps"]);
  record.asked = texts(v["asked"]);
  record.resolved = texts(v["resolved"]);
  return record;
}

std::string packages_in_short(const EnvRecord& record, std::size_t named) {
  const std::vector<std::string>& from = record.resolved.empty() ? record.asked : record.resolved;
  std::string out;
  const std::size_t shown = std::min(named, from.size());
  for (std::size_t i = 0; i < shown; ++i) out += (i == 0 ? "" : ", ") + printable(from[i], 80);
  const std::uint64_t all =
      record.resolved.empty() ? from.size() : std::max<std::uint64_t>(record.packages, from.size());
  if (all > shown) out += fmt::format(" and {} more", all - shown);
  return out;
}

}  // namespace mcpbox::provision
