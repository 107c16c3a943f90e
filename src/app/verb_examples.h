// Examples of verbs, below what `mcpbox VERB --help` says of options.
#pragma once

namespace CLI {
class App;
}

namespace mcpbox::app {

// `app` has all its verbs. Those with a longer text of their own (run, call, pull, explain) keep it alone.
void add_examples(CLI::App& app);

}  // namespace mcpbox::app
