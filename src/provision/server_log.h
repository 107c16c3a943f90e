// What a server wrote to stderr, what it wrote to stdout that was no message, and what mcpbox has to say about it.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/redact.h"
#include "net/wait.h"

namespace mcpbox::provision {

enum class LogSource { kStderr, kStdout, kMcpbox };

struct LogLine {
  std::uint64_t sequence = 0;  // from 1, without gaps
  std::chrono::system_clock::time_point time;
  LogSource source = LogSource::kStderr;
  std::string text;  // redacted; not yet printable()
};

// A bounded ring: the newest lines, at most 2,000 and 512 KiB; a longer line is cut at 16 KiB, or before the secret
// that lies there. What fell out is counted by the sequence numbers. Lives on the loop.
class ServerLog {
 public:
  ServerLog(boost::asio::any_io_executor executor, Redactor redactor)
      : changed_(std::move(executor)), redact_(std::move(redactor)) {}

  // From now on it is hidden, and what was hidden stays so.
  void learn(const Secret& secret) { redact_.add(secret); }

  void line(LogSource source, std::string_view text);
  // Bytes of stderr as they come; lines are cut at newlines, and longer ones become several of at most 16 KiB. However
  // the bytes are split, the lines are the same.
  void stderr_bytes(std::string_view bytes);
  // The last line, though it has no newline: the stream ended, or what follows is left out.
  void stderr_end();

  // Lines with sequence > `after`, oldest first.
  std::vector<LogLine> since(std::uint64_t after) const;
  std::uint64_t last_sequence() const { return next_ - 1; }
  // The last lines of stderr since `after`, printable, joined by newlines, at most `lines` and 4 KiB: for error
  // messages.
  std::string tail(std::uint64_t after, std::size_t lines = 12) const;
  net::Signal& changed() { return changed_; }

 private:
  void put(LogSource source, std::string redacted);
  // Takes from `text` what one line may have, and redacts it.
  std::string take_line(std::string_view& text) const;
  std::size_t window() const;

  net::Signal changed_;
  Redactor redact_;
  std::deque<LogLine> lines_;
  std::size_t bytes_ = 0;
  std::uint64_t next_ = 1;
  std::string partial_;
};

}  // namespace mcpbox::provision
