// The command line: verbs, options, help. CLI11 is behind it and in cli.cc only.
#pragma once

namespace mcpbox::app {

int run_command_line(int argc, char** argv);

}  // namespace mcpbox::app
