#include "box/docker/events.h"

#include <algorithm>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <deque>
#include <nlohmann/json.hpp>
#include <set>

#include "base/digest.h"
#include "base/log.h"
#include "base/text.h"
#include "box/docker/containers.h"
#include "box/docker/json.h"
#include "box/docker/lines.h"
#include "box/docker/profile.h"
#include "net/wait.h"

namespace mcpbox::box {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;

constexpr std::size_t kMaxQueue = 10000;
constexpr milliseconds kFirstPause{100}, kLongestPause{5000}, kListPause{500};

struct Event {
  enum class Kind { kConnected, kStarted, kMemory, kEnded };
  Kind kind = Kind::kConnected;
  SandboxState state;
};

// One coroutine keeps the stream open and queues what it says; the other works the queue off. A gap in the stream is
// closed by a list, taken when the next stream already runs.
class Watcher {
 public:
  Watcher(DockerClient& client, Labels labels, std::function<void(const SandboxState&)> handler,
          asio::any_io_executor executor)
      : client_(client), labels_(std::move(labels)), handler_(std::move(handler)), queued_(std::move(executor)) {}

  // What has ended before it was watched is not reported.
  Task<void> remember_present();
  Task<void> read();
  Task<void> work();

 private:
  Result<void> take_line(std::string_view line);
  Result<void> push(Event event);
  Task<void> compare_with_list();
  void compare(std::vector<SandboxState> listed);
  Task<void> ended(SandboxState state);
  void report(const SandboxState& state);

  DockerClient& client_;
  Labels labels_;
  std::function<void(const SandboxState&)> handler_;
  net::Signal queued_;
  std::deque<Event> queue_;
  bool have_list_ = false;
  std::map<std::string, SandboxState> running_;
  std::set<std::string> ended_;   // reported, or ended before we watched
  std::set<std::string> memory_;  // the kernel killed something in it for memory
};

Task<void> Watcher::read() {
  auto pause = kFirstPause;
  while (true) {
    DockerLines lines;
    bool connected = false;
    DockerClient::Call call;
    call.path = "/events";
    call.endless = true;
    // Podman's word for "die" is "died".
    call.query = {
        {"filters", docker_filters(labels_, {{"type", {"container"}}, {"event", {"start", "oom", "die", "died"}}})}};
    call.on_head = [this, &connected] {
      connected = true;
      // A full queue holds a connection event already or is about to end this stream.
      (void)push(Event{});
    };
    call.on_body = [this, &lines](std::string_view piece) {
      return lines.feed(piece, [this](std::string_view line) { return take_line(line); });
    };
    auto ended = co_await client_.call(std::move(call));
    if (connected) pause = kFirstPause;
    client_.forget_facts();
    log::debug("engine", "the event stream ended ({}); reconnecting", ended ? "closed" : ended.error().message());
    const auto jitter = milliseconds(static_cast<long>(random_below(static_cast<unsigned long long>(pause.count()))));
    co_await net::sleep_for(pause + jitter);
    pause = std::min(pause * 2, kLongestPause);
  }
}

Result<void> Watcher::push(Event event) {
  if (queue_.size() >= kMaxQueue) return fail(Code::kResourceExhausted, "more engine events than can be handled");
  queue_.push_back(std::move(event));
  queued_.notify();
  return {};
}

Result<void> Watcher::take_line(std::string_view line) {
  if (trim(line).empty()) return {};
  auto parsed = parse_docker_json(line, "an event");
  if (!parsed) return fail(std::move(parsed).error());
  Event event;
  const auto action = string_at(*parsed, {"Action"});
  if (action == "start")
    event.kind = Event::Kind::kStarted;
  else if (action == "oom")
    event.kind = Event::Kind::kMemory;
  else if (action == "die" || action == "died")
    event.kind = Event::Kind::kEnded;
  else
    return {};
  auto attributes = strings_at(*parsed, {"Actor", "Attributes"});
  event.state.id = string_at(*parsed, {"Actor", "ID"});
  if (!is_docker_id(event.state.id) || !labels_match(labels_, attributes)) return {};
  event.state.name = attributes["name"];
  const auto& code = attributes.contains("exitCode") ? attributes["exitCode"] : attributes["containerExitCode"];
  if (event.kind == Event::Kind::kEnded && !code.empty() && code.size() < 6)
    event.state.exit_code = std::atoi(code.c_str());
  std::erase_if(attributes, [](const auto& entry) { return !entry.first.starts_with(kLabelPrefix); });
  event.state.labels = std::move(attributes);
  return push(std::move(event));
}

Task<void> Watcher::work() {
  while (true) {
    if (queue_.empty()) {
      co_await queued_.wait();
      continue;
    }
    Event event = std::move(queue_.front());
    queue_.pop_front();
    switch (event.kind) {
      case Event::Kind::kConnected:
        co_await compare_with_list();
        break;
      case Event::Kind::kStarted:
        ended_.erase(event.state.id);
        event.state.running = true;
        running_[event.state.id] = event.state;
        break;
      case Event::Kind::kMemory:
        memory_.insert(event.state.id);
        break;
      case Event::Kind::kEnded:
        co_await ended(std::move(event.state));
        break;
    }
  }
}

Task<void> Watcher::ended(SandboxState state) {
  if (ended_.contains(state.id)) co_return;
  // The inspection knows best, but a sandbox with remove_on_exit is gone by now.
  auto details = co_await docker_inspect(client_, state.id);
  if (details && details->exit_code) state = std::move(*details);
  state.killed_for_memory |= memory_.contains(state.id) && state.exit_code == 137;
  report(state);
}

Task<void> Watcher::compare_with_list() {
  auto listed = co_await docker_list(client_, labels_);
  while (!listed) {  // without a list, what ended in the gap stays unknown; events wait in the queue
    log::warning("engine", "sandboxes cannot be listed after a gap in the event stream: {}", listed.error().message());
    co_await net::sleep_for(kListPause);
    listed = co_await docker_list(client_, labels_);
  }
  compare(std::move(*listed));
}

Task<void> Watcher::remember_present() {
  auto listed = co_await docker_list(client_, labels_);
  if (listed) compare(std::move(*listed));
}

void Watcher::compare(std::vector<SandboxState> listed) {
  auto before = std::exchange(running_, {});
  std::set<std::string> still_there;
  for (auto& state : listed) {
    still_there.insert(state.id);
    before.erase(state.id);
    if (state.running) {
      running_[state.id] = state;
    } else if (state.exit_code && !ended_.contains(state.id)) {
      if (have_list_) report(state);
      ended_.insert(state.id);
    }
  }
  for (auto& [id, state] : before) {  // ran before the gap, removed in it
    if (ended_.contains(id)) continue;
    state.running = false;
    report(state);
  }
  std::erase_if(ended_, [&](const auto& id) { return !still_there.contains(id); });
  have_list_ = true;
}

void Watcher::report(const SandboxState& state) {
  const SandboxState copy = state;
  running_.erase(copy.id);
  memory_.erase(copy.id);
  ended_.insert(copy.id);
  handler_(copy);
}

}  // namespace

Task<Result<void>> docker_watch(DockerClient& client, Labels labels, std::function<void(const SandboxState&)> handler) {
  using namespace asio::experimental::awaitable_operators;
  auto executor = co_await asio::this_coro::executor;
  Watcher watcher(client, std::move(labels), std::move(handler), executor);
  co_await watcher.remember_present();
  co_await (watcher.read() && watcher.work());
  co_return fail(Code::kCancelled, "watching the engine's events was cancelled");
}

}  // namespace mcpbox::box
