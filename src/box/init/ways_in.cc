#include "box/init/ways_in.h"

#include <errno.h>
#include <sys/socket.h>

#include <algorithm>
#include <vector>

#include "box/init/start_report.h"

namespace mcpbox::box::init {
namespace {

int make_of_family(int family, unsigned count, int report) {
  while (count > 0) {
    std::vector<UniqueFd> sockets;
    const unsigned now = std::min(count, static_cast<unsigned>(kWaysInAtOnce));
    for (unsigned i = 0; i < now; ++i) {
      sockets.emplace_back(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      if (!sockets.back()) return errno;
    }
    if (!report_ways_in(report, sockets)) return EPIPE;
    count -= now;
  }
  return 0;
}

}  // namespace

int make_ways_in(unsigned count, int report, std::string& step) {
  step = "make the ways to published ports";
  if (int error = make_of_family(AF_INET, count, report)) return error;
  const int error = make_of_family(AF_INET6, count, report);
  return error == EAFNOSUPPORT ? 0 : error;
}

}  // namespace mcpbox::box::init
