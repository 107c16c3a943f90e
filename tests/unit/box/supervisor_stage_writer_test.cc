#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "box/link/stage_writer.h"

namespace mcpbox::box {
namespace {

class Counter : public wire::StageSink {
 public:
  Result<void> directory(std::string_view) override { return {}; }
  Result<void> file(std::string_view, std::uint64_t, bool) override { return {}; }
  Result<void> data(std::string_view bytes) override {
    content += bytes;
    return {};
  }
  Result<void> file_end() override { return {}; }
  Result<void> link(std::string_view, std::string_view) override { return {}; }
  Result<void> keep(std::string_view path, std::uint64_t size, bool executable) override {
    kept += std::string(path) + (executable ? "* " : " ") + std::to_string(size) + "\n";
    return {};
  }
  std::string content;
  std::string kept;
};

struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    in.reset(ends[0]);
    out.reset(ends[1]);
    ::signal(SIGPIPE, SIG_IGN);
  }
  UniqueFd in, out;
};

TEST(StageWriter, writes_what_the_reader_reads) {
  Pipe pipe;
  const std::string text(1'000'000, 't');
  std::thread writer([&, out = pipe.out.release()] {
    StageWriter stage{UniqueFd(out)};
    EXPECT_TRUE(stage.directory("a"));
    std::string_view rest = text;
    EXPECT_TRUE(stage.file("a/f", text.size(), false, [&](char* buffer, std::size_t room) -> Result<std::size_t> {
      const std::size_t take = std::min<std::size_t>({room, rest.size(), 7777});
      rest.copy(buffer, take);
      rest.remove_prefix(take);
      return take;
    }));
    EXPECT_TRUE(stage.symlink("l", "a/f"));
    EXPECT_TRUE(stage.keep("a/k", 77, true));
    EXPECT_EQ(stage.keep("../k", 77, true).error().code(), Code::kInvalidArgument);
    EXPECT_EQ(stage.finish().value(), (wire::StageTotals{4, 1'000'000}));
    EXPECT_FALSE(stage.directory("late"));
  });
  Counter counter;
  wire::StageReader reader(counter);
  char buffer[65536];
  ssize_t got = 0;
  while ((got = ::read(pipe.in.get(), buffer, sizeof buffer)) > 0) {
    ASSERT_TRUE(reader.feed(std::string_view(buffer, static_cast<std::size_t>(got))));
  }
  writer.join();
  EXPECT_TRUE(reader.done());
  EXPECT_EQ(counter.content, text);
  EXPECT_EQ(counter.kept, "a/k* 77\n");
}

TEST(StageWriter, skips_what_the_format_refuses) {
  Pipe pipe;
  StageWriter stage(std::move(pipe.out));
  EXPECT_EQ(stage.directory("../x").error().code(), Code::kInvalidArgument);
  EXPECT_EQ(stage.symlink("l", "/etc").error().code(), Code::kInvalidArgument);
  EXPECT_EQ(stage.finish().value(), (wire::StageTotals{0, 0}));
}

TEST(StageWriter, says_that_a_file_became_shorter) {
  Pipe pipe;
  StageWriter stage(std::move(pipe.out));
  const int empty = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(stage.file("f", 5, false, empty).error().code(), Code::kAborted);
  ::close(empty);
  EXPECT_FALSE(stage.finish());
}

TEST(StageWriter, reports_that_the_unpacker_is_gone) {
  Pipe pipe;
  StageWriter stage(std::move(pipe.out));
  pipe.in.reset();
  ASSERT_TRUE(stage.directory("a"));  // still in the buffer
  EXPECT_EQ(stage.finish().error().code(), Code::kUnavailable);
}

// More than a pipe holds.
Result<void> send_much(StageWriter& stage) {
  const std::string text(1'000'000, 't');
  return stage.file("f", text.size() * 1000, false,
                    [&](char* buffer, std::size_t room) -> Result<std::size_t> { return text.copy(buffer, room); });
}

TEST(StageWriter, gives_up_in_time_when_the_unpacker_takes_nothing) {
  Pipe pipe;
  StageWriter stage(std::move(pipe.out), std::make_shared<PipeWait>(std::chrono::milliseconds(50)));
  EXPECT_EQ(send_much(stage).error().code(), Code::kTimeout);
}

TEST(StageWriter, waits_no_longer_when_it_is_stopped) {
  Pipe pipe;
  const auto wait = std::make_shared<PipeWait>(std::chrono::minutes(10));
  StageWriter stage(std::move(pipe.out), wait);
  std::thread stopper([&] { wait->stop(); });
  EXPECT_EQ(send_much(stage).error().code(), Code::kUnavailable);
  stopper.join();
}

TEST(PipeWait, reads_what_is_there_after_it_was_stopped_and_waits_for_no_more) {
  Pipe pipe;
  ASSERT_EQ(::fcntl(pipe.in.get(), F_SETFL, O_NONBLOCK), 0);
  PipeWait wait{std::chrono::minutes(10)};
  ASSERT_TRUE(wait.write_all(pipe.out.get(), "abc", "write"));
  wait.stop();
  char buffer[8];
  EXPECT_EQ(wait.read_some(pipe.in.get(), buffer, sizeof buffer, "read").value(), 3u);
  EXPECT_EQ(wait.read_some(pipe.in.get(), buffer, sizeof buffer, "read").error().code(), Code::kUnavailable);
  pipe.out.reset();
  EXPECT_EQ(wait.read_some(pipe.in.get(), buffer, sizeof buffer, "read").value(), 0u);
}

}  // namespace
}  // namespace mcpbox::box
