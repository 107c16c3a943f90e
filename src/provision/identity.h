// User and process ids of managed processes.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "box/engine.h"

namespace mcpbox::provision {

// All of these are from `range`, the engine's: by default 1,900,000,000 … 2,132,999,999. Servers get its first 133/233,
// installers the rest.

// A uid (used as gid too) for a server that lives once, drawn at random. RLIMIT_NPROC counts per uid on the whole
// engine host, so it must not repeat between sandboxes either (security.md §4.4).
uid_t draw_uid(const box::UidRange& range = {});

// The uid of a configured server: the same after every restart, so that what it wrote stays its own. From the same
// part.
uid_t server_uid(std::string_view instance, std::string_view server, const box::UidRange& range = {});

// The uid that owns the environment with this hash: the same for every attempt, never given to a server.
uid_t installer_uid(std::string_view hash, const box::UidRange& range = {});

// The uid that owns what the server runs and must not write: it never runs a server. The same after every restart.
uid_t code_uid(std::string_view instance, std::string_view server, const box::UidRange& range = {});

// A managed process's id, [a-z0-9-]{1,64}: the server's name as far as it fits, and eight digits of its hash, so that
// two names never share one.
std::string process_id(std::string_view server);

}  // namespace mcpbox::provision
