// How fast one tunnel through the egress proxy is on loopback, and what 1,000 idle ones cost: run it by hand.
//   egress_tunnel [seconds]
#include <fmt/core.h>

#include <fstream>

#include "integration/egress/rig.h"

using namespace mcpbox::egress;

static long resident_kib() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmRSS:")) return std::stol(line.substr(6));
  }
  return 0;
}

int main(int argc, char** argv) {
  const std::chrono::seconds span(argc > 1 ? std::stoi(argv[1]) : 3);
  LoopbackServer sink([](int fd) {
    static char piece[1 << 18];
    while (::recv(fd, piece, sizeof piece, 0) > 0) {
    }
  });
  ProxyOptions options;
  options.max_tunnels_per_process = 1000;
  Rig rig({{{"a.test", "127.0.0.1"}}, {"127.0.0.0/8"}, mcpbox::Secret()}, options);
  // A listener that never accepts holds idle connections without a thread.
  const mcpbox::UniqueFd quiet(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof name;
  if (::bind(quiet.get(), reinterpret_cast<sockaddr*>(&name), size) != 0 || ::listen(quiet.get(), 2048) != 0) return 1;
  ::getsockname(quiet.get(), reinterpret_cast<sockaddr*>(&name), &size);
  const std::string idle_target = fmt::format("a.test:{}", ntohs(name.sin_port)), target = fmt::format("a.test:{}", sink.port());
  rig.allow({idle_target, target});
  {
    const mcpbox::UniqueFd fd = rig.tunnel(target);
    const std::string piece(1 << 18, 'x');
    const auto begin = std::chrono::steady_clock::now();
    std::size_t sent = 0;
    while (std::chrono::steady_clock::now() - begin < span && send_all(fd.get(), piece)) sent += piece.size();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    fmt::print("one tunnel: {:.0f} MB/s\n", static_cast<double>(sent) / seconds / 1e6);
  }
  rig.drained();
  const long before = resident_kib();
  std::vector<mcpbox::UniqueFd> idle;
  for (int i = 0; i < 1000; ++i) idle.push_back(rig.tunnel(idle_target));
  fmt::print("1,000 idle tunnels: {} KiB more, {} KiB in all\n", resident_kib() - before, resident_kib());
}
