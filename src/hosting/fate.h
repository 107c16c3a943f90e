// When a connection counts as broken, and how: a state machine without I/O.
//
// The signs of an end come one by one and in any order: the session fails, stdout ends, the exit is reported, its last
// words arrive. The one that tells most is waited for a moment, because it is what people are told.
#pragma once

#include <chrono>
#include <optional>

namespace mcpbox::hosting {

struct Patience {
  std::chrono::milliseconds drain{300};       // for the last output: a child that it left may hold the pipes open
  std::chrono::milliseconds failure{500};     // for its exit, when the session failed
  std::chrono::milliseconds no_output{1000};  // for its exit, when its output ended
  std::chrono::milliseconds no_input{1000};   // for its exit, when it takes no input any more
  std::chrono::milliseconds ending{6000};     // for how it ended, when somebody is finding that out
};

// What is known at a moment. None becomes false again, except `ending`, which `ended` takes over from.
struct Signs {
  bool ended = false;           // Connection::ended()
  bool drained = false;         // and everything that it wrote was read
  bool ending = false;          // Connection::ending()
  bool session_failed = false;  // initialize or the first list failed
  bool output_ended = false;    // there will be no answer any more
  bool input_broken = false;    // nothing can be asked any more
};

enum class Fate {
  kAlive,
  kUncertain,      // look again at Doom::wake(), or when a sign comes
  kEnded,          // tell how it ended
  kSessionFailed,  // it lives on, but the session failed
  kMute,           // it lives on, but cannot answer
  kDeaf,           // it lives on, but cannot be asked
};

class Doom {
 public:
  using Clock = std::chrono::steady_clock;
  explicit Doom(Patience patience) : patience_(patience) {}

  Fate on(const Signs& signs, Clock::time_point now);
  // After kUncertain: when to look again.
  std::optional<Clock::time_point> wake() const { return wake_; }

 private:
  // Uncertain until `patience` after the first call with this sign, then `then`.
  Fate wait(std::optional<Clock::time_point>& since, std::chrono::milliseconds patience, Fate then,
            Clock::time_point now);

  Patience patience_;
  std::optional<Clock::time_point> ended_at_, ending_at_, failed_at_, mute_at_, deaf_at_, wake_;
};

}  // namespace mcpbox::hosting
