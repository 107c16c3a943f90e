// What becomes of one server: a state machine without I/O. It is told what happened and when, and says what to do next.
//
//   stopped ──► preparing ──► connecting ──► connected        a start, phase by phase (provision/phase.h)
//                  ▲ │             │             │
//                  │ └──────┬──────┴─────────────┘            a step failed, or the connection broke
//                  │        ▼
//                  └── reconnecting ──► error                 after 2, 4 and 8 s; then, or when waiting cannot help
//
// A stop, a restart and a shut-down may be asked for at any moment. They end what runs first; the newest one counts,
// and a shut-down counts for good. One attempt exists at a time: the next begins when nothing of the last one is left.
#pragma once

#include <chrono>
#include <optional>
#include <variant>
#include <vector>

#include "base/result.h"
#include "hosting/retry_budget.h"
#include "hosting/server_state.h"

namespace mcpbox::hosting {

struct PhaseTime {
  provision::Phase phase = provision::Phase::kNone;
  std::chrono::milliseconds duration{0};
};

class Lifecycle {
 public:
  using Clock = std::chrono::steady_clock;

  // Requests. StopAsked before Begin makes a server that is not started.
  struct StopAsked {};
  struct RestartAsked {
    bool fresh = false;  // stage again also what the server may have changed
  };
  struct ShutDownAsked {};
  // News of what the actions started.
  struct Begin {};  // once: the owner is ready to act
  struct PhaseReached {
    provision::Phase phase = provision::Phase::kNone;
  };
  struct StartEnded {  // the answer to kStart, also where it was cancelled
    Result<void> outcome;
  };
  struct Connected {};  // the server answered `initialize` and named its tools
  struct Broke {        // the connection will not answer any more
    Error why;
  };
  struct Ended {};  // the answer to kEnd: nothing of the attempt is left
  struct Tick {};   // wake() has come
  using Event = std::variant<StopAsked, RestartAsked, ShutDownAsked, Begin, PhaseReached, StartEnded, Connected, Broke,
                             Ended, Tick>;

  struct Action {
    enum class Kind {
      kNone,
      kStart,        // begin to connect; answer with StartEnded
      kCancelStart,  // cancel that; StartEnded is still to come, and its outcome may be a connection
      kEnd,          // end the connection; answer with Ended
      kOver,         // the life cycle is over, and nothing is left
    };
    Kind kind = Kind::kNone;
    std::optional<Error> why;  // kEnd: how the connection broke; nothing where the end was asked for
  };

  explicit Lifecycle(RetryBudget budget = RetryBudget()) : budget_(budget) {}

  // An event that does not fit the state is old news and changes nothing. `now` never goes back.
  Action on(const Event& event, Clock::time_point now);
  // When Tick is due; nothing while no time is waited for.
  std::optional<Clock::time_point> wake() const;

  ServerState state() const { return state_; }
  provision::Phase phase() const { return phase_; }  // of the attempt that runs, or in which it failed
  // Why the newest attempt failed; kept until a later one connects, or a stop.
  const std::optional<Error>& error() const { return error_; }
  const std::vector<PhaseTime>& phases() const { return phases_; }  // of the newest attempt: those that it has left
  unsigned starts() const { return starts_; }                       // connections made, since Begin
  std::optional<Clock::time_point> connected_since() const;         // in kConnected only
  // Calls may be made: connected, and not about to end.
  bool serving() const { return step_ == Step::kRunning && state_ == ServerState::kConnected; }
  // Connected, stopped or failed for good, with no request under way: nothing changes by itself.
  bool settled() const;
  const RetryBudget& budget() const { return budget_; }
  // The next start stages everything anew. Holds until a start has staged.
  bool fresh() const { return fresh_; }
  bool over() const { return step_ == Step::kOver; }

 private:
  // What runs at the moment; state_ is what is shown.
  enum class Step { kNew, kIdle, kStarting, kRunning, kEnding, kWaiting, kOver };
  enum class Wanted { kRun, kStop, kRestart, kShutDown };

  Action want(Wanted wanted, Clock::time_point now);
  Action next(Clock::time_point now);  // when nothing runs
  Action begin_attempt(Clock::time_point now);
  Action end(std::optional<Error> why);
  Action start_ended(const Result<void>& outcome, Clock::time_point now);
  Action attempt_failed(Error why, Clock::time_point now);
  void enter(ServerState state, provision::Phase phase, Clock::time_point now);

  RetryBudget budget_;
  Step step_ = Step::kNew;
  Wanted wanted_ = Wanted::kRun;
  bool cancelling_ = false;  // kStarting only
  bool fresh_ = false;
  bool fresh_is_new_ = false;       // asked for since the attempt began, which did not stage for it
  Clock::time_point retry_at_;      // kWaiting only
  std::optional<Error> end_cause_;  // kEnding only; nothing when it was asked for

  ServerState state_ = ServerState::kStopped;
  provision::Phase phase_ = provision::Phase::kNone;
  Clock::time_point phase_began_;
  std::vector<PhaseTime> phases_;
  std::optional<Error> error_;
  std::optional<Clock::time_point> connected_since_;  // of the newest attempt
  unsigned starts_ = 0;
};

}  // namespace mcpbox::hosting
