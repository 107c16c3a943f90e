// From a configuration, and from what the user's own tools are set to, to what the egress proxy is told.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "config/settings.h"
#include "egress/control/codec.h"
#include "egress/rules/presets.h"
#include "workspace/plan.h"

namespace mcpbox::provision {

// This user's environment and configuration files; a file of more than 256 KiB counts as none, which is logged. `more`
// wins over the environment: box.install_env. What takes the reader reads files: for a pool thread where a loop waits.
egress::SettingsReader settings_of_user(std::map<std::string, Secret> more = {});

// Where the user's own pip, uv and npm look for packages, as variables for installs, and `own` (box.install_env) over
// them.
std::map<std::string, Secret> install_variables(std::map<std::string, Secret> own = {});

// What a server may reach while it runs. Names of presets are replaced by their hosts; kInvalidArgument names a rule
// that cannot be.
Result<egress::PolicyText> run_policy(const config::ServerNetwork& network, const egress::SettingsReader& user);

// What an installation by this manager ("uv", "npm", "pnpm", "yarn") may reach: the registries that it needs, and
// install_allow, whatever the mode: a server with `none` has its dependencies installed all the same, and one with
// `public` has them installed from nowhere else.
Result<egress::PolicyText> install_policy(const config::ServerNetwork& network, std::string_view manager,
                                          const egress::SettingsReader& user);

// For all servers. Without `upstream_proxy` it is the user's own HTTPS_PROXY, if that is one that the egress proxy can
// use; `note` says why it is not used otherwise (without its password).
egress::NetworkText network_text(const config::EgressSettings& settings, const egress::SettingsReader& user,
                                 std::string& note);

// HTTP_PROXY and its likes, in either spelling. Of the user's they are for the egress proxy, never for what runs in a
// sandbox.
bool is_proxy_variable(std::string_view name);

std::string_view network_mode_name(config::NetworkMode mode);

}  // namespace mcpbox::provision
