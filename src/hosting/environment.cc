#include "hosting/environment.h"

#include <stdlib.h>

#include "base/text.h"
#include "box/session.h"

namespace mcpbox::hosting {

std::vector<std::string> make_environment(const EnvironmentInputs& inputs) {
  constexpr std::string_view kSystemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  std::map<std::string, std::string> env;
  env["HOME"] = inputs.tree + "/home";
  env["TMPDIR"] = inputs.tree + "/tmp";
  env["USER"] = "mcp";
  env["LOGNAME"] = "mcp";
  env["LANG"] = "C.UTF-8";
  env["XDG_CACHE_HOME"] = inputs.tree + "/home/.cache";
  env["XDG_CONFIG_HOME"] = inputs.tree + "/home/.config";
  env["XDG_DATA_HOME"] = inputs.tree + "/home/.local/share";
  // Nobody answers a prompt or reads advice inside a sandbox.
  env["npm_config_update_notifier"] = "false";
  env["npm_config_fund"] = "false";
  env["npm_config_audit"] = "false";
  env["PIP_DISABLE_PIP_VERSION_CHECK"] = "1";
  env["GIT_TERMINAL_PROMPT"] = "0";
  if (inputs.ca_bundle) {
    for (const char* name : {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS",
                             "GIT_SSL_CAINFO", "npm_config_cafile", "CARGO_HTTP_CAINFO"}) {
      env[name] = box::kCaBundleMount;
    }
  }
  std::string own_path;
  for (const auto& [name, value] : inputs.own) {
    if (name == "PATH") {
      own_path = value;
    } else {
      env[name] = value;
    }
  }
  std::string path = join(inputs.path_prefix, ":");
  if (!path.empty()) path += ':';
  path += own_path.empty() ? std::string(kSystemPath) : own_path;
  env["PATH"] = path;

  std::vector<std::string> out;
  out.reserve(env.size());
  for (const auto& [name, value] : env) out.push_back(name + "=" + value);
  return out;
}

std::map<std::string, std::string> registry_settings_of_user() {
  std::map<std::string, std::string> settings;
  for (const char* name : {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "npm_config_registry",
                           "NPM_CONFIG_REGISTRY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}) {
    if (const char* value = ::getenv(name); value != nullptr && *value != '\0') settings[name] = value;
  }
  // uv does not read pip's variables.
  if (settings.contains("PIP_INDEX_URL") && !settings.contains("UV_DEFAULT_INDEX")) settings["UV_DEFAULT_INDEX"] = settings["PIP_INDEX_URL"];
  return settings;
}

}  // namespace mcpbox::hosting
