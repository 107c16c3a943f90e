#include "hosting/lifecycle.h"

#include <utility>

namespace mcpbox::hosting {
namespace {

using Kind = Lifecycle::Action::Kind;
using provision::Phase;

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};

ServerState state_in(Phase phase) {
  switch (phase) {
    case Phase::kProcessStart:
    case Phase::kMcpInit:
      return ServerState::kConnecting;
    default:
      return ServerState::kPreparing;
  }
}

// Configuration, a policy, a program that is not there: the same again in two seconds.
bool waiting_cannot_help(const Error& error) {
  return error.code() == Code::kInvalidArgument || error.code() == Code::kPermissionDenied ||
         error.code() == Code::kFailedPrecondition;
}

}  // namespace

Lifecycle::Action Lifecycle::on(const Event& event, Clock::time_point now) {
  return std::visit(
      Overloaded{
          [&](const StopAsked&) { return want(Wanted::kStop, now); },
          [&](const RestartAsked& asked) {
            if (asked.fresh) fresh_ = fresh_is_new_ = true;
            return want(Wanted::kRestart, now);
          },
          [&](const ShutDownAsked&) { return want(Wanted::kShutDown, now); },
          [&](const Begin&) { return step_ == Step::kNew ? next(now) : Action{}; },
          [&](const PhaseReached& reached) {
            if (step_ != Step::kStarting || reached.phase == phase_) return Action{};
            if (state_in(reached.phase) == ServerState::kConnecting && !fresh_is_new_) fresh_ = false;
            enter(state_in(reached.phase), reached.phase, now);
            return Action{};
          },
          [&](const StartEnded& ended) {
            return step_ == Step::kStarting ? start_ended(ended.outcome, now) : Action{};
          },
          [&](const Connected&) {
            if (step_ != Step::kRunning || state_ == ServerState::kConnected) return Action{};
            error_.reset();
            enter(ServerState::kConnected, Phase::kNone, now);
            connected_since_ = now;
            return Action{};
          },
          [&](const Broke& broke) {
            if (step_ != Step::kRunning) return Action{};
            if (state_ == ServerState::kConnected) phase_ = Phase::kRuntime;
            return end(broke.why);
          },
          [&](const Ended&) {
            if (step_ != Step::kEnding) return Action{};
            if (wanted_ != Wanted::kRun) return next(now);
            return attempt_failed(*std::exchange(end_cause_, std::nullopt), now);
          },
          [&](const Tick&) { return step_ == Step::kWaiting && now >= retry_at_ ? begin_attempt(now) : Action{}; },
      },
      event);
}

std::optional<Lifecycle::Clock::time_point> Lifecycle::wake() const {
  return step_ == Step::kWaiting ? std::optional(retry_at_) : std::nullopt;
}

std::optional<Lifecycle::Clock::time_point> Lifecycle::connected_since() const {
  return state_ == ServerState::kConnected ? connected_since_ : std::nullopt;
}

bool Lifecycle::settled() const {
  return step_ == Step::kIdle || step_ == Step::kOver || (serving() && wanted_ == Wanted::kRun);
}

Lifecycle::Action Lifecycle::want(Wanted wanted, Clock::time_point now) {
  if (wanted_ == Wanted::kShutDown) return {};
  wanted_ = wanted;
  switch (step_) {
    case Step::kNew:
    case Step::kEnding:
    case Step::kOver:
      return {};
    case Step::kIdle:
    case Step::kWaiting:
      return next(now);
    case Step::kStarting:
      return {std::exchange(cancelling_, true) ? Kind::kNone : Kind::kCancelStart, {}};
    case Step::kRunning:
      return end(std::nullopt);
  }
  return {};
}

Lifecycle::Action Lifecycle::next(Clock::time_point now) {
  end_cause_.reset();
  const Wanted wanted = wanted_;
  if (wanted != Wanted::kShutDown) wanted_ = Wanted::kRun;
  if (wanted == Wanted::kStop || wanted == Wanted::kShutDown) {
    error_.reset();
    enter(ServerState::kStopped, Phase::kNone, now);
    step_ = wanted == Wanted::kStop ? Step::kIdle : Step::kOver;
    return {wanted == Wanted::kStop ? Kind::kNone : Kind::kOver, {}};
  }
  if (wanted == Wanted::kRestart) budget_.reset();
  return begin_attempt(now);
}

Lifecycle::Action Lifecycle::begin_attempt(Clock::time_point now) {
  connected_since_.reset();
  enter(ServerState::kPreparing, Phase::kNone, now);  // the connector says what it begins with
  phases_.clear();
  step_ = Step::kStarting;
  cancelling_ = false;
  fresh_is_new_ = false;
  return {Kind::kStart, {}};
}

Lifecycle::Action Lifecycle::end(std::optional<Error> why) {
  step_ = Step::kEnding;
  end_cause_ = std::move(why);
  return {Kind::kEnd, end_cause_};
}

Lifecycle::Action Lifecycle::start_ended(const Result<void>& outcome, Clock::time_point now) {
  const bool asked = wanted_ != Wanted::kRun;
  if (!outcome) return asked ? next(now) : attempt_failed(outcome.error(), now);
  ++starts_;
  enter(ServerState::kConnecting, Phase::kMcpInit, now);
  if (asked) return end(std::nullopt);
  step_ = Step::kRunning;
  return {};
}

Lifecycle::Action Lifecycle::attempt_failed(Error why, Clock::time_point now) {
  error_ = std::move(why);
  const bool hopeless = !connected_since_ && waiting_cannot_help(*error_);
  const auto delay = hopeless ? std::nullopt : budget_.on_failure(now, connected_since_);
  if (!delay) {
    enter(ServerState::kError, phase_, now);
    step_ = Step::kIdle;
    return {};
  }
  enter(ServerState::kReconnecting, phase_, now);
  step_ = Step::kWaiting;
  retry_at_ = now + *delay;
  return {};
}

void Lifecycle::enter(ServerState state, Phase phase, Clock::time_point now) {
  const bool timed = (state_ == ServerState::kPreparing || state_ == ServerState::kConnecting) &&
                     phase_ != Phase::kNone && phase_ != Phase::kRuntime;
  if (timed) phases_.push_back({phase_, std::chrono::duration_cast<std::chrono::milliseconds>(now - phase_began_)});
  state_ = state;
  phase_ = phase;
  phase_began_ = now;
}

}  // namespace mcpbox::hosting
