// What is known of a finished environment: the file /cache/env/<hash>/complete, written by PID 1 when everything else
// is done.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mcpbox::provision {

struct EnvRecord {
  std::string hash;
  std::string asked_hash;          // the hash of the same request without a refresh
  std::string program;             // what to start instead of argv[0]; empty = argv as planned
  std::string manager;             // "uv", "npm", "pnpm", "yarn"
  std::vector<std::string> asked;  // what the plan named: packages, or the files that name them
  // "name==1.2" or "name@1.2": first what was asked for, then the rest by name; as many as fit.
  std::vector<std::string> resolved;
  std::uint64_t packages = 0;      // how many there are
  std::vector<std::string> steps;  // titles
  std::string server;              // who asked first
  std::string image;               // engine id of the image that it was made in and for
  std::string engine;              // sandbox engine: EngineInfo::kind
  std::int64_t made = 0;           // seconds since 1970
  std::int64_t took_ms = 0;
  std::uint64_t bytes = 0;  // on disk; 0 = not known
};

inline constexpr std::size_t kEnvRecordLimit = 64u << 10;

// At most kEnvRecordLimit bytes: what was resolved is cut first.
std::string to_json(const EnvRecord& record);
// kDataLoss: it is no record of ours.
Result<EnvRecord> parse_env_record(const std::string& hash, std::string_view text);

// One phrase for tables: "foo@1.2, bar@3 and 40 more".
std::string packages_in_short(const EnvRecord& record, std::size_t named = 3);

}  // namespace mcpbox::provision
