#include "workspace/toolchain.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/temp_tree.h"

namespace mcpbox::workspace {
namespace {

using Binds = std::vector<std::pair<std::string, std::string>>;

struct ToolchainTest : testing::Test {
  test::TempTree tree;
  std::string home = tree.dir("dev-2");
  std::string program(const std::string& path, const std::string& content = "\177ELF") {
    return tree.file("dev-2/" + path, content, 0755);
  }
  const Toolchain* at(const Toolchains& chains, std::string_view name) {
    const auto found = std::ranges::find(chains.found, name, &Toolchain::program);
    return found == chains.found.end() ? nullptr : &*found;
  }
};

TEST_F(ToolchainTest, shows_one_version_of_nvm_and_nothing_around_it) {
  program(".nvm/versions/node/v22.1.0/bin/node");
  program(".nvm/versions/node/v22.1.0/lib/node_modules/npm/bin/npm-cli.js", "#!/usr/bin/env node\n");
  tree.link("dev-2/.nvm/versions/node/v22.1.0/bin/npm", "../lib/node_modules/npm/bin/npm-cli.js");
  const std::string prefix = home + "/.nvm/versions/node/v22.1.0";
  const auto chains = find_toolchains(prefix + "/bin:/usr/bin", home);
  for (const char* name : {"node", "npm"}) {
    ASSERT_NE(at(chains, name), nullptr) << name;
    EXPECT_EQ(at(chains, name)->bin, prefix + "/bin");
    EXPECT_EQ(at(chains, name)->binds, (Binds{{prefix, prefix}}));
  }
}

TEST_F(ToolchainTest, follows_the_link_of_a_version_manager_to_the_version) {
  program(".local/share/uv/python/cpython-3.12.4-linux-x86_64-gnu/bin/python3.12");
  tree.link("dev-2/.local/bin/python3",
            home + "/.local/share/uv/python/cpython-3.12.4-linux-x86_64-gnu/bin/python3.12");
  const auto chains = find_toolchains(home + "/.local/bin", home);
  ASSERT_NE(at(chains, "python3"), nullptr);
  const std::string prefix = home + "/.local/share/uv/python/cpython-3.12.4-linux-x86_64-gnu";
  EXPECT_EQ(at(chains, "python3")->binds, (Binds{{prefix, prefix}}));
}

TEST_F(ToolchainTest, takes_the_version_that_pyenv_would_choose) {
  program(".pyenv/shims/python3", "#!/bin/sh\n");
  program(".pyenv/versions/3.11.9/bin/python3");
  tree.file("dev-2/.pyenv/version", "3.11.9\n");
  const auto chains = find_toolchains(home + "/.pyenv/shims", home);
  ASSERT_NE(at(chains, "python3"), nullptr);
  EXPECT_EQ(at(chains, "python3")->bin, home + "/.pyenv/versions/3.11.9/bin");
  tree.file("dev-2/.pyenv/version", "../../..\n");
  EXPECT_EQ(at(find_toolchains(home + "/.pyenv/shims", home), "python3"), nullptr);
}

TEST_F(ToolchainTest, shows_a_single_program_where_its_folder_is_the_users) {
  const std::string uv = program(".local/bin/uv");
  const std::string uvx = program(".cargo/bin/uvx");
  const auto chains = find_toolchains(home + "/.local/bin:" + home + "/.cargo/bin", home);
  ASSERT_NE(at(chains, "uv"), nullptr);
  EXPECT_EQ(at(chains, "uv")->binds, (Binds{{uv, uv}}));
  ASSERT_NE(at(chains, "uvx"), nullptr);
  EXPECT_EQ(at(chains, "uvx")->binds, (Binds{{uvx, uvx}}));
}

TEST_F(ToolchainTest, never_shows_a_home_or_what_is_above_it) {
  program("bin/node", "#!/bin/sh\n");
  program("../bin/python3", "#!/bin/sh\n");
  for (const std::string& path : {home + "/bin", tree.root() + "/bin", home + "/.asdf/shims"}) {
    for (const Toolchain& chain : find_toolchains(path, home).found) {
      for (const auto& [source, target] : chain.binds) EXPECT_FALSE(home.starts_with(source)) << source;
    }
  }
  EXPECT_EQ(find_toolchains(home + "/bin", home).notes.size(), 1u);
  EXPECT_TRUE(find_toolchains("bin:./x:", home).found.empty());
}

TEST_F(ToolchainTest, leaves_out_what_the_system_has_first) {
  program(".nvm/versions/node/v22.1.0/bin/sh");
  program(".nvm/versions/node/v22.1.0/bin/node");
  tree.link("dev-2/system/node", "/usr/bin/env");
  EXPECT_TRUE(find_toolchains(home + "/system:" + home + "/.nvm/versions/node/v22.1.0/bin", home).found.empty());
}

TEST_F(ToolchainTest, shows_the_program_parts_of_a_homebrew_prefix) {
  program("brew/Cellar/node/22.1.0/bin/node");
  program("brew/etc/redis.conf", "password");
  tree.link("dev-2/brew/bin/node", "../Cellar/node/22.1.0/bin/node");
  const auto chains = find_toolchains(home + "/brew/bin", home);
  ASSERT_NE(at(chains, "node"), nullptr);
  EXPECT_EQ(at(chains, "node")->binds,
            (Binds{{home + "/brew/bin", home + "/brew/bin"}, {home + "/brew/Cellar", home + "/brew/Cellar"}}));
}

}  // namespace
}  // namespace mcpbox::workspace
