#include "box/init/mounted_use.h"

#include <gtest/gtest.h>

namespace mcpbox::box::init {
namespace {

constexpr std::uint64_t kMountedMegabyte = 1 << 20;

struct MountedUseTest : testing::Test {
  static TreeUse tree(std::uint64_t mib, std::uint64_t files = 0) {
    TreeUse use;
    use.add(1, mib * kMountedMegabyte);
    use.files = files;
    return use;
  }
  MountedUse::Seen seen(std::uint64_t mib, std::uint64_t files = 0) const {
    return {tree(mib, files), tree(100, 10), tree(held), tree(own), wrote * kMountedMegabyte, true};
  }
  // What counts after a walk that met so much, of which 100 MiB and 10 files were there at the start.
  std::uint64_t walk(std::uint64_t mib) {
    const MountedUse::Seen now = seen(mib);
    const std::uint64_t counts = use.use(now).bytes / kMountedMegabyte;
    use.walked(now);
    return counts;
  }

  MountedUse use;
  std::uint64_t wrote = 0, held = 0, own = 0;
};

TEST_F(MountedUseTest, counts_what_they_wrote_themselves) {
  EXPECT_EQ(walk(100), 0u);
  wrote = 50;
  EXPECT_EQ(walk(150), 50u);
  wrote = 80;
  EXPECT_EQ(walk(160), 60u);
  EXPECT_EQ(walk(160), 60u);
}

// A week of writes to a data base makes nobody the one who builds in the folder.
TEST_F(MountedUseTest, what_was_written_long_before_makes_nothing_theirs) {
  EXPECT_EQ(walk(100), 0u);
  wrote = 5000;
  EXPECT_EQ(walk(100), 0u);
  EXPECT_EQ(walk(4100), 0u);
  wrote += 3;
  EXPECT_EQ(walk(4100), 3u);
  EXPECT_EQ(use.use(seen(4100, 200'000)).files, 0u);
}

TEST_F(MountedUseTest, who_asked_too_early_who_wrote_learns_it_in_the_next_walk) {
  walk(100);
  EXPECT_EQ(walk(140), 0u);
  wrote = 40;
  EXPECT_EQ(walk(140), 40u);
  EXPECT_EQ(walk(200), 40u);
  EXPECT_EQ(walk(200), 40u);
  wrote = 100;
  EXPECT_EQ(walk(200), 40u);  // too late: somebody else's
}

TEST_F(MountedUseTest, a_process_that_is_not_seen_for_a_walk_counts_once) {
  walk(100);
  wrote = 1000;
  walk(100);
  wrote = 0;
  walk(100);
  wrote = 1000;
  EXPECT_EQ(walk(1100), 0u);
}

TEST_F(MountedUseTest, what_goes_is_taken_off) {
  walk(100);
  wrote = 50;
  EXPECT_EQ(walk(150), 50u);
  EXPECT_EQ(walk(1150), 50u);
  EXPECT_EQ(walk(1120), 20u);
  EXPECT_EQ(walk(100), 0u);
  wrote = 100;
  EXPECT_EQ(walk(150), 50u);
}

TEST_F(MountedUseTest, nothing_is_hidden_by_taking_the_name_of_an_own_file) {
  own = 90;
  EXPECT_EQ(walk(100), 0u);
  own = 0, held = 90;
  EXPECT_EQ(walk(100), 90u);
  own = 40;
  EXPECT_EQ(walk(100), 90u);
  own = 0;  // gone between the looks at what is held and at the folder
  EXPECT_EQ(walk(100), 90u);
  held = 130;
  EXPECT_EQ(walk(100), 130u);
  held = 0;
  EXPECT_EQ(walk(100), 0u);
}

TEST_F(MountedUseTest, what_somebody_removes_that_they_have_open_is_not_theirs) {
  wrote = 1000;
  walk(100);
  held = 60;
  EXPECT_EQ(walk(40), 0u);
  EXPECT_EQ(walk(40), 0u);
}

TEST_F(MountedUseTest, counts_files_for_what_was_written) {
  use.walked(seen(100, 10));
  wrote = 1;
  EXPECT_EQ(use.use(seen(100, 3010)).files, kMountedMegabyte / MountedUse::kFileWritten);
  EXPECT_EQ(use.use(seen(100, 30)).files, 20u);
}

TEST_F(MountedUseTest, a_walk_under_way_counts_no_more_than_the_whole_one) {
  own = 80;
  wrote = 50;
  EXPECT_EQ(walk(150), 50u);
  MountedUse::Seen part = seen(0);
  part.own = tree(0);
  part.held = tree(20);
  part.whole = false;
  EXPECT_EQ(use.use(part).bytes, 0u);
}

TEST_F(MountedUseTest, what_was_written_counts_on_one_disk_only) {
  MountedUse::Seen now = seen(100);
  use.walked(now);
  now.mounted.add(1, 70 * kMountedMegabyte);
  now.mounted.add(2, 70 * kMountedMegabyte);
  now.wrote = 80 * kMountedMegabyte;
  EXPECT_EQ(use.use(now).bytes, 80 * kMountedMegabyte);
}

}  // namespace
}  // namespace mcpbox::box::init
