// The environment variables of a managed process: complete, because nothing is inherited.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/secret.h"

namespace mcpbox::provision {

struct EnvironmentInputs {
  std::string tree;                      // the process's own directory in the sandbox: home and tmp are below it
  std::vector<std::string> path_prefix;  // put in front of PATH
  bool ca_bundle = false;                // box::kCaBundleMount is there
  Secret proxy_url;                      // egress::EgressGrant::proxy_url; empty = the process has no way out
  std::string node_preload;              // file in the sandbox that Node loads first; empty = none
  std::map<std::string, Secret> own;     // the server's own variables; they win over ours
};

// "NAME=value" entries, sorted: HOME, TMPDIR, PATH, LANG, the XDG directories, the names under which tools look for a
// trust store (SSL_CERT_FILE for OpenSSL, uv and Go; REQUESTS_CA_BUNDLE; PIP_CERT; NODE_EXTRA_CA_CERTS; GIT_SSL_CAINFO;
// …), those under which they look for a proxy, and `own`.
std::vector<std::string> make_environment(const EnvironmentInputs& inputs);

}  // namespace mcpbox::provision
