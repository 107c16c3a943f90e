#include "provision/install/env_ledger.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/temp_tree.h"

namespace mcpbox::provision {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

const std::string kOne(32, 'a');
const std::string kTwo(32, 'b');
const std::string kThree(32, 'c');

struct EnvLedgerTest : testing::Test {
  test::TempTree tree;
  EnvLedger ledger{tree.dir("state")};
};

TEST_F(EnvLedgerTest, many_hold_an_environment_and_nobody_removes_it_meanwhile) {
  auto first = ledger.hold(kOne);
  auto second = ledger.hold(kOne);
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(ledger.hold_alone(kOne));
  EXPECT_TRUE(ledger.hold_alone(kTwo));
  first->reset();
  EXPECT_FALSE(ledger.hold_alone(kOne));
  second->reset();
  EXPECT_TRUE(ledger.hold_alone(kOne));
}

TEST_F(EnvLedgerTest, while_it_is_removed_nobody_gets_hold_of_it) {
  auto alone = ledger.hold_alone(kOne);
  ASSERT_TRUE(alone);
  auto refused = ledger.hold(kOne);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kAborted);
  ledger.forget(kOne);  // what its remover does last
  alone.reset();
  EXPECT_TRUE(ledger.hold(kOne));
}

TEST_F(EnvLedgerTest, a_hold_ends_with_its_process_however_that_ends) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto held = ledger.hold(kOne);
    (void)!::write(ready[1], held ? "y" : "n", 1);
    ::pause();
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  EXPECT_FALSE(ledger.hold_alone(kOne));
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(ledger.hold_alone(kOne));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(EnvLedgerTest, remembers_who_used_what_newest_first_and_without_repeats) {
  ledger.note_use(kOne, kTwo, "everything");
  ledger.note_use(kOne, kTwo, "files");
  ledger.note_use(kOne, kTwo, "everything");
  const EnvUsage usage = EnvLedger(tree.path("state")).usage(kOne);
  EXPECT_THAT(usage.servers, ElementsAre("everything", "files"));
  EXPECT_EQ(usage.asked_hash, kTwo);
  EXPECT_GT(usage.last_used, 1'700'000'000);
  EXPECT_EQ(ledger.last_of_server("files"), kOne);
  EXPECT_EQ(ledger.last_of_server("nobody"), "");
  EXPECT_THAT(ledger.known(), ElementsAre(kOne));
  ledger.forget(kOne);
  EXPECT_EQ(ledger.last_of_server("files"), "");
  EXPECT_TRUE(ledger.known().empty());
}

TEST_F(EnvLedgerTest, the_records_of_one_engine_go_without_those_of_another) {
  const std::string state = tree.path("state");
  const EnvLedger native(state, "native"), docker(state, "docker");
  native.note_use(kOne, kThree, "files");
  ASSERT_TRUE(native.refresh(kThree));
  docker.note_use(kTwo, kTwo, "notes");
  ASSERT_TRUE(docker.refresh(kTwo));
  EXPECT_THAT(docker.known(), ElementsAre(kTwo));
  EXPECT_THAT(ledger.known(), ElementsAre(kOne, kTwo));
  docker.clear();
  EXPECT_THAT(ledger.known(), ElementsAre(kOne));
  EXPECT_THAT(ledger.refreshed(), ElementsAre(Pair(kThree, testing::_)));
  EXPECT_EQ(ledger.last_of_server("files"), kOne);
  native.clear();
  EXPECT_TRUE(ledger.known().empty());
  EXPECT_TRUE(ledger.refreshed().empty());
}

TEST_F(EnvLedgerTest, what_is_held_is_not_forgotten_whoever_noted_it) {
  const EnvLedger native(tree.path("state"), "native");
  tree.file("state/env/" + kOne + ".json", R"({"last_used": 1, "asked_hash": ")" + kOne + R"(", "servers": ["old"]})");
  native.note_use(kTwo, kTwo, "files");
  auto old = native.hold(kOne), mine = native.hold(kTwo);
  ASSERT_TRUE(old && mine);
  native.clear();
  EXPECT_FALSE(ledger.hold_alone(kOne));
  EXPECT_FALSE(ledger.hold_alone(kTwo));
  EXPECT_EQ(ledger.last_of_server("old"), kOne);
  old->reset();
  mine->reset();
  native.clear();
  EXPECT_TRUE(ledger.known().empty()) << "what nobody knows the engine of goes too";
}

TEST_F(EnvLedgerTest, a_refresh_draws_a_new_salt_and_can_be_taken_back) {
  EXPECT_TRUE(ledger.refreshed().empty());
  ASSERT_TRUE(ledger.refresh(kOne));
  const std::string first = ledger.refreshed().at(kOne);
  ASSERT_TRUE(ledger.refresh(kOne));
  EXPECT_NE(ledger.refreshed().at(kOne), first);
  ledger.restore(kOne, first);
  EXPECT_EQ(ledger.refreshed().at(kOne), first);
  ledger.restore(kOne, "");
  EXPECT_TRUE(ledger.refreshed().empty());
}

TEST_F(EnvLedgerTest, the_log_is_printable_and_bounded) {
  EXPECT_FALSE(ledger.log(kOne));
  {
    EnvLedger::Log log = ledger.open_log(kOne);
    log.line("\x1b[31mred");
    for (int i = 0; i < 3000; ++i) log.line(std::string(1000, 'x'));
    EXPECT_TRUE(log.write()());
  }
  const std::string text = ledger.log(kOne).value();
  EXPECT_THAT(text, HasSubstr("\\x1b[31mred\n"));
  EXPECT_LE(text.size(), (1u << 20) + 200);
  EXPECT_THAT(text, HasSubstr("the rest was not kept"));
}

TEST_F(EnvLedgerTest, files_that_somebody_else_put_there_are_no_environments) {
  tree.file("state/env/../env/notes.txt", "x");
  tree.file("state/env/" + std::string(32, 'G') + ".json", "{}");
  tree.file("state/env/" + kOne + ".json", "{\"last_used\": \"yesterday\", \"servers\": 7}");
  EXPECT_THAT(ledger.known(), ElementsAre(kOne));
  EXPECT_EQ(ledger.usage(kOne).last_used, 0);
}

TEST(EnvLedgerWithoutADirectory, remembers_nothing_and_stops_nothing) {
  const EnvLedger none("");
  EXPECT_TRUE(none.hold(kOne));
  none.note_use(kOne, kOne, "x");
  EXPECT_EQ(none.usage(kOne).servers.size(), 0u);
  EXPECT_FALSE(none.refresh(kOne));
}

}  // namespace
}  // namespace mcpbox::provision
