#include "base/log.h"

#include <fmt/chrono.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/log_sink.h"
#include "base/secrets.h"
#include "base/text.h"

namespace mcpbox::log {
namespace {

// The daemon has one loop: it must not wait until somebody reads what it says.
class StderrSink final : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& record) override {
    spdlog::memory_buf_t text;
    formatter_->format(record, text);
    out_.line({text.data(), text.size()});
  }
  void flush_() override {}

 private:
  LineSink out_{STDERR_FILENO};
};

struct State {
  std::atomic<Level> level{Level::kWarning};
  std::atomic<Format> format{Format::kText};
  std::shared_ptr<spdlog::logger> logger;

  State() : logger(std::make_shared<spdlog::logger>("mcpbox", std::make_shared<StderrSink>())) {
    // The record is made here, with escaping; spdlog's pattern would let a message break out of its JSON string.
    logger->set_pattern("%v");
    logger->set_level(spdlog::level::trace);
    logger->flush_on(spdlog::level::trace);
  }
};

State& state() {
  static State instance;
  return instance;
}

std::string_view name_of(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarning:
      return "warning";
    case Level::kError:
      return "error";
    case Level::kOff:
      return "off";
  }
  return "error";
}

// Beside json/writer.h, because base/ lies below json/ and a record has four members.
std::string json_string(std::string_view text) {
  // printable() has left only '"' and '\' to escape.
  std::string out = "\"";
  for (const char c : printable(text)) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\t') {
      out += "\\t";
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace

void configure(Level level, Format format) {
  state().level = level;
  state().format = format;
}

bool enabled(Level level) {
  return level >= state().level.load(std::memory_order_relaxed) && level != Level::kOff;
}

void write(Level level, std::string_view subject, std::string_view message) {
  if (!enabled(level)) return;
  const std::string said = sentence_without_secrets(message);
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  const std::string time = fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03d}Z", fmt::gmtime(seconds), millis);
  std::string record;
  if (state().format.load() == Format::kJson) {
    record = fmt::format(R"({{"time":"{}","level":"{}","subject":{},"message":{}}})", time, name_of(level),
                         json_string(subject), json_string(said));
  } else {
    record = fmt::format("{} {:<7} {}: {}", time, name_of(level), printable(subject, 128), printable(said, 8192));
  }
  state().logger->log(spdlog::level::info, spdlog::string_view_t(record));
}

}  // namespace mcpbox::log
