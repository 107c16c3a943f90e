// Drives one mcp::ClientSession over a message channel: one reader, one writer, one timer.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "channel/channel.h"
#include "hosting/flow_budget.h"
#include "json/raw_object.h"
#include "mcp/client_session.h"
#include "net/task.h"
#include "net/task_group.h"
#include "net/wait.h"
#include "provision/server_log.h"

namespace mcpbox::hosting {

// Bytes of answers that were handed out and not let go of yet.
struct Undelivered {
  std::size_t bytes = 0;
  std::function<void()> on_less;  // empty once nobody listens
};

// An answer that counts against its server's undelivered bytes as long as it lives. May outlive the loop, on the same
// executor.
class Answer : public mcp::CallReply {
 public:
  Answer(mcp::CallReply reply, std::shared_ptr<Undelivered> of);
  Answer(Answer&&) noexcept = default;
  Answer& operator=(Answer&&) = delete;
  ~Answer();

 private:
  std::shared_ptr<Undelivered> of_;  // null when moved from
  std::size_t bytes_;
};

// Lives on one executor. start() spawns its tasks; stop() must be awaited before it is destroyed.
//
// What a server may cost the loop that it shares: what nobody asked it for (requests, notifications, noise, late or
// unknown answers) is read at 2 MiB and about 6,000 messages a second, 4 MiB at once; beyond that it waits in the pipe.
// Answers that somebody waits for are read at any speed, but nothing is read while 8 MiB of them are in callers' hands.
// Of a batch only the answers in it that somebody waits for are free. Lines of 128 KiB and more are read on `pool`, and
// so are a list's pages of that size. On the loop, of a message of any size: the copy of a result or an error that
// somebody waits for (16 MiB at most), the answer to initialize (4 MiB at most), and that a page's items (10,000, or 8
// MiB, at most) join their list. After half a millisecond of work the loop's other tasks have their turn.
class SessionLoop {
 public:
  // `pool` and `log` outlive it.
  SessionLoop(boost::asio::any_io_executor executor, boost::asio::thread_pool& pool,
              std::unique_ptr<channel::Channel> channel, mcp::SessionOptions options, provision::ServerLog& log);
  ~SessionLoop();

  // `on_change` is called when state(), the lists, output_ended() or input_broken() changed; it must not destroy the
  // loop.
  void start(std::function<void()> on_change);
  // Every pending call fails with `reason`. The channel closes: the server sees end of input.
  Task<void> stop(Error reason);
  // Closes the way to the server at once; a message that is being written is cut.
  void close_write();

  const mcp::ClientSession& session() const { return session_; }
  // End of its output: there will be no answer any more, also when the server lives on.
  bool output_ended() const { return output_ended_; }
  // It takes no input any more, though nobody closed the way to it: nothing can be asked. Mostly it is about to end.
  bool input_broken() const { return input_broken_; }

  // Returns when the server answered, the time was up, or the session ended. Cancelling the coroutine cancels the
  // request. Who gets the answer lets go of it when it is passed on.
  Task<Result<Answer>> call(std::string method, json::RawObject params, std::chrono::milliseconds timeout);

 private:
  // A caller that waits, in its own frame.
  struct Waiter {
    explicit Waiter(boost::asio::any_io_executor executor) : done(std::move(executor)) {}
    net::Signal done;
    std::optional<Result<Answer>> outcome;
  };
  struct Seen {
    mcp::SessionState state = mcp::SessionState::kNew;
    std::uint64_t lists = 0;
    bool ended = false, deaf = false;
    bool operator==(const Seen&) const = default;
  };

  Task<void> read();
  Task<void> write();
  Task<void> run_timer();
  void pump();  // after every input: hand out completions and log lines, wake who has something to do

  boost::asio::any_io_executor executor_;
  boost::asio::thread_pool& pool_;
  std::unique_ptr<channel::Channel> channel_;
  mcp::ClientSession session_;
  provision::ServerLog& log_;
  FlowBudget unasked_;
  std::shared_ptr<Undelivered> undelivered_ = std::make_shared<Undelivered>();
  net::Signal readable_;  // the session wants input again
  net::Signal writable_;  // there is output, or the channel is closed for it
  net::Signal rearmed_;   // a deadline came nearer
  net::Signal callers_left_;
  std::optional<mcp::Clock::time_point> armed_;
  std::map<mcp::CallId, Waiter*> waiters_;
  std::function<void()> on_change_;
  Seen seen_;
  unsigned callers_ = 0;
  bool output_ended_ = false;
  bool input_closed_ = false;
  bool input_broken_ = false;
  net::TaskGroup tasks_;
};

}  // namespace mcpbox::hosting
