// The golden tables of planning: plan.golden says how they are written, and how a change of them is accepted.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/text.h"
#include "support/temp_tree.h"
#include "workspace/plan.h"

namespace mcpbox::workspace {
namespace {

std::string replace_all(std::string text, const std::string& what, const std::string& by) {
  for (std::size_t at = text.find(what); !what.empty() && at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
  return text;
}

struct Case {
  std::string suite, name;
  std::vector<std::string> tree, command, options;
  std::vector<std::string> expected;  // lines of render()
};

std::string golden_path() {
  const char* source = std::getenv("MCPBOX_SOURCE_DIR");
  return std::string(source != nullptr ? source : ".") + "/tests/unit/workspace/plan.golden";
}

std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '\\' && i + 1 < text.size();
    out += !escape ? text[i] : text[++i] == 'n' ? '\n' : text[i];
  }
  return out;
}

std::vector<Case> read_cases() {
  std::ifstream file(golden_path());
  std::vector<Case> cases;
  for (std::string line; std::getline(file, line);) {
    const auto behind = [&](std::string_view word) -> std::optional<std::string> {
      if (!line.starts_with(word)) return std::nullopt;
      return unescaped(std::string_view(line).substr(word.size()));
    };
    if (const auto title = behind("== ")) {
      const std::size_t space = title->find(' ');
      cases.push_back({title->substr(0, space), title->substr(space + 1)});
    } else if (cases.empty()) {
      continue;
    } else if (const auto tree = behind("tree ")) {
      cases.back().tree.push_back(*tree);
    } else if (const auto word = behind("word ")) {
      cases.back().command.push_back(*word);
    } else if (const auto option = behind("with ")) {
      cases.back().options.push_back(*option);
    } else if (const auto expected = behind("-> ")) {
      cases.back().expected.push_back(*expected);
    }
  }
  return cases;
}

bool accepting() {
  return std::getenv("MCPBOX_ACCEPT") != nullptr;
}

// Writes what the plan of `test` is now behind its title, in place of the lines that were expected.
void accept(const Case& test, const std::vector<std::string>& actual) {
  std::ifstream file(golden_path());
  std::string out;
  bool inside = false;
  const auto finish = [&] {
    if (!std::exchange(inside, false)) return;
    for (const std::string& line : actual)
      out += "-> " + replace_all(replace_all(line, "\\", "\\\\"), "\n", "\\n") + "\n";
  };
  for (std::string line; std::getline(file, line);) {
    if (inside && line.starts_with("-> ")) continue;
    if (line.empty() || line.starts_with("== ")) finish();
    if (line == "== " + test.suite + " " + test.name) inside = true;
    out += line + "\n";
  }
  finish();
  std::ofstream(golden_path()) << out;
}

void build(const test::TempTree& tree, const std::vector<std::string>& entries) {
  for (std::string entry : entries) {
    entry = replace_all(entry, "{T}", tree.root());
    if (std::size_t arrow = entry.find("->"); arrow != std::string::npos)
      tree.link(entry.substr(0, arrow), entry.substr(arrow + 2));
    else if (entry.ends_with('/'))
      tree.dir(entry);
    else if (std::size_t equals = entry.find('='); equals != std::string::npos)
      tree.file(entry.substr(0, equals), entry.substr(equals + 1));
    else
      tree.file(entry, "x");
  }
}

std::vector<std::string> render(const Plan& plan, const LaunchSpec& spec, const test::TempTree& tree) {
  std::vector<std::string> lines;
  for (const Root& root : plan.roots) {
    lines.push_back(std::string(root.mode == RootMode::kStage       ? "stage "
                                : root.access == Access::kReadWrite ? "bind-rw "
                                                                    : "bind ") +
                    root.host + " " + root.mount);
    for (const auto& link : root.links) lines.push_back("link " + link.path + " -> " + link.target);
  }
  lines.push_back("argv " + join(plan.argv, " "));
  lines.push_back("cwd " + plan.cwd);
  for (const auto& [name, value] : plan.env) {
    if (spec.env.contains(name)) lines.push_back("env " + name + "=" + value);
  }
  if (plan.install) {
    for (const auto& source : plan.install->sources) lines.push_back("source " + source.host + " " + source.path);
    for (const auto& step : plan.install->steps) lines.push_back("step " + join(step.argv, " "));
  }
  for (const auto& refusal : plan.refused) lines.push_back("refused " + refusal.path);
  for (std::string& line : lines) {
    line = replace_all(line, tree.root(), "{T}");
    if (plan.install)
      line =
          replace_all(replace_all(line, plan.install->environment, "{E}"), "/cache/env/" + plan.install->hash, "{B}");
    line = replace_all(line, "/workspace/.mcp/s/workspace", "{W}");
    line =
        replace_all(line, "uv pip install --python {E}/bin/python --compile-bytecode --link-mode copy", "uv-install");
    line = replace_all(line, "uv venv --quiet --allow-existing --python", "uv-venv");
    line = replace_all(line, "npm install --prefix {E} --no-audit --no-fund", "npm-install");
  }
  return lines;
}

class PlanGolden : public ::testing::TestWithParam<Case> {};

TEST_P(PlanGolden, holds) {
  const Case& test = GetParam();
  test::TempTree tree;
  build(tree, test.tree);
  auto here = [&](const std::string& text) { return replace_all(text, "{T}", tree.root()); };
  LaunchSpec spec{.name = "s", .command = here(test.command[0])};
  for (std::size_t i = 1; i < test.command.size(); ++i) spec.args.push_back(here(test.command[i]));
  Policy policy{.allowed_roots = {tree.root()},
                .workspace = "/workspace/.mcp/s/workspace",
                .image_id = "sha256:1",
                .home = tree.path("home/u")};
  for (const std::string& option : test.options) {
    std::size_t equals = option.find('=');
    std::string key = option.substr(0, equals);
    std::string value = equals == std::string::npos ? "" : here(option.substr(equals + 1));
    if (key == "cwd") spec.cwd = value;
    if (key == "host_path") spec.host_path = value;
    if (key == "stage") spec.more_stage.push_back(value);
    if (key == "mount") spec.mounts.push_back({value, Access::kReadOnly});
    if (key == "mount-rw") spec.mounts.push_back({value, Access::kReadWrite});
    if (key == "env") spec.env[value.substr(0, value.find('='))] = value.substr(value.find('=') + 1);
    if (key == "allow") policy.allowed_roots = {value};
    if (key == "run") policy.same_paths = true, policy.infer = false;
  }
  auto plan = make_plan(spec, policy);
  ASSERT_TRUE(plan) << plan.error().message();
  const std::vector<std::string> actual = render(*plan, spec, tree);
  if (accepting() && actual != test.expected) return accept(test, actual);
  EXPECT_EQ(join(actual, "\n"), join(test.expected, "\n"))
      << "why:\n"
      << join(plan->why, "\n") << "\nhints:\n"
      << join(plan->hints, "\n") << "\nrefused: " << (plan->refused.empty() ? "" : plan->refused[0].reason);
}

INSTANTIATE_TEST_SUITE_P(, PlanGolden, ::testing::ValuesIn(read_cases()),
                         [](const auto& info) { return info.param.suite + "_" + info.param.name; });

TEST(PlanGoldenFile, has_all_its_cases) {
  const std::vector<Case> cases = read_cases();
  EXPECT_GE(cases.size(), 87u) << golden_path();
  for (const Case& test : cases) {
    EXPECT_FALSE(test.command.empty()) << test.name;
    EXPECT_FALSE(test.expected.empty()) << test.name;
  }
}

}  // namespace
}  // namespace mcpbox::workspace
