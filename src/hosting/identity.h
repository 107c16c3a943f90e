// User and process ids of managed processes.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

namespace mcpbox::hosting {

// A uid (used as gid too) for a server that lives once: drawn at random from 1,900,000,000 … 2,033,000,000, far from what distributions hand
// out. RLIMIT_NPROC counts per uid on the whole engine host, so it must not repeat between sandboxes either (security.md §4.4).
uid_t draw_uid();

// The uid of a configured server: the same after every restart, so that what it wrote stays its own. From the same range.
uid_t server_uid(std::string_view instance, std::string_view server);

// The uid that owns the environment with this hash: from a range of its own, the same for every attempt, never given to a server.
uid_t installer_uid(std::string_view hash);

// A managed process's id, [a-z0-9-]{1,64}: the server's name as far as it fits, and eight digits of its hash, so that two
// names never share one.
std::string process_id(std::string_view server);

}  // namespace mcpbox::hosting
