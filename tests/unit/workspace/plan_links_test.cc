// Folders that are planned while somebody else changes them, and links in them that lead elsewhere.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/inotify.h>

#include <thread>

#include "base/unique_fd.h"
#include "unit/workspace/planning.h"

namespace mcpbox::workspace {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class PlanningOverLinks : public Planning {
 protected:
  // Nothing of the plan, nor of what people are told, has the word.
  static void expect_without(const Plan& plan, const std::string& word) {
    EXPECT_THAT(plan_to_json(plan), Not(HasSubstr(word)));
    if (!plan.install) return;
    EXPECT_THAT(plan.install->inputs, Each(Field(&InstallInput::content, Not(HasSubstr(word)))));
    for (const InstallStep& step : plan.install->steps) EXPECT_THAT(step.argv, Each(Not(HasSubstr(word))));
  }
};

// Kind: a manifest that is a link out of its folder. Its target reached the install sandbox, logs and `explain`.
TEST_F(PlanningOverLinks, no_manifest_is_read_through_a_link_out_of_its_folder) {
  tree_.file("secret", "hunter2==1.0 # {\"dependencies\": {\"hunter2\": \"1\"}}\n");
  const std::string pyproject = "[project]\nname='x'\nversion='1'\ndependencies=['six==1.16.0']\n";
  const std::string package = R"({"name":"p","dependencies":{"x":"1"}})";
  for (const char* name : {"requirements.txt", "pyproject.toml", "setup.cfg", "uv.lock", "poetry.lock", "package.json",
                           "package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock"}) {
    for (const std::string& target : {tree_.path("secret"), std::string("../secret")}) {
      const test::TempTree& t = tree_;
      std::filesystem::remove_all(t.path("p"));
      t.file("p/s.py");
      t.file("p/s.js");
      if (std::string_view(name) != "setup.cfg") t.file("p/pyproject.toml", pyproject);
      t.file("p/package.json", package);
      std::filesystem::remove(t.path(std::string("p/") + name));
      t.link(std::string("p/") + name, target);
      const bool node = std::string_view(name).find("js") != std::string_view::npos ||
                        std::string_view(name).find("yarn") != std::string_view::npos ||
                        std::string_view(name).find("pnpm") != std::string_view::npos ||
                        std::string_view(name).find("package") != std::string_view::npos;
      const Plan made = node ? plan({.name = "s", .command = "node", .args = {t.path("p/s.js")}})
                             : plan({.name = "s", .command = "python", .args = {t.path("p/s.py")}});
      expect_without(made, "hunter2");
      EXPECT_THAT(made.refused, ElementsAre(AllOf(Field(&Refusal::path, t.path(std::string("p/") + name)),
                                                  Field(&Refusal::reason, HasSubstr("is a link to '" + target + "'")))))
          << name;
    }
  }
}

TEST_F(PlanningOverLinks, a_manifest_may_be_a_link_within_its_folder) {
  tree_.file("p/requirements/prod.txt", "six==1.16.0\n");
  tree_.link("p/requirements.txt", "requirements/prod.txt");
  const Plan made = plan({.name = "s", .command = "python", .args = {tree_.file("p/s.py")}});
  EXPECT_THAT(made.refused, IsEmpty());
  ASSERT_TRUE(made.install);
  ASSERT_EQ(made.install->inputs.size(), 1u);
  EXPECT_EQ(made.install->inputs[0].content, "six==1.16.0\n");
}

// Kind: a link in a project chose another folder to be staged.
TEST_F(PlanningOverLinks, no_link_in_a_project_chooses_another_folder) {
  tree_.file("other/private.py", "");
  tree_.file("other/key", "");
  tree_.file("p/requirements.txt");
  tree_.link("p/server.py", "../other/private.py");
  tree_.link("p/folder", tree_.path("other"));
  for (const char* path : {"p/server.py", "p/folder", "p/folder/private.py", "p/folder/key"}) {
    const Plan made = plan({.name = "s", .command = "python", .args = {tree_.path(path)}});
    EXPECT_THAT(made.roots, IsEmpty()) << path;
    EXPECT_THAT(
        made.refused,
        ElementsAre(AllOf(
            Field(&Refusal::path, tree_.path(path)),
            Field(&Refusal::reason, AllOf(HasSubstr("a link in '" + tree_.path("p") + "' to '" + tree_.path("other")),
                                          HasSubstr("box.host_path"))))))
        << path;
  }
  // Nor where no manifest says that the script's folder is a project.
  tree_.link("q/server.py", "../other/private.py");
  const Plan made = plan({.name = "s", .command = "python", .args = {tree_.path("q/server.py")}});
  EXPECT_THAT(made.roots, IsEmpty());
  EXPECT_EQ(made.refused.size(), 1u);
}

TEST_F(PlanningOverLinks, the_operators_own_links_are_followed) {
  tree_.file("data/p/requirements.txt");
  tree_.file("data/p/src/server.py");
  tree_.link("data/p/main.py", "src/server.py");
  tree_.link("home/u/p", tree_.path("data/p"));
  for (const char* path : {"home/u/p/src/server.py", "home/u/p/main.py", "data/p/main.py"}) {
    const Plan made = plan({.name = "s", .command = "python", .args = {tree_.path(path)}});
    EXPECT_THAT(made.refused, IsEmpty()) << path;
    ASSERT_EQ(made.roots.size(), 1u) << path;
    EXPECT_EQ(made.roots[0].host, tree_.path("data/p")) << path;
  }
}

TEST_F(PlanningOverLinks, a_script_that_stays_behind_is_told_before_anything_is_started) {
  tree_.file("other/private.py");
  tree_.link("p/server.py", "../other/private.py");
  const LaunchSpec spec{
      .name = "s", .command = "python", .args = {"server.py"}, .cwd = tree_.path("p"), .host_path = tree_.path("p")};
  EXPECT_THAT(
      plan(spec, run_policy()).refused,
      ElementsAre(AllOf(Field(&Refusal::path, tree_.path("p/server.py")),
                        Field(&Refusal::reason, AllOf(HasSubstr("../other/private.py"), HasSubstr("box.host_path"))))));
}

// Kind: what was judged is not what was installed. Somebody exchanges a manifest when it was read once.
TEST_F(PlanningOverLinks, a_plan_speaks_of_one_state_of_the_folder) {
  const std::string first =
      "[build-system]\nrequires=[]\n[project]\nname='x'\nversion='1'\nrequires-python='==3.11.*'\n";
  const std::string second =
      "[build-system]\nrequires=[]\n[project]\nname='x'\nversion='1'\nrequires-python='==3.12.*'\n";
  const LaunchSpec spec{.name = "s", .command = "python", .args = {tree_.file("p/s.py")}};
  tree_.file("p/pyproject.toml", first);
  tree_.file("p/uv.lock", "version = 1\n");
  const std::string of_first = plan(spec).install->hash;
  tree_.file("p/pyproject.toml", second);
  const std::string of_second = plan(spec).install->hash;
  ASSERT_NE(of_first, of_second);
  for (int round = 0; round < 50; ++round) {
    tree_.file("p/pyproject.toml", first);
    tree_.file("side", second);
    const UniqueFd events(::inotify_init1(IN_CLOEXEC));
    ASSERT_GE(::inotify_add_watch(events.get(), tree_.path("p").c_str(), IN_CLOSE_NOWRITE), 0);
    std::jthread attacker([&](std::stop_token stop) {
      pollfd readable{events.get(), POLLIN, 0};
      while (!stop.stop_requested()) {
        if (::poll(&readable, 1, 1) <= 0) continue;
        std::filesystem::rename(tree_.path("side"), tree_.path("p/pyproject.toml"));
        return;
      }
    });
    const auto made = make_plan(spec, policy());
    attacker.request_stop();
    attacker.join();
    if (!made) {
      EXPECT_THAT(made, test::fails(Code::kAborted, "start over"));
      continue;
    }
    ASSERT_TRUE(made->install);
    EXPECT_THAT(made->install->hash, ::testing::AnyOf(of_first, of_second)) << "round " << round;
  }
}

}  // namespace
}  // namespace mcpbox::workspace
