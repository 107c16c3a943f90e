#include "hosting/fate.h"

#include <gtest/gtest.h>

namespace mcpbox::hosting {
namespace {

using std::chrono::milliseconds;

struct DoomTest : testing::Test {
  Doom doom{{milliseconds(300), milliseconds(500), milliseconds(1000), milliseconds(700)}};
  Doom::Clock::time_point now{std::chrono::seconds(10)};
  Signs signs;

  Fate look(int after = 0) {
    now += milliseconds(after);
    return doom.on(signs, now);
  }
};

TEST_F(DoomTest, without_a_sign_it_lives) {
  EXPECT_EQ(look(), Fate::kAlive);
  EXPECT_EQ(doom.wake(), std::nullopt);
}

TEST_F(DoomTest, an_end_waits_for_the_last_words_but_not_for_long) {
  signs.ended = true;
  EXPECT_EQ(look(), Fate::kUncertain);
  EXPECT_EQ(doom.wake(), now + milliseconds(300));
  EXPECT_EQ(look(299), Fate::kUncertain);
  EXPECT_EQ(look(1), Fate::kEnded);
  EXPECT_EQ(doom.wake(), std::nullopt);
}

TEST_F(DoomTest, an_end_with_its_last_words_is_told_at_once) {
  signs = {.ended = true, .drained = true, .session_failed = true, .output_ended = true};
  EXPECT_EQ(look(), Fate::kEnded);
}

TEST_F(DoomTest, a_failed_session_is_told_by_the_exit_that_comes_soon) {
  signs.session_failed = true;
  EXPECT_EQ(look(), Fate::kUncertain);
  signs.ended = signs.drained = true;
  EXPECT_EQ(look(499), Fate::kEnded);
}

TEST_F(DoomTest, a_failed_session_of_a_server_that_lives_on_is_told_itself) {
  signs.session_failed = true;
  EXPECT_EQ(look(), Fate::kUncertain);
  signs.output_ended = true;
  EXPECT_EQ(look(500), Fate::kSessionFailed);
}

TEST_F(DoomTest, a_server_without_output_is_mute_when_no_exit_comes) {
  signs.output_ended = true;
  EXPECT_EQ(look(), Fate::kUncertain);
  EXPECT_EQ(look(999), Fate::kUncertain);
  EXPECT_EQ(look(1), Fate::kMute);
}

TEST_F(DoomTest, a_server_that_takes_no_input_is_deaf_when_no_exit_comes) {
  signs.input_broken = true;
  EXPECT_EQ(look(), Fate::kUncertain);
  EXPECT_EQ(look(699), Fate::kUncertain);
  EXPECT_EQ(look(1), Fate::kDeaf);
  signs.ended = signs.drained = true;
  EXPECT_EQ(look(), Fate::kEnded);
}

TEST_F(DoomTest, how_it_ended_is_waited_for_while_somebody_finds_out) {
  signs.output_ended = signs.input_broken = true;
  EXPECT_EQ(look(), Fate::kUncertain);
  signs.ending = true;
  EXPECT_EQ(look(999), Fate::kUncertain);
  EXPECT_EQ(look(5999), Fate::kUncertain);
  signs.ending = false;
  signs.ended = signs.drained = true;
  EXPECT_EQ(look(), Fate::kEnded);
}

TEST_F(DoomTest, how_it_ended_is_not_waited_for_for_ever) {
  signs.output_ended = signs.ending = true;
  EXPECT_EQ(look(), Fate::kUncertain);
  EXPECT_EQ(doom.wake(), now + milliseconds(6000));
  EXPECT_EQ(look(6000), Fate::kUncertain);  // from now on as ever
  EXPECT_EQ(look(1000), Fate::kMute);
}

TEST_F(DoomTest, an_end_that_comes_late_has_its_own_time_for_last_words) {
  signs.output_ended = true;
  EXPECT_EQ(look(), Fate::kUncertain);
  signs.ended = true;
  EXPECT_EQ(look(900), Fate::kUncertain);
  EXPECT_EQ(doom.wake(), now + milliseconds(300));
  EXPECT_EQ(look(300), Fate::kEnded);
}

}  // namespace
}  // namespace mcpbox::hosting
