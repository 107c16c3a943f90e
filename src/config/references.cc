#include "config/references.h"

#include <utility>

#include "config/decoder.h"
#include "config/sections.h"

namespace mcpbox::config {
namespace {

// A helper that hangs, or fails with words of its own, may be well in two seconds. What it does not have, it will not.
bool waiting_helps(Code code) {
  return code == Code::kUnavailable || code == Code::kTimeout || code == Code::kResourceExhausted;
}

// The helpers were asked already.
struct Asked final : Sources {
  Asked(const Sources& others, const HelperAnswers& helpers) : rest(others), answers(helpers) {}
  // Nobody sets a variable of ours while we run.
  const char* env(const std::string& name) const override {
    const char* const value = rest.env(name);
    for_good = for_good || value == nullptr;
    return value;
  }
  std::expected<std::string, std::string> file(const std::string& path) const override { return rest.file(path); }
  Result<Secret> helper(const HelperKey& key) const override {
    const auto found = answers.find(key);
    if (found == answers.end()) return fail(Code::kInternal, "nobody asked this helper");
    for_good = for_good || (!found->second && !waiting_helps(found->second.error().code()));
    return found->second;
  }

  void learned(const Secret& secret) const override { rest.learned(secret); }

  const Sources& rest;
  const HelperAnswers& answers;
  mutable bool for_good = false;  // something is missing that waiting does not bring
};

}  // namespace

Result<void> read_again(ServerSettings& settings, const HelperAnswers& answers, const Sources& sources) {
  if (!settings.references) return {};
  const ServerReferences& from = *settings.references;
  const Asked asked(sources, answers);
  std::vector<Problem> problems;
  Decoder decoder(from.file, asked, problems);
  ServerSettings fresh;
  decode_referring(decoder, from, fresh);
  if (!problems.empty()) {
    sort_by_place(problems);
    std::string text;
    for (const Problem& problem : problems) text += (text.empty() ? "" : "; ") + problem.text();
    return fail(asked.for_good ? Code::kFailedPrecondition : Code::kUnavailable,
                text + " (it is read again at each start)");
  }
  settings.command = std::move(fresh.command);
  settings.args = std::move(fresh.args);
  settings.env = std::move(fresh.env);
  settings.box.env = std::move(fresh.box.env);
  settings.secrets = decoder.take_secrets();
  return {};
}

}  // namespace mcpbox::config
