#include "provision/environment.h"

#include <fmt/format.h>

#include "base/text.h"
#include "box/sandbox.h"

namespace mcpbox::provision {
namespace {

void add_proxy(const EnvironmentInputs& inputs, std::map<std::string, std::string>& env) {
  for (const char* name : {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy",
                           "all_proxy",  // curl, Python, Go, uv, Ruby, wget
                           "npm_config_proxy", "npm_config_https_proxy", "YARN_HTTP_PROXY", "YARN_HTTPS_PROXY",
                           "PIP_PROXY", "CARGO_HTTP_PROXY"}) {
    env[name] = std::string(inputs.proxy_url.reveal());
  }
  for (const char* name : {"NO_PROXY", "no_proxy", "npm_config_noproxy"}) env[name] = "localhost,127.0.0.1,::1";
  env["NODE_USE_ENV_PROXY"] = "1";  // Node from 22.21 and 24.5; the others by node_preload
  env["GIT_CONFIG_COUNT"] = "1";
  env["GIT_CONFIG_KEY_0"] = "http.proxy";
  env["GIT_CONFIG_VALUE_0"] = std::string(inputs.proxy_url.reveal());
  // Without the credential: Java prints this variable on stderr, and takes a proxy's password from a program's
  // Authenticator only.
  env["JAVA_TOOL_OPTIONS"] = fmt::format(
      "-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort={0} -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort={0} "
      "-Dhttp.nonProxyHosts=localhost|127.*|[::1] -Djdk.http.auth.tunneling.disabledSchemes=",
      kEgressPort);
}

}  // namespace

std::vector<std::string> make_environment(const EnvironmentInputs& inputs) {
  constexpr std::string_view kSystemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  std::map<std::string, std::string> env;
  env["HOME"] = inputs.tree + "/home";
  env["TMPDIR"] = inputs.tree + "/tmp";
  env["USER"] = "mcpbox";
  env["LOGNAME"] = "mcpbox";
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
  if (!inputs.proxy_url.empty()) add_proxy(inputs, env);
  std::string own_path;
  for (const auto& [name, value] : inputs.own) {
    if (name == "PATH") {
      own_path = value.reveal();
    } else {
      env[name] = std::string(value.reveal());
    }
  }
  if (!inputs.node_preload.empty()) {
    std::string& options = env["NODE_OPTIONS"];
    options = fmt::format("--require={}{}{}", inputs.node_preload, options.empty() ? "" : " ", options);
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

}  // namespace mcpbox::provision
