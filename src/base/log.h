// The program's own log: one line a record on stderr, or JSON lines. spdlog is behind it and in log.cc only.
#pragma once

#include <fmt/core.h>

#include <string_view>
#include <utility>

namespace mcpbox::log {

enum class Level { kDebug, kInfo, kWarning, kError, kOff };
enum class Format { kText, kJson };

// Call once, before threads start. Without it: warnings and errors as text on stderr.
void configure(Level level, Format format);
bool enabled(Level level);

// `subject` is the server or part that the line is about ("everything", "engine"). Text from outside must have gone
// through printable() or be passed as such; write() escapes control characters once more, and hides secrets.
// Never waits longer than a moment: while nobody reads stderr lines are left out (log_sink.h).
void write(Level level, std::string_view subject, std::string_view message);

template <class... Args>
void debug(std::string_view subject, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kDebug)) write(Level::kDebug, subject, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(std::string_view subject, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kInfo)) write(Level::kInfo, subject, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(std::string_view subject, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kWarning)) write(Level::kWarning, subject, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(std::string_view subject, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::kError)) write(Level::kError, subject, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace mcpbox::log
