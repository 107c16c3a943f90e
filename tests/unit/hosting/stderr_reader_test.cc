// What is left out of a server's stderr breaks off anywhere, also in the middle of a secret.
#include "hosting/stderr_reader.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <thread>

#include "support/run_task.h"

namespace mcpbox::hosting {
namespace {

TEST(StderrReader, shows_no_half_of_a_secret_where_it_begins_to_leave_out) {
  ::signal(SIGPIPE, SIG_IGN);
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  std::thread server([out = UniqueFd(ends[1])] {
    const std::string word = "hunter2-hunter2 ";
    // Short lines cost the most for their bytes: most of what may be written at once is used up before the rest comes,
    // however slow this is.
    std::string text;
    for (int i = 0; i < 7000; ++i) text += "x\n";
    while (text.size() < (4u << 20)) text += word;
    for (std::size_t at = 0; at < text.size(); at += 4099)
      (void)!::write(out.get(), text.data() + at, std::min<std::size_t>(4099, text.size() - at));
  });
  boost::asio::io_context loop;
  Redactor redact;
  redact.add(Secret("hunter2-hunter2"));
  provision::ServerLog log(loop.get_executor(), std::move(redact));
  auto read = [&]() -> Task<int> {
    co_await read_stderr(loop.get_executor(), UniqueFd(ends[0]), log);
    co_return 0;
  };
  test::run_task(loop, read());
  server.join();
  bool left_out = false;
  for (const provision::LogLine& line : log.since(0)) {
    left_out = left_out || line.source == provision::LogSource::kMcpbox;
    EXPECT_EQ(line.text.find("hunt"), std::string::npos) << line.text.substr(0, 60);
    EXPECT_EQ(line.text.find("ter2"), std::string::npos) << line.text.substr(0, 60);
  }
  EXPECT_TRUE(left_out);
}

}  // namespace
}  // namespace mcpbox::hosting
