// A connector whose servers are scripts in memory: every step of a start and of a session can be disturbed, and what is
// left running is counted.
#pragma once

#include <boost/asio/this_coro.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "hosting/connector.h"
#include "net/wait.h"
#include "provision/server_log.h"

namespace mcpbox::test {

// What one start does.
struct Script {
  std::optional<Error> fails;       // …, in the phase `at`
  bool hangs = false;               // in the phase `at`, until it is cancelled
  bool too_late_to_cancel = false;  // then it hangs until release(), and connects
  provision::Phase at = provision::Phase::kSessionCreate;
  enum class Initialize { kAnswers, kRefuses, kIsSilent, kDies } initialize = Initialize::kAnswers;
  enum class Leaves { kAtEndOfInput, kAtSigterm, kAtSigkill } leaves = Leaves::kAtEndOfInput;
  bool throws = false;      // in the phase `at`
  bool no_channel = false;  // once it is connected
  bool remains = false;     // why it dies
  std::string environment;
};

// The server: what it got, what it says, how it ended.
struct FakeProcess {
  FakeProcess(boost::asio::any_io_executor executor, Script how)
      : script(std::move(how)), changed(executor), readable(executor) {}

  Script script;
  std::deque<std::string> output;
  bool output_open = true;
  bool input_open = true;
  std::optional<hosting::End> ended;
  net::Signal changed;   // of the connection
  net::Signal readable;  // of the channel
  std::vector<std::string> calls;
  std::string ended_by;  // "end of input", "SIGTERM", "SIGKILL"; empty when it ended by itself
  bool answers_calls = true;
  bool leaves_a_child = false;  // that holds its output open when it ends
  bool ending = false;          // it is gone, and how is being found out: until end()
  std::function<void()> on_step;

  void end(hosting::End::Kind kind, std::string how) {
    if (ended) return;
    ended = hosting::End{kind, std::move(how), script.remains};
    if (!leaves_a_child) close_output();
    changed.notify();
  }
  void exit(int code) { end(hosting::End::Kind::kProcessExit, "the server ended: exit code " + std::to_string(code)); }
  void close_output() {
    output_open = false;
    readable.notify();
  }
  void asked_to_go(Script::Leaves when, const char* how) {
    if (ended || script.leaves != when) return;
    ended_by = how;
    exit(0);
  }
  void say(std::string line) {
    if (!output_open) return;
    output.push_back(std::move(line));
    readable.notify();
  }
  void answer(std::string_view request, const std::string& result) {
    say(R"({"jsonrpc":"2.0","id":)" + id_of(request) + R"(,"result":)" + result + "}");
  }
  void take(std::string_view request) {
    const auto is = [&](std::string_view what) { return request.find(what) != std::string_view::npos; };
    if (is("\"initialize\"")) {
      using enum Script::Initialize;
      if (script.initialize == kRefuses)
        say(R"({"jsonrpc":"2.0","id":)" + id_of(request) + R"(,"error":{"code":-32602,"message":"not with you"}})");
      if (script.initialize == kDies) exit(3);
      if (script.initialize == kAnswers) {
        answer(request, R"({"protocolVersion":"2025-06-18","capabilities":{"tools":{}},)"
                        R"("serverInfo":{"name":"fake","version":"7"}})");
      }
    } else if (is("tools/list")) {
      answer(request, R"({"tools":[{"name":"echo","inputSchema":{"type":"object"}}]})");
    } else if (is("tools/call")) {
      calls.emplace_back(request);
      if (answers_calls) answer(request, R"({"content":[]})");
    }
  }
  static std::string id_of(std::string_view line) {
    const std::size_t at = line.find("\"id\":");
    return at == std::string_view::npos ? "" : std::string(line.substr(at + 5, line.find_first_of(",}", at) - at - 5));
  }
};

class FakeChannel final : public channel::Channel {
 public:
  explicit FakeChannel(std::shared_ptr<FakeProcess> process) : process_(std::move(process)) {}
  Task<channel::Received> receive() override {
    process_->on_step();
    while (process_->output.empty() && process_->output_open && !closed_) co_await process_->readable.wait();
    if (process_->output.empty() || closed_) co_return channel::Closed{Error(Code::kUnavailable, "end of output")};
    current_ = std::move(process_->output.front());
    process_->output.pop_front();
    co_return channel::Message{current_};
  }
  Task<Result<void>> send(std::string_view message) override {
    process_->on_step();
    if (!process_->input_open || process_->ended) co_return fail(Code::kUnavailable, "broken pipe");
    process_->take(message);
    co_return Result<void>{};
  }
  void close_write() override {
    process_->input_open = false;
    process_->asked_to_go(Script::Leaves::kAtEndOfInput, "end of input");
  }
  Task<void> close() override {
    closed_ = true;
    process_->readable.notify();
    close_write();
    co_return;
  }

 private:
  std::shared_ptr<FakeProcess> process_;
  std::string current_;
  bool closed_ = false;
};

class FakeConnection final : public hosting::Connection {
 public:
  explicit FakeConnection(std::shared_ptr<FakeProcess> process) : process_(std::move(process)) {}
  ~FakeConnection() override { process_->exit(137); }
  Result<std::unique_ptr<channel::Channel>> take_channel() override {
    if (process_->script.no_channel) return fail(Code::kResourceExhausted, "no descriptor is left");
    return std::make_unique<FakeChannel>(process_);
  }
  const std::optional<hosting::End>& ended() const override { return process_->ended; }
  bool ending() const override { return process_->ending && !process_->ended; }
  bool drained() const override { return process_->ended.has_value(); }
  net::Signal& changed() override { return process_->changed; }
  Task<void> stop(hosting::Grace grace) override {
    co_await wait_for_end(grace.after_end_of_input);
    process_->asked_to_go(Script::Leaves::kAtSigterm, "SIGTERM");
    co_await wait_for_end(grace.after_sigterm);
    process_->asked_to_go(Script::Leaves::kAtSigkill, "SIGKILL");
    process_->exit(137);
  }
  hosting::ConnectionView view() const override {
    return {"sandbox-1", 42, 1000, process_->script.environment, "one package"};
  }

 private:
  Task<void> wait_for_end(std::chrono::milliseconds limit) {
    const auto until = std::chrono::steady_clock::now() + limit;
    while (!process_->ended && std::chrono::steady_clock::now() < until)
      (void)co_await process_->changed.wait_until(until);
  }
  std::shared_ptr<FakeProcess> process_;
};

// Owned by the test, so that it can be asked when the server is gone.
struct FakeStarts {
  explicit FakeStarts(boost::asio::any_io_executor e) : executor(e), released(e) {}
  boost::asio::any_io_executor executor;
  std::deque<Script> scripts;  // one a start; the last one for all that follow
  unsigned begun = 0;
  unsigned under_way = 0;
  std::vector<bool> fresh;  // of each start
  std::vector<hosting::InstanceId> ids;
  std::vector<std::shared_ptr<FakeProcess>> processes;
  net::Signal released;
  bool release = false;
  unsigned steps = 0;
  std::function<void(unsigned step)> disturb = [](unsigned) {};

  void step() { disturb(steps++); }
  // Processes that live.
  unsigned left() const {
    unsigned count = 0;
    for (const auto& process : processes) count += !process->ended;
    return count;
  }
  std::size_t calls() const {
    std::size_t count = 0;
    for (const auto& process : processes) count += process->calls.size();
    return count;
  }
};

class FakeConnector final : public hosting::Connector {
 public:
  explicit FakeConnector(FakeStarts& starts) : starts_(starts) {}

  Task<Result<std::unique_ptr<hosting::Connection>>> connect(hosting::ConnectRequest request,
                                                             provision::StartReport& report) override {
    struct UnderWay {
      unsigned& count;
      explicit UnderWay(unsigned& n) : count(n) { ++count; }
      ~UnderWay() { --count; }
    } const under_way(starts_.under_way);
    ++starts_.begun;
    starts_.fresh.push_back(request.fresh);
    starts_.ids.push_back(request.id);
    Script script = starts_.scripts.empty() ? Script{} : starts_.scripts.front();
    if (starts_.scripts.size() > 1) starts_.scripts.pop_front();
    using enum provision::Phase;
    for (const provision::Phase phase : {kSessionCreate, kDepInstall, kStage, kProcessStart}) {
      report.phase(phase);
      starts_.step();
      co_await net::sleep_for(std::chrono::milliseconds(0));
      if (phase != script.at) continue;
      if (script.too_late_to_cancel) {
        co_await boost::asio::this_coro::reset_cancellation_state(boost::asio::disable_cancellation());
      }
      if (script.fails) co_return fail(*script.fails);
      if (script.throws) throw std::runtime_error("a fault of ours");
      while (script.hangs && !starts_.release) co_await starts_.released.wait();
    }
    auto process = std::make_shared<FakeProcess>(starts_.executor, script);
    process->on_step = [this, raw = process.get()] {
      stepping_ = raw;
      starts_.step();
    };
    starts_.processes.push_back(process);
    co_return std::make_unique<FakeConnection>(std::move(process));
  }

 private:
  FakeStarts& starts_;
  FakeProcess* stepping_ = nullptr;
};

}  // namespace mcpbox::test
