#include "hosting/fate.h"

namespace mcpbox::hosting {

Fate Doom::on(const Signs& signs, Clock::time_point now) {
  wake_.reset();
  if (signs.ended) return signs.drained ? Fate::kEnded : wait(ended_at_, patience_.drain, Fate::kEnded, now);
  if (signs.ending && wait(ending_at_, patience_.ending, Fate::kEnded, now) == Fate::kUncertain)
    return Fate::kUncertain;
  if (signs.session_failed) return wait(failed_at_, patience_.failure, Fate::kSessionFailed, now);
  if (signs.output_ended) return wait(mute_at_, patience_.no_output, Fate::kMute, now);
  if (signs.input_broken) return wait(deaf_at_, patience_.no_input, Fate::kDeaf, now);
  return Fate::kAlive;
}

Fate Doom::wait(std::optional<Clock::time_point>& since, std::chrono::milliseconds patience, Fate then,
                Clock::time_point now) {
  if (!since) since = now;
  if (now - *since >= patience) return then;
  wake_ = *since + patience;
  return Fate::kUncertain;
}

}  // namespace mcpbox::hosting
