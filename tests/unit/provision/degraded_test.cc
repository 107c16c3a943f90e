#include "provision/degraded.h"

#include <gmock/gmock.h>

#include "config/settings.h"
#include "support/said_to_options.h"

namespace mcpbox::provision {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

box::SupervisorInfo kernel(int landlock_abi, bool seccomp = true) {
  box::SupervisorInfo info;
  info.landlock_abi = landlock_abi;
  info.seccomp = seccomp;
  info.kernel = "5.10.0";
  return info;
}

std::vector<std::string_view> names(const std::vector<Degradation>& found) {
  std::vector<std::string_view> out;
  for (const Degradation& each : found) out.push_back(each.name);
  return out;
}

TEST(Degraded, A_machine_that_has_all_lacks_nothing) {
  EXPECT_THAT(degradations(kernel(7), "all", false), IsEmpty());
  EXPECT_THAT(degradations(kernel(7), "without-proc", false), IsEmpty());
}

TEST(Degraded, Neighbours_are_kept_apart_by_namespaces_or_by_landlocks_tcp_rules_or_by_sandboxes) {
  EXPECT_THAT(degradations(kernel(4), "none", false), IsEmpty());
  EXPECT_THAT(degradations(kernel(3), "without-proc", false), IsEmpty());
  EXPECT_THAT(degradations(kernel(3), "none", true), IsEmpty());
  EXPECT_EQ(names(degradations(kernel(3), "none", false)), std::vector{config::kNoNamespaces});
}

TEST(Degraded, Without_landlock_files_are_kept_by_user_ids_alone_wherever_the_server_runs) {
  EXPECT_EQ(names(degradations(kernel(0), "all", true)), std::vector{config::kNoLandlock});
  EXPECT_EQ(names(degradations(kernel(0), "none", false)), (std::vector{config::kNoLandlock, config::kNoNamespaces}));
}

TEST(Degraded, A_refusal_names_the_server_what_is_missing_and_how_to_accept_it) {
  std::vector<std::string> notes;
  const auto refused = accept_degradations(degradations(kernel(0), "all", true), {"namespaces"}, "files", notes);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kFailedPrecondition);
  EXPECT_THAT(refused.error().message(), HasSubstr("'files' is not started: the kernel here (5.10.0) has no Landlock"));
  EXPECT_THAT(refused.error().message(), HasSubstr("accept it: `box.accept_degraded: [landlock]`"));
  const test::SaidToOptions said;
  EXPECT_THAT(accept_degradations(degradations(kernel(0), "all", true), {}, "files", notes).error().message(),
              HasSubstr("accept it: `--accept-degraded landlock`"));
  EXPECT_THAT(notes, IsEmpty());
}

TEST(Degraded, What_is_accepted_is_noted_and_each_is_accepted_by_its_own_name) {
  std::vector<std::string> notes;
  const auto found = degradations(kernel(0), "none", false);
  EXPECT_TRUE(accept_degradations(found, {"namespaces", "landlock"}, "files", notes));
  EXPECT_EQ(notes.size(), 2u);
  EXPECT_FALSE(accept_degradations(found, {"landlock"}, "files", notes));
}

TEST(Degraded, Nobody_accepts_a_server_without_a_system_call_filter) {
  std::vector<std::string> notes;
  const auto refused =
      accept_degradations(degradations(kernel(7, false), "all", true), {"landlock", "namespaces", ""}, "files", notes);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), HasSubstr("no server runs without one"));
}

}  // namespace
}  // namespace mcpbox::provision
