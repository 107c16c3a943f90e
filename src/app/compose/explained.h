// What `mcpbox explain` prints of a plan and of what goes with it, for people or as JSON.
#pragma once

#include <string>
#include <vector>

#include "base/redact.h"
#include "box/process.h"
#include "config/settings.h"
#include "egress/rules/presets.h"
#include "workspace/plan.h"

namespace mcpbox::app {

struct Explained {
  const workspace::Plan& plan;
  const config::ServerNetwork& network;
  const std::vector<config::PublishedPort>& ports;
  const egress::SettingsReader& user;      // whose settings name the registries
  std::vector<std::string> install_names;  // variables of installs, besides what each step has
  box::ServerLimits limits;                // cpus of 0: those of its sandbox
  double sandbox_cpus = 0;                 // of all servers in it
  std::string why_alone;                   // it has a sandbox to itself; empty = it shares one
  std::vector<std::string> with;           // servers that it shares it with
};

// On stdout. Secrets are taken out of what others wrote, and of variables only the names are said; HASH stands for the
// environment's, which the engine's image decides too.
void print_explained(const Explained& explained, bool as_json, const Redactor& redact);

}  // namespace mcpbox::app
