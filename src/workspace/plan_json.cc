// Part of plan.h: a plan as JSON.
#include <nlohmann/json.hpp>

#include "workspace/plan.h"

namespace mcpbox::workspace {

std::string plan_to_json(const Plan& plan, std::string_view more_key, std::string_view more_json) {
  using json = nlohmann::ordered_json;
  json roots = json::array();
  for (const Root& root : plan.roots) {
    json entry{{"host", root.host},
               {"mount", root.mount},
               {"mode", root.mode == RootMode::kStage ? "stage" : "bind"},
               {"access", root.access == Access::kReadOnly ? "ro" : "rw"}};
    for (const Root::Link& link : root.links) entry["links"].push_back({{"path", link.path}, {"target", link.target}});
    roots.push_back(std::move(entry));
  }
  json install = nullptr;
  if (plan.install) {
    json steps = json::array();
    for (const InstallStep& step : plan.install->steps) {
      steps.push_back({{"title", step.title}, {"argv", step.argv}, {"env", step.env}, {"cwd", step.cwd}});
    }
    json sources = json::array();
    for (const InstallSource& source : plan.install->sources)
      sources.push_back({{"host", source.host}, {"path", source.path}});
    install = {{"manager", plan.install->manager},
               {"manifest", plan.install->manifests.empty() ? json(nullptr) : json(plan.install->manifests.front())},
               {"manifests", plan.install->manifests},
               {"asked", plan.install->asked},
               {"steps", std::move(steps)},
               {"sources", std::move(sources)},
               {"hash", plan.install->hash},
               {"environment", plan.install->environment}};
  }
  json refused = json::array();
  for (const Refusal& refusal : plan.refused) refused.push_back({{"path", refusal.path}, {"reason", refusal.reason}});
  json document{{"roots", std::move(roots)},
                {"argv", plan.argv},
                {"cwd", plan.cwd},
                {"env", plan.env},
                {"path_prefix", plan.path_prefix},
                {"install", std::move(install)},
                {"refused", std::move(refused)},
                {"hints", plan.hints},
                {"why", plan.why}};
  if (!more_key.empty()) document[std::string(more_key)] = json::parse(more_json, nullptr, false);
  // Paths are bytes and need not be UTF-8.
  return document.dump(2, ' ', false, json::error_handler_t::replace);
}

}  // namespace mcpbox::workspace
