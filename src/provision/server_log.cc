#include "provision/server_log.h"

#include <algorithm>

#include "base/text.h"

namespace mcpbox::provision {
namespace {

constexpr std::size_t kMaxLines = 2'000;
constexpr std::size_t kMaxBytes = 512u << 10;
constexpr std::size_t kMaxLine = 16u << 10;
constexpr std::size_t kMaxTail = 4u << 10;
constexpr std::size_t kMaxSecret = 4u << 10;

}  // namespace

void ServerLog::line(LogSource source, std::string_view text) {
  LogLine entry;
  entry.sequence = next_++;
  entry.time = std::chrono::system_clock::now();
  entry.source = source;
  // Redacted before it is cut: half a secret is not recognised any more.
  entry.text = redact_(text.substr(0, kMaxLine + kMaxSecret));
  if (entry.text.size() > kMaxLine) entry.text.resize(kMaxLine);
  bytes_ += entry.text.size();
  lines_.push_back(std::move(entry));
  while (lines_.size() > kMaxLines || (bytes_ > kMaxBytes && lines_.size() > 1)) {
    bytes_ -= lines_.front().text.size();
    lines_.pop_front();
  }
  changed_.notify();
}

void ServerLog::stderr_bytes(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t newline = bytes.find('\n');
    const std::string_view piece = bytes.substr(0, newline);
    partial_.append(piece.substr(0, kMaxLine - std::min(kMaxLine, partial_.size())));
    if (newline == std::string_view::npos) {
      if (partial_.size() >= kMaxLine) stderr_end();
      return;
    }
    if (partial_.ends_with('\r')) partial_.pop_back();
    line(LogSource::kStderr, partial_);
    partial_.clear();
    bytes.remove_prefix(newline + 1);
  }
}

void ServerLog::stderr_end() {
  if (partial_.empty()) return;
  line(LogSource::kStderr, partial_);
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
