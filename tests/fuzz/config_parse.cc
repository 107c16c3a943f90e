// mcpbox.yaml from anywhere: no crash, problems in order and in bounds, no secret in any of them.
#include <cstdint>
#include <cstdlib>
#include <tuple>

#include "base/text.h"
#include "config/load.h"

using namespace mcpbox::config;

namespace {

struct FakeSources : Sources {
  const char* env(const std::string& name) const override {
    return name == "HOME" ? "/nonexistent" : name == "T" ? "qZ7secret" : nullptr;
  }
  std::expected<std::string, std::string> file(const std::string& path) const override {
    if (path == "/s") return "qZ7secret";
    return std::unexpected("No such file or directory");
  }
  mcpbox::Result<mcpbox::Secret> helper(const HelperKey& key) const override { return mcpbox::Secret("qZ7" + key.key); }
  mcpbox::Result<void> has_helper(const HelperKey& key) const override {
    if (key.name == "h") return {};
    return mcpbox::fail(mcpbox::Code::kNotFound, "not there");
  }
  void learned(const mcpbox::Secret& /*secret*/) const override {}  // nothing is to be left of an input
};

void must(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.find("qZ7") != std::string_view::npos) return 0;
  const auto settings = parse(text, "/nonexistent/mcpbox.yaml", FakeSources());
  if (settings) {
    for (const auto& server : settings->servers)
      must(!server.name.empty() && !server.command.empty() && server.line > 0);
    return 0;
  }
  const auto& problems = settings.error();
  must(!problems.empty());
  for (std::size_t i = 0; i < problems.size(); ++i) {
    must(problems[i].what.find("qZ7") == std::string::npos);
    must(mcpbox::is_valid_utf8(problems[i].what) && problems[i].what.find('\n') == std::string::npos);
    if (i > 0)
      must(std::tie(problems[i - 1].line, problems[i - 1].column) <= std::tie(problems[i].line, problems[i].column));
  }
  return 0;
}
