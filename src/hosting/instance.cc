#include "hosting/instance.h"

#include <fmt/format.h>

#include <utility>

namespace mcpbox::hosting {

Instance::Instance(boost::asio::any_io_executor executor, boost::asio::thread_pool& pool,
                   std::unique_ptr<Connection> connection, std::unique_ptr<channel::Channel> channel,
                   InstanceOptions options, provision::ServerLog& log)
    : options_(std::move(options)),
      log_(log),
      connection_(std::move(connection)),
      loop_(executor, pool, std::move(channel), options_.session, log_),
      doom_(options_.patience),
      tasks_(executor, "instance") {}

Instance::~Instance() = default;

void Instance::start(std::function<void()> on_news) {
  on_news_ = std::move(on_news);
  loop_.start(on_news_);
  tasks_.spawn("connection", watch_connection());
}

bool Instance::ready() const {
  return session().state() == mcp::SessionState::kReady && session().tools_known();
}

Task<void> Instance::watch_connection() {
  for (;;) {
    on_news_();  // first: it may have ended before anybody listened
    co_await connection_->changed().wait();
  }
}

std::optional<Error> Instance::look(std::chrono::steady_clock::time_point now) {
  const std::optional<End>& end = connection_->ended();
  Signs signs;
  signs.ended = end.has_value();
  // Of a lost sandbox nothing comes any more.
  signs.drained = (loop_.output_ended() && connection_->drained()) || (end && end->kind == End::Kind::kSandboxLost);
  signs.ending = connection_->ending();
  signs.session_failed = session().state() == mcp::SessionState::kFailed;
  signs.output_ended = loop_.output_ended();
  signs.input_broken = loop_.input_broken();
  const Fate fate = doom_.on(signs, now);
  if (fate == Fate::kAlive || fate == Fate::kUncertain) return std::nullopt;
  return error_of(fate);
}

Error Instance::error_of(Fate fate) const {
  const std::string tail = log_.tail(options_.log_start);
  switch (fate) {
    case Fate::kSessionFailed: {
      const Error error = session().failure().value_or(Error(Code::kInternal, "the MCP session failed"));
      if (tail.empty()) return error;
      return Error(error.code(), fmt::format("{}. The server's last words:\n{}", error.message(), tail));
    }
    case Fate::kMute:
      return Error(Code::kUnavailable,
                   fmt::format("the server closed its stdout and goes on running, so it cannot answer any more{}{}",
                               tail.empty() ? "" : ". Its last words:\n", tail));
    case Fate::kDeaf:
      return Error(Code::kUnavailable,
                   fmt::format("the server closed its stdin and goes on running, so it can be asked nothing more{}{}",
                               tail.empty() ? "" : ". Its last words:\n", tail));
    default: {
      const End end = connection_->ended().value_or(End());
      // Who did not come so far will not the next time either.
      return Error(end.remains && !ready() ? Code::kFailedPrecondition : Code::kUnavailable,
                   fmt::format("{}{}{}", end.how, tail.empty() ? "" : ". Its last words:\n", tail));
    }
  }
}

Task<void> Instance::end(Error reason, bool broken) {
  if (broken) {
    co_await loop_.stop(reason);
    co_await connection_->stop(options_.grace);
  } else {
    loop_.close_write();
    co_await connection_->stop(options_.grace);
    co_await loop_.stop(std::move(reason));
  }
  co_await tasks_.stop();
}

}  // namespace mcpbox::hosting
