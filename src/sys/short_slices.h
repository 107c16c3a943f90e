// How soon who wakes up gets a processor that others use.
#pragma once

namespace mcpbox::sys {

// Asks the kernel for the shortest time slices for the calling thread (0.1 ms; sched_setattr(2), `sched_runtime` of
// SCHED_OTHER, since Linux 6.12): who passes messages on works for a moment, and does not wait until somebody else's
// slice is over. It gets no more of the processors for that. What it starts has the usual slices. Nothing happens
// where the kernel does not know it, or an operator chose another policy or a higher priority.
void ask_for_short_slices();

}  // namespace mcpbox::sys
