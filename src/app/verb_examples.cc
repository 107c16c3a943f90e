#include "app/verb_examples.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <string>

namespace mcpbox::app {
namespace {

struct Example {
  const char *verb, *verb_of_it;  // "" for the verb itself
  const char* lines;
};

constexpr Example kExamples[] = {
    {"serve", "", "  mcpbox serve --config mcpbox.yaml\n  mcpbox serve --config mcpbox.yaml --engine native --verbose"},
    {"ps", "", "  mcpbox ps\n  mcpbox ps --wait 60 --phases\n  mcpbox ps --format json"},
    {"tools", "", "  mcpbox tools\n  mcpbox tools files --format json"},
    {"logs", "", "  mcpbox logs files --follow\n  mcpbox logs files --install"},
    {"restart", "", "  mcpbox restart files\n  mcpbox restart files --fresh"},
    {"stop", "", "  mcpbox stop files"},
    {"down", "", "  mcpbox down\n  mcpbox down --config mcpbox.yaml --volumes"},
    {"check", "", "  mcpbox check mcpbox.yaml\n  mcpbox check mcpbox.yaml --format json"},
    {"doctor", "", "  mcpbox doctor\n  mcpbox doctor --engine native --attack"},
    {"image", "build", "  mcpbox image build\n  mcpbox image build --ca-bundle ~/company.pem"},
    {"image", "list", "  mcpbox image list --format json"},
    {"image", "pull", "  mcpbox image pull docker.io/library/python:3.12-slim"},
    {"egress", "tail", "  mcpbox egress tail --follow\n  mcpbox egress tail files --lines 50"},
    {"egress", "suggest", "  mcpbox egress suggest files"},
    {"env", "list", "  mcpbox env list"},
    {"env", "prune", "  mcpbox env prune --older-than 7d\n  mcpbox env prune 3f2a9c"},
    {"env", "refresh", "  mcpbox env refresh files"},
    {"version", "", "  mcpbox version"},
};

}  // namespace

void add_examples(CLI::App& app) {
  for (const Example& example : kExamples) {
    CLI::App* verb = app.get_subcommand(example.verb);
    if (*example.verb_of_it != '\0') verb = verb->get_subcommand(example.verb_of_it);
    // A verb has the text of the whole program where it has none of its own.
    const std::string before = verb->get_footer() == app.get_footer() ? "" : verb->get_footer() + "\n";
    verb->footer(fmt::format("{}\nExamples:\n{}", before, example.lines));
  }
}

}  // namespace mcpbox::app
