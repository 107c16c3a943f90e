// A child of PID 1 that waits in a control group of its own for the server that it will be.
//
// To move into a group takes milliseconds on some kernels (server_groups.h). It is done before anybody asks for a
// start, so that no start waits for it: what a start costs more is to hand its request over instead of forking.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "box/init/op.h"
#include "box/init/roots.h"
#include "box/init/sandbox_child.h"
#include "box/init/server_groups.h"

namespace mcpbox::box::init {

class Understudy {
 public:
  Understudy(const Roots& roots, ServerGroups& groups, StartWay way) : roots_(roots), groups_(groups), way_(way) {}

  // Starts one where there are groups and none waits; an error is one of the next take().
  void prepare();
  struct Taken {
    pid_t pid = -1;
    std::string group;
  };
  // The child goes on as the request says, with copies of these descriptors, and is reaped like any other. One is
  // started where none waits. A child that could not have its group, or its limits there, goes on all the same, and
  // reports that (start_report.h): a quirk of a kernel's groups is not to keep servers from starting.
  Op<Taken> take(const wire::Spawn& spec, const int (&stdio)[3], int report);
  // True when it was the one that waits.
  bool reaped(pid_t pid);

 private:
  const Roots& roots_;
  ServerGroups& groups_;
  StartWay way_;
  pid_t pid_ = -1;
  UniqueFd socket_;
  std::string group_;
  std::uint64_t made_ = 0;
};

}  // namespace mcpbox::box::init
