// What people are told about a command line that cannot be read, and help that is asked for in words.
#pragma once

#include <optional>
#include <string_view>

namespace CLI {
class App;
}

namespace mcpbox::app {

// `mcpbox help [VERB…]`, and words where a verb stands that are none: answered, with the exit code. Nothing: the line
// is for the parser.
std::optional<int> answer_without_verb(CLI::App& app, int argc, char** argv);

// Says what is wrong with a line that the parser refused with `what`, and returns the exit code. The client of a `run`
// is told, too.
int explain_misread(CLI::App& app, int argc, char** argv, std::string_view what);

}  // namespace mcpbox::app
