// The program that Node processes load before their own, so that versions which ignore NODE_USE_ENV_PROXY use the
// egress proxy too.
#pragma once

#include <string_view>

namespace mcpbox::provision {

// CommonJS text (node_proxy.cjs), for NODE_OPTIONS=--require=FILE. Reads HTTPS_PROXY and NO_PROXY; without them it does
// nothing. It reaches http, https, their agents and the global fetch(); a program that opens sockets itself, or brings
// a dispatcher of its own for a library of its own, has to read the variables itself.
std::string_view node_proxy_preload();

// Its name in a process's tree, where PID 1 writes it.
inline constexpr std::string_view kNodeProxyFile = "/node-proxy.cjs";

}  // namespace mcpbox::provision
