#include "app/misread.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "app/compose/unserved_client.h"
#include "app/exit_code.h"
#include "app/output.h"
#include "base/text.h"

namespace mcpbox::app {
namespace {

CLI::App* verb_below(CLI::App& app, std::string_view word) {
  const std::vector<CLI::App*> verbs = app.get_subcommands({});
  const auto found = std::ranges::find_if(verbs, [&](const CLI::App* verb) { return verb->get_name() == word; });
  return found == verbs.end() ? nullptr : *found;
}

// Words for what mcpbox does with other verbs.
constexpr std::pair<std::string_view, std::string_view> kElsewhere[] = {
    {"start", "`mcpbox restart SERVER`, or `mcpbox serve` for the daemon"},
    {"up", "`mcpbox serve`"},
    {"list", "`mcpbox ps`"},
    {"status", "`mcpbox ps`"},
    {"validate", "`mcpbox check`"},
};

// " (did you mean …?)", or nothing.
std::string verb_meant(const CLI::App& app, const CLI::App& at, std::string_view word) {
  const std::vector<const CLI::App*> verbs = at.get_subcommands({});
  std::vector<std::string_view> known;
  for (const CLI::App* verb : verbs) {
    if (!verb->get_group().empty()) known.push_back(verb->get_name());
  }
  std::map<std::string_view, std::string> meant;
  for (const std::string_view verb : known) meant[verb] = fmt::format("'{}'", verb);
  if (&at == &app) {
    for (const auto& [other, ours] : kElsewhere) {
      known.push_back(other);
      meant[other] = ours;
    }
  }
  const std::string_view near = nearest(word, known);
  return near.empty() ? "" : fmt::format(" (did you mean {}?)", meant[near]);
}

// Where a command line went wrong: the verb that it names, and the first word that is no option of it. CLI11 lists all
// words that it could not place, the last one first.
struct Misread {
  std::string line = "mcpbox";  // with the verb: "mcpbox env prune"
  CLI::App* verb = nullptr;
  std::string option;  // "--memry"; empty when every option is one
  std::string before;  // the first word before it that is neither an option nor the value of one
};

Misread misread(CLI::App& app, int argc, char** argv) {
  Misread found;
  found.verb = &app;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--") break;
    if (!word.starts_with('-') || word.size() < 2) {
      CLI::App* const below = found.before.empty() ? verb_below(*found.verb, word) : nullptr;
      if (below != nullptr) {
        found.verb = below;
        found.line += " " + std::string(word);
      } else if (found.before.empty()) {
        found.before = word;
      }
      continue;
    }
    const bool spelt_out = word.starts_with("--");
    const std::string name(spelt_out ? word.substr(0, word.find('=')) : word.substr(0, 2));
    const CLI::Option* const option = found.verb->get_option_no_throw(name);
    if (option == nullptr) {
      found.option = name;
      break;
    }
    if (option->get_items_expected_min() > 0 && word.size() == name.size()) ++i;
  }
  return found;
}

std::string in_words(const Misread& found, std::string_view what) {
  if (found.option.empty())
    return fmt::format("{}: {}; `{} --help` says what it takes", found.line, printable(what, 1000), found.line);
  std::string behind;
  if (found.verb->get_option_no_throw("command") != nullptr && !found.before.empty()) {
    behind = fmt::format("the server's command goes behind --: {} … -- {} {} …", found.line,
                         printable(found.before, 100), printable(found.option, 100));
    // What stands there may be the name of a configured server, too.
    if (found.verb->get_option_no_throw("--config") == nullptr) return fmt::format("{}: {}", found.line, behind);
    behind.insert(0, "; ");
  }
  std::vector<std::string> names;
  for (const CLI::Option* option : found.verb->get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return fmt::format("{0}: there is no option '{1}'{2}; `{0} --help` lists them{3}", found.line,
                     printable(found.option, 100), did_you_mean(found.option, names), behind);
}

// The client of a `run` that cannot be reads no stderr.
void tell_client_of_misread(const Misread& found, std::string why, int argc, char** argv) {
  if (found.line != "mcpbox run") return;
  char** const options_end = std::find(argv, argv + argc, std::string_view("--"));
  if (std::find(argv, options_end, std::string_view("--direct")) != options_end) return;
  answer_unserved_client(STDIN_FILENO, STDOUT_FILENO, {std::move(why), "", kUsage});
}

}  // namespace

std::optional<int> answer_without_verb(CLI::App& app, int argc, char** argv) {
  CLI::App* at = &app;
  std::string line = "mcpbox", above;
  const bool help = argc > 1 && std::string_view(argv[1]) == "help";
  for (int i = help ? 2 : 1; i < argc && at->get_require_subcommand_min() > 0; ++i) {
    const std::string word = argv[i];
    if (word.starts_with('-')) break;
    CLI::App* const below = verb_below(*at, word);
    if (below == nullptr) {
      print_err("mcpbox: there is no verb '{}'{}; `{} --help` lists them\n", printable(word, 60),
                verb_meant(app, *at, word), line);
      return kUsage;
    }
    above = line;
    line += " " + word;
    at = below;
  }
  if (!help) return std::nullopt;
  write_out(at->help(above));
  return kOk;
}

int explain_misread(CLI::App& app, int argc, char** argv, std::string_view what) {
  const Misread found = misread(app, argc, argv);
  std::string why = in_words(found, what);
  print_err("{}\n", why);
  tell_client_of_misread(found, std::move(why), argc, argv);
  return kUsage;
}

}  // namespace mcpbox::app
