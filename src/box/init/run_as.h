// Runs a function as another uid, in a forked child, and waits for what it says. Used inside helpers, never by PID 1
// itself.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>

#include "box/init/op.h"

namespace mcpbox::box::init {

using Clock = std::chrono::steady_clock;

// The child has no groups but `gid`, no capability and no_new_privs; it dies with its parent. The function's string (at
// most 1 MiB) or error comes back. kTimeout when the deadline passes: the child is dead then. Only root may call it;
// uid and gid 0 are refused.
Op<std::string> run_as(uid_t uid, gid_t gid, Clock::time_point deadline, const std::function<Op<std::string>()>& work);

// What a child says to its parent over a pipe: one byte for the kind of message, then the message.
std::string pack_answer(const Op<std::string>& answer);
Op<std::string> unpack_answer(std::string_view bytes);
void write_all(int fd, std::string_view bytes);

}  // namespace mcpbox::box::init
