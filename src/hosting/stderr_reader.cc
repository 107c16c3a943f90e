#include "hosting/stderr_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.h"
#include "hosting/flow_budget.h"
#include "net/adopt.h"
#include "net/wait.h"

namespace mcpbox::hosting {
namespace {

using Clock = FlowBudget::Clock;

constexpr std::size_t kRead = 64u << 10;
constexpr std::size_t kLineCost = 128;  // what a line costs beside its bytes: redaction, time, the ring
constexpr double kPerSecond = 256 << 10;
constexpr double kBurst = 1 << 20;
constexpr std::chrono::milliseconds kDropPause{4};  // before each read while lines are dropped

// Passes bytes on to the log while there is budget, and counts what it leaves out: from the middle of a line, of which
// the log hides the beginning of a secret, to the end of one.
class Intake {
 public:
  explicit Intake(provision::ServerLog& log) : log_(log) {}

  void bytes(std::string_view bytes, Clock::time_point now) {
    if (dropped_ > 0 && !budget_.spent(now)) {
      const std::size_t newline = bytes.find('\n');
      dropped_ += std::min(newline, bytes.size());
      if (newline == std::string_view::npos) return;
      bytes.remove_prefix(newline + 1);
      say();
    }
    if (dropped_ > 0) {
      dropped_ += bytes.size();
      return;
    }
    const auto lines = static_cast<std::size_t>(std::ranges::count(bytes, '\n'));
    budget_.charge(bytes.size() + lines * kLineCost, now);
    log_.stderr_bytes(bytes);
    if (budget_.spent(now)) {
      log_.stderr_end();
      dropped_ = 1;  // the mark that something is left out; say() corrects the count
    }
  }
  bool dropping() const { return dropped_ > 0; }
  void end() {
    if (dropped_ > 1) say();
    log_.stderr_end();
  }

 private:
  void say() {
    log_.line(provision::LogSource::kMcpbox,
              fmt::format("{} of stderr were left out: the server writes faster than its log takes",
                          human_bytes(dropped_ - 1)));
    dropped_ = 0;
  }

  provision::ServerLog& log_;
  FlowBudget budget_{kPerSecond, kBurst};
  std::size_t dropped_ = 0;
};

}  // namespace

Task<void> read_stderr(boost::asio::any_io_executor executor, UniqueFd fd, provision::ServerLog& log) {
  boost::asio::posix::stream_descriptor stream(executor);
  net::adopt(stream, std::move(fd));
  std::vector<char> buffer(kRead);
  Intake intake(log);
  for (;;) {
    if (intake.dropping()) co_await net::sleep_for(kDropPause);
    auto [error, size] =
        co_await stream.async_read_some(boost::asio::buffer(buffer), boost::asio::as_tuple(boost::asio::use_awaitable));
    if (size > 0) intake.bytes({buffer.data(), size}, Clock::now());
    if (error) break;
  }
  intake.end();
}

}  // namespace mcpbox::hosting
