// From where installations take packages, as far as it makes one environment another than its neighbour: part of every
// environment's name (workspace::Policy::origin).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/secret.h"

namespace mcpbox::provision {

struct OfflineSources;

// A line for each variable of `env`, which installations get (box.install_env, and what the user's pip.conf, uv.toml
// and .npmrc say): indexes, registries, scopes, find-links, options of builds. And for the folders that packages come
// from without network. Names and passwords in URLs stay out, and so do values of variables that are named like
// credentials: a token that is replaced makes no other environment, and the name of one tells nothing of it. Proxies
// are none of a package's origins.
std::vector<std::string> install_origin(const std::map<std::string, Secret>& env, const OfflineSources& sources);

}  // namespace mcpbox::provision
