#include "provision/server_log.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace mcpbox::provision {
namespace {

constexpr std::size_t kMaxLines = 2'000;
constexpr std::size_t kMaxBytes = 512u << 10;
constexpr std::size_t kMaxLine = 16u << 10;
constexpr std::size_t kMaxTail = 4u << 10;
// Longer secrets may be cut: an environment variable has at most 128 KiB, and percent coding makes three bytes of one.
constexpr std::size_t kMaxSecret = 512u << 10;
constexpr std::string_view kCut = "…";  // what printable() ends a shortened text with

}  // namespace

// What must be seen of a text to cut a line from it: a secret that begins in the line, whole, and that more follows
// than the line's end.
std::size_t ServerLog::window() const {
  return kMaxLine + std::min(redact_.longest(), kMaxSecret) + std::string_view("\r\n").size();
}

std::string ServerLog::take_line(std::string_view& text) const {
  const std::size_t size = redact_.cut(text.substr(0, window()), kMaxLine);
  std::string line = redact_(text.substr(0, size));
  text.remove_prefix(size);
  return line;
}

void ServerLog::put(LogSource source, std::string redacted) {
  LogLine entry;
  entry.sequence = next_++;
  entry.time = std::chrono::system_clock::now();
  entry.source = source;
  entry.text = std::move(redacted);
  bytes_ += entry.text.size();
  lines_.push_back(std::move(entry));
  while (lines_.size() > kMaxLines || (bytes_ > kMaxBytes && lines_.size() > 1)) {
    bytes_ -= lines_.front().text.size();
    lines_.pop_front();
  }
  changed_.notify();
}

void ServerLog::line(LogSource source, std::string_view text) {
  // What a server wrote to stdout comes as an excerpt: its end may be the first half of a secret.
  if (source == LogSource::kStdout && text.size() <= kMaxLine) {
    const bool shortened = text.ends_with(kCut);
    if (shortened) text.remove_suffix(kCut.size());
    return put(source, redact_.broken_off(text) + std::string(shortened ? kCut : ""));
  }
  if (source == LogSource::kMcpbox && text.size() <= kMaxLine) return put(source, redact_.sentence(text));
  put(source, take_line(text));
}

void ServerLog::stderr_bytes(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t newline = bytes.find('\n');
    const std::size_t room = window() - std::min(window(), partial_.size());
    const std::string_view piece = bytes.substr(0, std::min(newline, room));
    partial_ += piece;
    bytes.remove_prefix(piece.size());
    std::string_view rest = partial_;
    if (bytes.starts_with('\n')) {
      bytes.remove_prefix(1);
      if (rest.ends_with('\r')) rest.remove_suffix(1);
      do put(LogSource::kStderr, take_line(rest));
      while (!rest.empty());
      partial_.clear();
    } else if (partial_.size() >= window()) {
      put(LogSource::kStderr, take_line(rest));
      partial_.erase(0, partial_.size() - rest.size());
    }
  }
}

void ServerLog::stderr_end() {
  std::string_view rest = partial_;
  while (rest.size() > kMaxLine) put(LogSource::kStderr, take_line(rest));
  if (!rest.empty()) put(LogSource::kStderr, redact_.broken_off(rest));
  partial_.clear();
}

std::vector<LogLine> ServerLog::since(std::uint64_t after) const {
  const auto first =
      std::find_if(lines_.begin(), lines_.end(), [&](const LogLine& entry) { return entry.sequence > after; });
  return {first, lines_.end()};
}

std::string ServerLog::tail(std::uint64_t after, std::size_t lines) const {
  std::vector<std::string> picked;
  std::size_t bytes = 0;
  for (auto it = lines_.rbegin(); it != lines_.rend() && it->sequence > after && picked.size() < lines; ++it) {
    if (it->source == LogSource::kMcpbox || trim(it->text).empty()) continue;
    std::string text = printable(it->text, 400);
    bytes += text.size() + 1;
    if (bytes > kMaxTail) break;
    picked.push_back(std::move(text));
  }
  std::reverse(picked.begin(), picked.end());
  return join(picked, "\n");
}

}  // namespace mcpbox::provision
