// The golden tables of planning: a tree, a command line, what comes of it. {T} is the tree's place, {W} the server's
// workspace, {E} the environment that the plan installs.
#include <gtest/gtest.h>

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
  std::string name;
  std::vector<std::string> tree;  // "file", "folder/", "link->target", "file=content"
  std::vector<std::string> command;
  std::vector<std::string> expected;  // lines of render(), all of them, in order
  std::vector<std::string> options;  // "cwd=…", "host_path=…", "stage=…", "mount=…", "env=NAME=value", "allow=…", "run"
};

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
  EXPECT_EQ(join(render(*plan, spec, tree), "\n"), join(test.expected, "\n"))
      << "why:\n"
      << join(plan->why, "\n") << "\nhints:\n"
      << join(plan->hints, "\n") << "\nrefused: " << (plan->refused.empty() ? "" : plan->refused[0].reason);
}

std::string name_of(const ::testing::TestParamInfo<Case>& info) {
  return info.param.name;
}

const std::string kVenv = "step uv-venv /usr/bin/python3 {E}";
const std::string kRequirements = "step uv-install -r {B}/tmp/in/requirements.txt";

// clang-format off
INSTANTIATE_TEST_SUITE_P(Python, PlanGolden, ::testing::ValuesIn(std::vector<Case>{
    {"symlinked_venv_interpreter", {"p/requirements.txt=six", "p/server.py", "p/.venv/pyvenv.cfg", "p/.venv/bin/python->/usr/bin/python3"},
     {"{T}/p/.venv/bin/python", "{T}/p/server.py"},
     {"stage {T}/p {W}", "argv {E}/bin/python {W}/server.py", "cwd {W}", kVenv, kRequirements}, {}},
    {"venv_interpreter_that_does_not_exist_here", {"p/requirements.txt=six", "p/server.py"},
     {"{T}/p/.venv/bin/python3", "{T}/p/server.py"},
     {"stage {T}/p {W}", "argv {E}/bin/python {W}/server.py", "cwd {W}", kVenv, kRequirements}, {}},
    {"script_of_a_venv_that_does_not_exist_here", {"p/requirements.txt=uvicorn"}, {"{T}/p/.venv/bin/uvicorn", "app:app"},
     {"stage {T}/p {W}", "argv {E}/bin/uvicorn app:app", "cwd {W}", kVenv, kRequirements}, {}},
    {"venv_interpreter_without_a_manifest_becomes_the_sandboxs", {"p/server.py", "p/.venv/bin/python"},
     {"{T}/p/.venv/bin/python", "{T}/p/server.py"}, {"stage {T}/p {W}", "argv python3 {W}/server.py", "cwd {W}"}, {}},
    {"system_interpreter_and_project_script", {"p/requirements.txt=six", "p/src/server.py"},
     {"/usr/bin/python3", "{T}/p/src/server.py"},
     {"stage {T}/p {W}", "argv {E}/bin/python {W}/src/server.py", "cwd {W}", kVenv, kRequirements}, {}},
    {"system_interpreter_alone_stages_nothing", {}, {"/usr/bin/python3", "-c", "print()"}, {"argv /usr/bin/python3 -c print()", "cwd {W}"}, {}},
    {"module_with_working_directory", {"p/requirements.txt=six", "p/pkg/__main__.py"}, {"python", "-m", "pkg"},
     {"stage {T}/p {W}", "argv {E}/bin/python -m pkg", "cwd {W}", kVenv, kRequirements}, {"cwd={T}/p"}},
    {"working_directory_below_the_project", {"p/requirements.txt=six", "p/src/pkg/__main__.py"}, {"python3", "-m", "pkg"},
     {"stage {T}/p {W}", "argv {E}/bin/python -m pkg", "cwd {W}/src", kVenv, kRequirements}, {"cwd={T}/p/src"}},
    {"script_of_a_venv", {"p/requirements.txt=uvicorn", "p/.venv/bin/uvicorn"}, {"{T}/p/.venv/bin/uvicorn", "app:app"},
     {"stage {T}/p {W}", "argv {E}/bin/uvicorn app:app", "cwd {W}", kVenv, kRequirements}, {}},
    {"relative_venv_interpreter", {"p/requirements.txt=six", "p/server.py", "p/.venv/bin/python"}, {".venv/bin/python", "server.py"},
     {"stage {T}/p {W}", "argv {E}/bin/python server.py", "cwd {W}", kVenv, kRequirements}, {"cwd={T}/p"}},
    {"script_of_a_venv_without_a_manifest_is_refused", {"p/.venv/bin/uvicorn", "p/app.py"}, {"{T}/p/.venv/bin/uvicorn", "app:app"},
     {"stage {T}/p {W}", "argv {T}/p/.venv/bin/uvicorn app:app", "cwd {W}", "refused {T}/p/.venv/bin/uvicorn"}, {}},
    {"venv_apart_from_the_project", {"venvs/x/pyvenv.cfg", "venvs/x/bin/python->/usr/bin/python3", "p/requirements.txt=six", "p/server.py"},
     {"{T}/venvs/x/bin/python", "{T}/p/server.py"},
     {"stage {T}/p {W}", "argv {E}/bin/python {W}/server.py", "cwd {W}", kVenv, kRequirements}, {}},
    {"interpreter_of_a_version_manager", {"home/u/.pyenv/shims/python", "p/server.py"}, {"{T}/home/u/.pyenv/shims/python", "{T}/p/server.py"},
     {"stage {T}/p {W}", "argv python3 {W}/server.py", "cwd {W}"}, {}},
    {"named_python_version_is_fetched", {"p/requirements.txt=six", "p/server.py"}, {"python3.12", "{T}/p/server.py"},
     {"stage {T}/p {W}", "argv {E}/bin/python {W}/server.py", "cwd {W}", "step uv-venv 3.12 {E}", kRequirements}, {}},
    {"relative_arguments_flags_and_urls_stay", {"p/server.py", "p/x", "p/-m"}, {"python3", "server.py", "-m", "--config=x", "https://x/y", "x", "../p/x"},
     {"stage {T}/p {W}", "argv python3 server.py -m --config=x https://x/y x ../p/x", "cwd {W}"}, {"cwd={T}/p"}},
    {"package_named_env_is_no_venv", {"p/requirements.txt=six", "p/env/bin/tool.py"}, {"python3", "{T}/p/env/bin/tool.py"},
     {"stage {T}/p {W}", "argv {E}/bin/python {W}/env/bin/tool.py", "cwd {W}", kVenv, kRequirements}, {}},
    {"requirements_with_includes_constraints_and_hashes",
     {"p/requirements.txt=-r more/base.txt\n-c limits.txt\nsix==1 \\\n  --hash=sha256:00\n", "p/more/base.txt=-r ../requirements.txt\nabc", "p/limits.txt=six<2", "p/s.py"},
     {"python3", "{T}/p/s.py"},
     {"stage {T}/p {W}", "argv {E}/bin/python {W}/s.py", "cwd {W}", kVenv, "step uv-install --require-hashes -r {B}/tmp/in/requirements.txt"}, {}},
    {"requirements_that_leave_the_project_are_refused", {"p/requirements.txt=-r ../secret.txt", "secret.txt", "p/s.py"}, {"python3", "{T}/p/s.py"},
     {"stage {T}/p {W}", "argv {E}/bin/python {W}/s.py", "cwd {W}", kVenv, "refused {T}/secret.txt"}, {}},
    {"editable_project_needs_its_sources", {"p/requirements.txt=-e .[x]\n", "p/setup.py", "p/s.py"}, {"python3", "{T}/p/s.py"},
     {"stage {T}/p {W}", "argv {E}/bin/python {W}/s.py", "cwd {W}", "source {T}/p {B}/tmp/src", kVenv, "step uv-install {B}/tmp/src -r {B}/tmp/in/requirements.txt"}, {}},
    {"package_with_build_system", {"p/pyproject.toml=[build-system]\nrequires=[]\n[project]\nname='x'\nrequires-python='>=3.10'\n", "p/src/x/__main__.py"}, {"python", "-m", "x"},
     {"stage {T}/p {W}", "argv {E}/bin/python -m x", "cwd {W}", "source {T}/p {B}/tmp/src", kVenv, "step uv-install {B}/tmp/src"}, {"cwd={T}/p"}},
    {"project_without_build_system_needs_no_sources", {"p/pyproject.toml=[project]\nname='x'\ndependencies = [\n  'six', # c\n]\nrequires-python = '>=3.12'\n", "p/m.py"},
     {"python", "{T}/p/m.py"},
     {"stage {T}/p {W}", "argv {E}/bin/python {W}/m.py", "cwd {W}", "step uv-venv 3.12 {E}", "step uv-install -r {B}/tmp/in/pyproject.toml"}, {}},
    {"pyproject_of_a_linter_only", {"p/pyproject.toml=[tool.ruff]\nline-length=1\n", "p/requirements.txt=six", "p/m.py"}, {"python", "{T}/p/m.py"},
     {"stage {T}/p {W}", "argv {E}/bin/python {W}/m.py", "cwd {W}", kVenv, kRequirements}, {}},
    {"setup_py", {"p/setup.py", "p/m.py"}, {"python", "{T}/p/m.py"},
     {"stage {T}/p {W}", "argv {E}/bin/python {W}/m.py", "cwd {W}", "source {T}/p {B}/tmp/src", kVenv, "step uv-install {B}/tmp/src"}, {}},
    {"setup_cfg", {"p/setup.cfg=[metadata]\nname=x\n", "p/m.py"}, {"python", "{T}/p/m.py"},
     {"stage {T}/p {W}", "argv {E}/bin/python {W}/m.py", "cwd {W}", "source {T}/p {B}/tmp/src", kVenv,
      "step /usr/bin/python3 -c import sys; open(sys.argv[1], 'x').write('from setuptools import setup\\nsetup()\\n') {B}/tmp/src/setup.py",
      "step uv-install {B}/tmp/src"}, {}},
    {"uv_lock", {"p/pyproject.toml=[project]\nname='x'\n", "p/uv.lock=version = 1\n", "p/m.py"}, {"uv", "--directory", "{T}/p", "run", "m.py", "--flag"},
     {"stage {T}/p {W}", "argv {E}/bin/python m.py --flag", "cwd {W}", kVenv,
      "step uv sync --frozen --no-dev --no-editable --python {E}/bin/python --project {B}/tmp/in --no-install-project"}, {}},
    {"uv_run_directory_and_entry_point", {"p/pyproject.toml=[build-system]\n[project]\nname='x'\n", "p/x.py"}, {"uv", "run", "--directory", "{T}/p", "x-server", "{T}/p/x.py"},
     {"stage {T}/p {W}", "argv {E}/bin/x-server {W}/x.py", "cwd {W}", "source {T}/p {B}/tmp/src", kVenv, "step uv-install {B}/tmp/src"}, {}},
    {"uv_directory_with_an_equals_sign", {"p/pyproject.toml=[build-system]\n[project]\nname='x'\n", "p/x.py"}, {"uv", "--directory={T}/p", "run", "x-server"},
     {"stage {T}/p {W}", "argv {E}/bin/x-server", "cwd {W}", "source {T}/p {B}/tmp/src", kVenv, "step uv-install {B}/tmp/src"}, {}},
    {"script_in_the_binaries_of_no_venv", {"p/requirements.txt=six", "p/.venv/lib/tool.py"}, {"python3", "{T}/p/.venv/lib/tool.py"},
     {"stage {T}/p {W}", "argv {E}/bin/python {W}/.venv/lib/tool.py", "cwd {W}", kVenv, kRequirements}, {}},
    {"uv_run_with", {"p/server.py"}, {"uv", "run", "--with", "mcp[cli]", "--with", "a,b>=1,<2", "mcp", "run", "{T}/p/server.py"},
     {"stage {T}/p {W}", "argv {E}/bin/mcp run {W}/server.py", "cwd {W}", kVenv, "step uv-install mcp[cli] a b>=1,<2"}, {}},
    {"uv_run_script_header_ignores_the_project",
     {"p/pyproject.toml=[project]\ndependencies=['no']\n", "p/s.py=#!/usr/bin/env python\n# /// script\n# requires-python = \">=3.9\"\n# dependencies = [\n#   \"httpx<1\",\n# ]\n# ///\n"},
     {"uv", "run", "{T}/p/s.py"}, {"stage {T}/p {W}", "argv {E}/bin/python {W}/s.py", "cwd {W}", kVenv, "step uv-install -r {B}/tmp/in/script-requirements.txt"}, {}},
    {"poetry_run", {"p/pyproject.toml=[tool.poetry]\nname='x'\n[build-system]\n", "p/poetry.lock=[[package]]\nname = \"six\"\nversion = \"1.0\"\n", "p/m.py"},
     {"poetry", "-C", "{T}/p", "run", "python", "m.py"},
     {"stage {T}/p {W}", "argv {E}/bin/python m.py", "cwd {W}", "source {T}/p {B}/tmp/src", kVenv, "step uv-install -c {B}/tmp/in/poetry-pins.txt {B}/tmp/src"}, {}},
    {"uvx", {}, {"uvx", "mcp-server-time@1.2", "--tz", "UTC"}, {"argv {E}/bin/mcp-server-time --tz UTC", "cwd {W}", kVenv, "step uv-install mcp-server-time==1.2"}, {}},
    {"uvx_by_its_host_path", {"home/u/.local/bin/uvx"}, {"{T}/home/u/.local/bin/uvx", "mcp-server-fetch"},
     {"argv {E}/bin/mcp-server-fetch", "cwd {W}", kVenv, "step uv-install mcp-server-fetch"}, {}},
    {"uvx_from_with_python", {}, {"uvx", "--python", "3.12", "--from", "pkg[x]>=1", "--with=mcp<2", "-q", "cmd", "--from", "mine"},
     {"argv {E}/bin/cmd --from mine", "cwd {W}", "step uv-venv 3.12 {E}", "step uv-install pkg[x]>=1 mcp<2"}, {}},
    {"uvx_from_git", {}, {"uvx", "--from", "git+https://h/u/r@v1", "cmd"}, {"argv {E}/bin/cmd", "cwd {W}", kVenv, "step uv-install git+https://h/u/r@v1"}, {}},
    {"uvx_from_a_folder", {"p/pyproject.toml=[build-system]\n"}, {"uvx", "--from", "{T}/p", "cmd"},
     {"stage {T}/p {W}", "argv {E}/bin/cmd", "cwd {W}", "source {T}/p {B}/tmp/src", kVenv, "step uv-install {B}/tmp/src"}, {}},
    {"uv_workspace_member", {"m/pyproject.toml=[tool.uv.workspace]\nmembers=['a']\n", "m/uv.lock=version = 1\n", "m/a/pyproject.toml=[project]\nname='a'\n[build-system]\n"},
     {"uv", "run", "--directory", "{T}/m/a", "a-cmd"},
     {"stage {T}/m {W}", "argv {E}/bin/a-cmd", "cwd {W}/a", "source {T}/m {B}/tmp/src", kVenv, "step uv sync --frozen --no-dev --no-editable --python {E}/bin/python --project {B}/tmp/src/a"}, {}},
    {"uvx_from_here", {"p/pyproject.toml=[build-system]\n"}, {"uvx", "--from", ".[x]", "cmd"},
     {"stage {T}/p {W}", "argv {E}/bin/cmd", "cwd {W}", "source {T}/p {B}/tmp/src", kVenv, "step uv-install {B}/tmp/src[x]"}, {"cwd={T}/p"}},
    {"uv_tool_run", {}, {"uv", "tool", "run", "pkg@latest"}, {"argv {E}/bin/pkg", "cwd {W}", kVenv, "step uv-install pkg"}, {}},
    {"pipx_run", {}, {"pipx", "run", "--spec", "pkg==2", "cmd", "-x"}, {"argv {E}/bin/cmd -x", "cwd {W}", kVenv, "step uv-install pkg==2"}, {}},
}), name_of);

const std::string kNpm = "step npm ci --no-audit --no-fund --omit=dev";
const std::string kPackage = R"({"dependencies":{"x":"1"},"scripts":{"prepare":"husky"}})";

INSTANTIATE_TEST_SUITE_P(Node, PlanGolden, ::testing::ValuesIn(std::vector<Case>{
    {"built_script_of_a_project", {"p/package.json=" + kPackage, "p/package-lock.json={}", "p/dist/index.js"}, {"node", "{T}/p/dist/index.js"},
     {"stage {T}/p {W}", "link node_modules -> {E}/node_modules", "argv node {W}/dist/index.js", "cwd {W}", kNpm}, {}},
    {"prebuilt_node_modules_are_not_used", {"p/package.json=" + kPackage, "p/node_modules/x/index.js", "p/index.js"}, {"node", "{T}/p/index.js"},
     {"stage {T}/p {W}", "link node_modules -> {E}/node_modules", "argv node {W}/index.js", "cwd {W}", "step npm install --no-audit --no-fund --omit=dev"}, {}},
    {"no_dependencies", {"p/package.json={}", "p/index.js"}, {"node", "{T}/p/index.js"}, {"stage {T}/p {W}", "argv node {W}/index.js", "cwd {W}"}, {}},
    {"workspace_member", {"m/package.json={\"workspaces\":[\"packages/*\"]}", "m/package-lock.json={}", "m/packages/a/package.json=" + kPackage, "m/packages/a/dist/i.js"},
     {"node", "{T}/m/packages/a/dist/i.js"},
     {"stage {T}/m {W}", "link node_modules -> {E}/node_modules", "argv node {W}/packages/a/dist/i.js", "cwd {W}", "source {T}/m {E}", kNpm}, {"host_path={T}/m"}},
    {"workspace_of_a_member_is_inferred", {"m/package.json={\"workspaces\":[\"packages/*\"]}", "m/package-lock.json={}", "m/packages/a/package.json=" + kPackage, "m/packages/a/dist/i.js"},
     {"node", "{T}/m/packages/a/dist/i.js"},
     {"stage {T}/m {W}", "link node_modules -> {E}/node_modules", "argv node {W}/packages/a/dist/i.js", "cwd {W}", "source {T}/m {E}", kNpm}, {}},
    {"nested_project_is_its_own_root", {"m/package.json={}", "m/sub/package.json={}", "m/sub/i.js"}, {"node", "{T}/m/sub/i.js"},
     {"stage {T}/m/sub {W}", "argv node {W}/i.js", "cwd {W}"}, {}},
    {"npx_of_a_folder", {"p/package.json={\"name\":\"x\"}"}, {"npx", "{T}/p", "a"},
     {"stage {T}/p {W}", "argv {E}/node_modules/.bin/mcpbox-package a", "cwd {W}", "source {T}/p {B}/tmp/src", "step npm-install --omit=dev --install-links -- mcpbox-package@file:{B}/tmp/src"}, {}},
    {"pnpm_lock", {"p/package.json={\"packageManager\":\"pnpm@9.1.0+sha512.x\",\"dependencies\":{\"x\":\"1\"}}", "p/pnpm-lock.yaml", "p/i.js"}, {"node", "{T}/p/i.js"},
     {"stage {T}/p {W}", "link node_modules -> {E}/node_modules", "argv node {W}/i.js", "cwd {W}",
      "step npm exec --yes --package=pnpm@9.1.0 -- pnpm install --frozen-lockfile --package-import-method=copy --store-dir={B}/cache/pnpm --prod"}, {}},
    {"npm_prefix_start", {"p/package.json=" + kPackage, "p/package-lock.json={}"}, {"npm", "--prefix", "{T}/p", "start"},
     {"stage {T}/p {W}", "link node_modules -> {E}/node_modules", "argv npm --prefix {W} start", "cwd {W}", "step npm ci --no-audit --no-fund --include=dev"}, {}},
    {"npm_prefix_with_an_equals_sign", {"p/package.json=" + kPackage, "p/package-lock.json={}"}, {"npm", "--prefix={T}/p", "run", "serve"},
     {"stage {T}/p {W}", "link node_modules -> {E}/node_modules", "argv npm --prefix={W} run serve", "cwd {W}", "step npm ci --no-audit --no-fund --include=dev"}, {}},
    {"npx", {}, {"npx", "-y", "@scope/server@1.2", "--port", "1"},
     {"argv {E}/node_modules/.bin/server --port 1", "cwd {W}", "step npm-install --omit=dev -- @scope/server@1.2"}, {}},
    {"npx_by_its_host_path_with_a_data_folder", {"home/u/.nvm/bin/npx", "data/repo/a.txt", "data/other"}, {"{T}/home/u/.nvm/bin/npx", "-y", "server-filesystem", "{T}/data/repo"},
     {"stage {T}/data/repo {W}", "argv {E}/node_modules/.bin/server-filesystem {W}", "cwd {W}", "step npm-install --omit=dev -- server-filesystem"}, {}},
    {"npx_package_option", {}, {"npx", "--package=@a/b@2", "-y", "cmd", "-p", "x"}, {"argv {E}/node_modules/.bin/cmd -p x", "cwd {W}", "step npm-install --omit=dev -- @a/b@2"}, {}},
    {"npx_git", {}, {"npx", "github:u/r"}, {"argv {E}/node_modules/.bin/mcpbox-package", "cwd {W}", "step npm-install --omit=dev -- mcpbox-package@github:u/r"}, {}},
    {"npx_runner_for_a_project_script", {"p/package.json=" + kPackage, "p/package-lock.json={}", "p/s.ts"}, {"npx", "tsx", "{T}/p/s.ts"},
     {"stage {T}/p {W}", "link node_modules -> {E}/node_modules", "argv {E}/node_modules/.bin/tsx {W}/s.ts", "cwd {W}", "step npm ci --no-audit --no-fund --include=dev",
      "step npm-install --no-save -- tsx"}, {}},
    {"npm_exec", {}, {"npm", "exec", "--yes", "--", "pkg", "-y"}, {"argv {E}/node_modules/.bin/pkg -y", "cwd {W}", "step npm-install --omit=dev -- pkg"}, {}},
    {"pnpm_dlx", {}, {"pnpm", "dlx", "pkg@1", "a"}, {"argv {E}/node_modules/.bin/pkg a", "cwd {W}", "step npm-install --omit=dev -- pkg@1"}, {}},
    {"bunx", {}, {"bunx", "pkg"}, {"argv {E}/node_modules/.bin/pkg", "cwd {W}", "step npm-install --omit=dev -- pkg"}, {}},
    {"cmd_c_of_windows", {}, {"cmd", "/c", "npx", "-y", "pkg"}, {"argv {E}/node_modules/.bin/pkg", "cwd {W}", "step npm-install --omit=dev -- pkg"}, {}},
    {"npx_shell_line_is_refused", {}, {"npx", "-c", "a && b"}, {"argv npx -c a && b", "cwd {W}", "refused npx"}, {}},
}), name_of);

INSTANTIATE_TEST_SUITE_P(Paths, PlanGolden, ::testing::ValuesIn(std::vector<Case>{
    {"options_lists_urls_and_values", {"p/package.json={}", "p/i.js", "p/c d.json"},
     {"node", "{T}/p/i.js", "--config={T}/p/c d.json", "file://{T}/p/c%20d.json", "-I{T}/p/inc", "--dirs={T}/p/a:{T}/p/b", "{T}/p/a,{T}/q/b", "@{T}/p/x", "NAME={T}/p", "{T}/p/"},
     {"stage {T}/p {W}",
      "argv node {W}/i.js --config={W}/c d.json file://{W}/c%20d.json -I{W}/inc --dirs={W}/a:{W}/b {W}/a,{T}/q/b @{W}/x NAME={W} {W}/", "cwd {W}",
      "env LIST=/usr/lib:{W}/lib", "env ONE={W}/db", "env URL=https://h{T}/p"},
     {"env=ONE={T}/p/db", "env=LIST=/usr/lib:{T}/p/lib", "env=URL=https://h{T}/p"}},
    {"a_longer_name_is_another_folder", {"mcp/package.json={}", "mcp/i.js"}, {"node", "{T}/mcp/i.js", "{T}/mcp-other/x", "{T}/mcpx"},
     {"stage {T}/mcp {W}", "argv node {W}/i.js {T}/mcp-other/x {T}/mcpx", "cwd {W}"}, {}},
    {"roots_side_by_side_never_their_parent", {"a/package.json={}", "a/i.js", "b/data/x", "c/data/y"}, {"node", "{T}/a/i.js", "{T}/b/data", "--more={T}/c/data"},
     {"stage {T}/a {W}/a", "stage {T}/b/data {W}/data", "stage {T}/c/data {W}/data-2", "argv node {W}/a/i.js {W}/data --more={W}/data-2", "cwd {W}/a"}, {}},
    {"root_never_above_an_allowed_root", {"package.json={}", "allowed/sub/i.js"}, {"node", "{T}/allowed/sub/i.js"},
     {"stage {T}/allowed/sub {W}", "argv node {W}/i.js", "cwd {W}"}, {"allow={T}/allowed"}},
    {"home_is_never_staged_as_a_whole", {"home/u/package.json={}", "home/u/tools/i.js"}, {"node", "{T}/home/u/tools/i.js"},
     {"stage {T}/home/u/tools {W}", "argv node {W}/i.js", "cwd {W}"}, {}},
    {"home_as_argument_is_refused", {"home/u/x"}, {"npx", "pkg", "{T}/home/u"},
     {"argv {E}/node_modules/.bin/pkg {T}/home/u", "cwd {W}", "step npm-install --omit=dev -- pkg", "refused {T}/home/u"}, {}},
    {"credentials_as_argument_are_refused", {"home/u/.kube/config"}, {"npx", "pkg", "{T}/home/u/.kube/config"},
     {"argv {E}/node_modules/.bin/pkg {T}/home/u/.kube/config", "cwd {W}", "step npm-install --omit=dev -- pkg", "refused {T}/home/u/.kube/config"}, {}},
    {"outside_of_the_allowed_roots_is_refused", {"allowed/", "other/i.js"}, {"node", "{T}/other/i.js"}, {"argv node {T}/other/i.js", "cwd {W}", "refused {T}/other/i.js"}, {"allow={T}/allowed"}},
    {"a_link_out_of_the_allowed_roots_is_refused", {"allowed/p->../secret", "secret/i.js"}, {"node", "{T}/allowed/p/i.js"},
     {"argv node {T}/allowed/p/i.js", "cwd {W}", "refused {T}/allowed/p/i.js"}, {"allow={T}/allowed"}},
    {"system_paths_are_the_sandboxs_own", {}, {"npx", "pkg", "/", "/tmp", "/etc/hosts", "/usr/share"},
     {"argv {E}/node_modules/.bin/pkg / /tmp /etc/hosts /usr/share", "cwd {W}", "step npm-install --omit=dev -- pkg"}, {}},
    {"named_folder_wins_over_inference", {"p/sub/i.js", "q/x"}, {"node", "{T}/p/sub/i.js", "{T}/q/x"}, {"stage {T}/p {W}", "argv node {W}/sub/i.js {T}/q/x", "cwd {W}"}, {"host_path={T}/p"}},
    {"named_folder_through_a_link", {"real/i.js", "alias->real"}, {"node", "{T}/alias/i.js", "{T}/real/x"},
     {"stage {T}/real {W}", "argv node {W}/i.js {W}/x", "cwd {W}"}, {"host_path={T}/alias"}},
    {"named_folder_that_is_none", {"p"}, {"node", "x.js"}, {"argv node x.js", "cwd {W}", "refused {T}/p"}, {"host_path={T}/p"}},
    {"named_folder_that_is_missing", {}, {"node", "x.js"}, {"argv node x.js", "cwd {W}", "refused {T}/p"}, {"host_path={T}/p"}},
    {"mounts_appear_at_their_own_path", {"p/i.js", "notes/a"}, {"node", "{T}/p/i.js", "{T}/notes"},
     {"stage {T}/p {W}", "bind-rw {T}/notes {T}/notes", "argv node {W}/i.js {T}/notes", "cwd {W}"}, {"host_path={T}/p", "mount-rw={T}/notes"}},
    {"windows_paths_stay", {"p/i.js"}, {"node", "{T}/p/i.js", "C:\\p\\x", "D:/p/x", "\\\\h\\s", "--f=C:/x", "file:///C:/x"},
     {"stage {T}/p {W}", "argv node {W}/i.js C:\\p\\x D:/p/x \\\\h\\s --f=C:/x file:///C:/x", "cwd {W}"}, {}},
    {"names_with_spaces_unicode_and_dashes", {"-my pr\xC3\xB6j/package.json={}", "-my pr\xC3\xB6j/i.js"}, {"node", "{T}/-my pr\xC3\xB6j/i.js"},
     {"stage {T}/-my pr\xC3\xB6j {W}", "argv node {W}/i.js", "cwd {W}"}, {}},
    {"sandbox_paths_stay", {}, {"/app/server", "/no/such/path", "/workspace/x"}, {"argv /app/server /no/such/path /workspace/x", "cwd {W}"}, {}},
    {"folder_within_a_folder_comes_with_it", {"p/package.json={}", "p/i.js", "p/data/x"}, {"node", "{T}/p/i.js", "{T}/p/data"},
     {"stage {T}/p {W}", "argv node {W}/i.js {W}/data", "cwd {W}"}, {}},
    {"container_in_a_container_is_refused", {}, {"docker", "run", "-i", "img"}, {"argv docker run -i img", "cwd {W}", "refused docker"}, {}},
}), name_of);

INSTANTIATE_TEST_SUITE_P(Run, PlanGolden, ::testing::ValuesIn(std::vector<Case>{
    {"staged_folder_stays_where_it_is", {"p/requirements.txt=six", "p/s.py"}, {"python3", "s.py", "{T}/p/x"},
     {"stage {T}/p {T}/p", "argv {E}/bin/python s.py {T}/p/x", "cwd {T}/p", kVenv, kRequirements}, {"run", "stage={T}/p", "cwd={T}/p"}},
    {"nothing_is_inferred", {"p/package.json={}", "p/i.js"}, {"node", "{T}/p/i.js"}, {"argv node {T}/p/i.js", "cwd {W}"}, {"run", "cwd={T}/p"}},
    {"mount_through_a_link_stays_as_written", {"real/x", "alias->real"}, {"npx", "pkg", "{T}/alias"},
     {"bind {T}/real {T}/alias", "argv {E}/node_modules/.bin/pkg {T}/alias", "cwd {T}/alias", "step npm-install --omit=dev -- pkg"}, {"run", "mount={T}/alias"}},
    {"denied_folder", {"home/u/"}, {"npx", "pkg"}, {"argv {E}/node_modules/.bin/pkg", "cwd {W}", "step npm-install --omit=dev -- pkg", "refused {T}/home/u"}, {"run", "stage={T}/home/u"}},
}), name_of);

// clang-format on

}  // namespace
}  // namespace mcpbox::workspace
