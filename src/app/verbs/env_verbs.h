// `mcpbox env list | prune | refresh`, and `mcpbox logs SERVER --install`: the installed environments. They need the
// engine, and no daemon; one that runs is not disturbed, because an environment in use is never removed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace mcpbox::app {

// Adds the verb `env` to the command line; its callbacks set `code`, which outlives `app`'s parsing.
void add_env_verbs(CLI::App& app, int& code);

int show_install_log(const std::string& server, const std::string& state_dir, bool as_json);

// "90s", "45m", "12h", "7d", "2w" in seconds; nothing for everything else.
std::optional<std::int64_t> parse_age(std::string_view text);

}  // namespace mcpbox::app
