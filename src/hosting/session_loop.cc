#include "hosting/session_loop.h"

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>
#include <variant>

#include "net/offload.h"

namespace mcpbox::hosting {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kUnaskedPerSecond = 2 << 20;
constexpr double kUnaskedBurst = 4 << 20;
constexpr std::size_t kMessageCost = 256;  // what a message costs beside its bytes
constexpr std::size_t kLong = 128u << 10;  // from here on a message is parsed on the pool: it takes 0.1 ms and more
constexpr std::chrono::microseconds kTurn{500};
constexpr std::size_t kBlankCost = 16;  // of a line with nothing in it
// An answer of 16 MiB more, and the line that it came in: what one server costs by answering.
constexpr std::size_t kMaxUndelivered = 8u << 20;

mcp::SessionOptions with_long_pages(mcp::SessionOptions options) {
  options.long_page = kLong;
  return options;
}

}  // namespace

SessionLoop::SessionLoop(boost::asio::any_io_executor executor, boost::asio::thread_pool& pool,
                         std::unique_ptr<channel::Channel> channel, mcp::SessionOptions options,
                         provision::ServerLog& log)
    : executor_(executor),
      pool_(pool),
      channel_(std::move(channel)),
      session_(with_long_pages(std::move(options))),
      log_(log),
      unasked_(kUnaskedPerSecond, kUnaskedBurst),
      readable_(executor),
      writable_(executor),
      rearmed_(executor),
      callers_left_(executor),
      tasks_(executor, "mcp") {
  undelivered_->on_less = [this] { readable_.notify(); };
}

SessionLoop::~SessionLoop() {
  undelivered_->on_less = {};
}

Answer::Answer(mcp::CallReply reply, std::shared_ptr<Undelivered> of)
    : CallReply(std::move(reply)), of_(std::move(of)), bytes_(result.size() + error.size()) {
  of_->bytes += bytes_;
}

Answer::~Answer() {
  if (!of_) return;
  of_->bytes -= bytes_;
  if (of_->on_less) of_->on_less();
}

void SessionLoop::start(std::function<void()> on_change) {
  on_change_ = std::move(on_change);
  session_.start(Clock::now());
  tasks_.spawn("receive", read());
  tasks_.spawn("send", write());
  tasks_.spawn("timer", run_timer());
  pump();
}

Task<void> SessionLoop::stop(Error reason) {
  session_.on_closed(reason);
  pump();
  close_write();
  co_await tasks_.stop();
  while (callers_ > 0) co_await callers_left_.wait();
  co_await channel_->close();
}

void SessionLoop::close_write() {
  input_closed_ = true;
  channel_->close_write();
  writable_.notify();
}

Task<Result<Answer>> SessionLoop::call(std::string method, json::RawObject params, std::chrono::milliseconds timeout) {
  Waiter waiter(executor_);
  const mcp::CallId id = session_.request(method, params, timeout, Clock::now());
  waiters_.emplace(id, &waiter);
  // Gives the request up when the caller is cancelled while it waits.
  struct Guard {
    SessionLoop& loop;
    mcp::CallId id;
    ~Guard() {
      if (loop.waiters_.erase(id) > 0) {
        loop.session_.cancel(id, "the client went away", Clock::now());
        loop.pump();
      }
      if (--loop.callers_ == 0) loop.callers_left_.notify();
    }
  } const guard{*this, id};
  ++callers_;
  params = json::RawObject();  // the session has its copy
  pump();
  while (!waiter.outcome) co_await waiter.done.wait();
  if (!*waiter.outcome) co_return fail(std::move(*waiter.outcome).error());
  co_return std::move(**waiter.outcome);
}

void SessionLoop::pump() {
  for (mcp::Completion& completion : session_.take_completions()) {
    const auto found = waiters_.find(completion.id);
    if (found == waiters_.end()) continue;  // its caller went away
    Waiter& waiter = *found->second;
    waiters_.erase(found);
    if (completion.outcome) {
      waiter.outcome.emplace(Answer(std::move(*completion.outcome), undelivered_));
    } else {
      waiter.outcome.emplace(fail(std::move(completion.outcome).error()));
    }
    waiter.done.notify();
  }
  for (const std::string& line : session_.take_log()) log_.line(provision::LogSource::kStdout, line);
  if (input_closed_) {
    while (session_.take_output()) {
    }
  }
  writable_.notify();
  if (session_.wants_input()) readable_.notify();
  if (const auto next = session_.next_deadline(); next && (!armed_ || *next < *armed_)) rearmed_.notify();
  const Seen now{session_.state(), session_.lists_version(), output_ended_, input_broken_};
  if (now == seen_) return;
  seen_ = now;
  if (on_change_) on_change_();
}

Task<void> SessionLoop::read() {
  auto turn = Clock::now();
  for (;;) {
    while (!session_.wants_input() || undelivered_->bytes >= kMaxUndelivered) co_await readable_.wait();
    const auto got = co_await channel_->receive();
    const auto now = Clock::now();
    mcp::Unasked unasked;
    std::size_t cost = 0;
    if (const auto* message = std::get_if<channel::Message>(&got)) {
      mcp::ReadLine line;
      if (message->text.size() < kLong) {
        line = session_.reader().read(message->text);
      } else {
        line = co_await net::offload(pool_,
                                     [reader = session_.reader(), text = message->text] { return reader.read(text); });
      }
      // Others may have been asked, or have given up, since it came.
      unasked = session_.on_message(std::move(line), now);
    } else if (const auto* dropped = std::get_if<channel::TooLong>(&got)) {
      unasked = session_.on_too_long(dropped->head, dropped->tail, dropped->length, now);
    } else if (const auto* blank = std::get_if<channel::Blank>(&got)) {
      cost = blank->lines * kBlankCost;
    } else {
      break;
    }
    pump();
    while (auto page = session_.take_long_page()) {
      const mcp::CatalogKind& kind = *page->kind;
      auto read = co_await net::offload(pool_, [long_page = *std::move(page)] { return long_page.read(); });
      session_.on_page_read(kind, std::move(read), Clock::now());
      pump();
    }
    cost += unasked.messages * kMessageCost + unasked.bytes;
    if (cost > 0) {
      unasked_.charge(cost, now);
      if (const auto wait = unasked_.wait(now); wait.count() > 0) {
        co_await net::sleep_for(std::chrono::ceil<std::chrono::milliseconds>(wait));
        turn = Clock::now();
      }
    }
    if (Clock::now() - turn > kTurn) {
      co_await boost::asio::post(executor_, boost::asio::use_awaitable);
      turn = Clock::now();
    }
  }
  output_ended_ = true;
  pump();
}

Task<void> SessionLoop::write() {
  while (!input_closed_) {
    auto message = session_.take_output();
    if (!message) {
      co_await writable_.wait();
      continue;
    }
    if (session_.wants_input()) readable_.notify();
    if (!co_await channel_->send(*message)) input_closed_ = input_broken_ = true;
  }
  pump();
}

Task<void> SessionLoop::run_timer() {
  for (;;) {
    armed_ = session_.next_deadline();
    if (!armed_) {
      co_await rearmed_.wait();
      continue;
    }
    if (!co_await rearmed_.wait_until(*armed_) && Clock::now() >= *armed_) {
      session_.on_time(Clock::now());
      pump();
    }
  }
}

}  // namespace mcpbox::hosting
