#include "box/init/process_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "base/unique_fd.h"

namespace mcpbox::box::init {
namespace {

constexpr std::uint64_t kOneMegabyte = 1 << 20;

struct ProcessFilesTest : testing::Test {
  UniqueFd nameless(std::size_t size) {
    std::string path = testing::TempDir() + "nameless-XXXXXX";
    UniqueFd file(::mkstemp(path.data()));
    ::unlink(path.c_str());
    const std::string bytes(size, 'x');
    EXPECT_EQ(::write(file.get(), bytes.data(), size), static_cast<ssize_t>(size));
    ::fsync(file.get());
    struct stat info{};
    ::fstat(file.get(), &info);
    device = info.st_dev;
    return file;
  }
  TreeUse look(unsigned step = 1000) {
    ProcessFiles files(::getuid(), {device});
    while (files.step(step)) {
    }
    wrote = files.wrote();
    return files.use();
  }

  dev_t device = 0;
  std::uint64_t wrote = 0;
};

TEST_F(ProcessFilesTest, a_file_without_a_name_counts_once_as_long_as_it_is_open) {
  UniqueFd file = nameless(0);
  const TreeUse before = look();
  UniqueFd large = nameless(8 * kOneMegabyte);
  UniqueFd twice(::dup(large.get()));
  EXPECT_EQ(look().files, before.files + 1);
  EXPECT_GE(look(7).bytes, before.bytes + 8 * kOneMegabyte);
  EXPECT_LT(look().bytes, before.bytes + 9 * kOneMegabyte);
  twice.reset();
  large.reset();
  EXPECT_EQ(look().files, before.files);
}

TEST_F(ProcessFilesTest, those_of_other_file_systems_do_not_count) {
  UniqueFd file = nameless(kOneMegabyte);
  device = 0;
  EXPECT_EQ(look().files, 0u);
}

TEST_F(ProcessFilesTest, what_was_written_is_known) {
  UniqueFd file = nameless(8 * kOneMegabyte);
  look();
  EXPECT_GE(wrote, 8 * kOneMegabyte);
}

}  // namespace
}  // namespace mcpbox::box::init
