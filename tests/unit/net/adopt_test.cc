#include "net/adopt.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/system/system_error.hpp>

#include "net/read_all.h"
#include "support/run_task.h"

namespace mcpbox::net {
namespace {

using Descriptor = boost::asio::posix::stream_descriptor;

struct AdoptTest : testing::Test {
  boost::asio::io_context loop;
  int read_end = -1;
  UniqueFd write_end;

  AdoptTest() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    read_end = ends[0];
    write_end.reset(ends[1]);
  }
  bool is_open() const { return ::fcntl(read_end, F_GETFD) >= 0; }
};

TEST_F(AdoptTest, what_the_loop_watches_belongs_to_the_object) {
  {
    Descriptor object(loop);
    adopt(object, UniqueFd(read_end));
    EXPECT_TRUE(is_open());
  }
  EXPECT_FALSE(is_open());
}

// The loop watches no descriptor twice, which it finds out where it would find out that it has no room for more.
TEST_F(AdoptTest, what_the_loop_cannot_watch_is_closed) {
  Descriptor first(loop, read_end), second(loop);
  EXPECT_THROW(adopt(second, UniqueFd(read_end)), boost::system::system_error);
  EXPECT_FALSE(is_open());
  (void)first.release();
}

TEST_F(AdoptTest, a_reader_that_cannot_read_leaves_no_writer_waiting) {
  Descriptor first(loop, read_end);
  const auto read = [&]() -> Task<int> {
    co_await read_all(loop.get_executor(), UniqueFd(read_end), [](std::string_view) {});
    co_return 0;
  };
  EXPECT_THROW(test::run_task(loop, read()), boost::system::system_error);
  EXPECT_FALSE(is_open());
  (void)first.release();
}

}  // namespace
}  // namespace mcpbox::net
