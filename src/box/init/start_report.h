// What a child says to PID 1 while it becomes a process: one packet for each thing, then the end of the socket.
//
// The end comes when the program runs, for whatever is open then is closed on exec. Packets carry descriptors, which a
// pipe could not.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "box/init/op.h"

namespace mcpbox::box::init {

struct StartReport {
  enum class Kind : std::uint8_t {
    kProcess = 'P',  // somebody else becomes the process: `pid`; `process` and `reaper` are pidfds (spaces.h)
    kWayOut = 'W',   // `listener` takes its connections to the egress relay
    kWaysIn = 'I',   // `ways_in`: some more of them (ways_in.h)
    kMemory = 'M',   // `memory`: a memory file system that is its own
    kGroup = 'G',    // `told` becomes readable when its control group is short of memory (server_groups.h)
    kNoGroup = 'N',  // `error`: why it has no control group of its own, or no limits there; it runs all the same
    kError = 'E',    // `error`: it will not run
  };
  Kind kind = Kind::kError;
  pid_t pid = -1;
  UniqueFd process, reaper, listener, memory, told;
  std::vector<UniqueFd> ways_in;
  wire::ErrorReply error;
};

struct StartReportEnds {
  UniqueFd read;   // non-blocking
  UniqueFd write;  // of the child
};
Op<StartReportEnds> make_start_report();

// By the child. They say nothing about failure, since nobody could be told: false for those that must not go on then.
bool report_process(int report, pid_t pid, int process, int reaper);
bool report_way_out(int report, int listener);
// At most kWaysInAtOnce of them.
constexpr std::size_t kWaysInAtOnce = 16;
bool report_ways_in(int report, const std::vector<UniqueFd>& sockets);
bool report_memory(int report, int file_system);
bool report_memory_watch(int report, int told);
void report_no_group(int report, const wire::ErrorReply& error);
void report_error(int report, const wire::ErrorReply& error);

// By PID 1. What came; `kNothing` when nothing is there yet, `kEnd` after the last one.
enum class Received : std::uint8_t { kPacket, kNothing, kEnd };
Received receive_report(int report, StartReport& packet);

}  // namespace mcpbox::box::init
