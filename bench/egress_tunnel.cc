// How fast one tunnel to a server on loopback is (directly, through the egress proxy, and the whole way from a native
// sandbox through mcpbox-init's relay and the proxy), and what 1,000 idle ones cost. All in one run; what counts is the
// ratio to the direct connection.
//   egress_tunnel [seconds]
#include <fmt/core.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "base/digest.h"
#include "box/native/engine.h"
#include "box/sandbox.h"
#include "integration/egress/rig.h"
#include "usage.h"

using namespace mcpbox;
using namespace mcpbox::egress;

namespace {

constexpr unsigned kSandboxes = 2, kProcesses = 10, kEach = 50;

long resident_kib(const std::string& pid = "self") {
  std::ifstream file("/proc/" + pid + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmRSS:")) return std::stol(line.substr(6));
  }
  return 0;
}

std::set<std::string> relays() {
  std::set<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "comm");
    std::string name;
    if (std::getline(file, name) && name == "mcpbox-relay") out.insert(entry.path().filename());
  }
  return out;
}

double pour(int fd, std::chrono::seconds span) {
  const std::string piece(1 << 18, 'x');
  const auto begin = std::chrono::steady_clock::now();
  std::size_t sent = 0;
  while (std::chrono::steady_clock::now() - begin < span && send_all(fd, piece)) sent += piece.size();
  return static_cast<double>(sent) / std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() /
         1e6;
}

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// Sandboxes whose processes use the proxy of a Rig.
struct Sandboxes {
  Rig& rig;
  std::vector<std::string> rules;
  boost::asio::io_context loop;
  test::TempTree folder;
  std::unique_ptr<box::Engine> engine;
  box::EngineInfo info;
  std::vector<std::unique_ptr<box::Sandbox>> sessions;

  Sandboxes(Rig& with, std::vector<std::string> allowed) : rig(with), rules(std::move(allowed)) {
    ::chmod(folder.root().c_str(), 0755);
    ::chmod(folder.dir("programs").c_str(), 0755);
    std::filesystem::copy_file(EGRESS_PROBE, folder.path("programs/probe"));
    ::chmod(folder.dir("run").c_str(), 0700);
    engine = box::make_native_engine(loop.get_executor(), {folder.dir("state"), BENCH_INIT, "/sys/fs/cgroup"});
    info = must(test::run_task(loop, engine->probe()));
    for (unsigned i = 0; i < kSandboxes; ++i) {
      box::SandboxOptions options;
      options.instance = random_hex(16);
      options.name = fmt::format("bench-{}", i);
      options.profile.image = "host";
      options.profile.mounts = {{box::Mount::Kind::kBind, folder.path("programs"), "/opt/bench", true, 0}};
      options.init_path = BENCH_INIT;
      options.run_dir = folder.path("run");
      options.egress_dir = rig.tree.root();
      options.uids = info.traits.uids;
      options.ephemeral = true;
      sessions.push_back(must(test::run_task(loop, box::Sandbox::open(*engine, std::move(options)))));
    }
  }
  ~Sandboxes() {
    for (const auto& session : sessions) (void)test::run_task(loop, session->close());
  }
  box::Supervisor::Spawned start(unsigned sandbox, unsigned number, const std::string& verb, const std::string& target,
                                 const std::string& count) {
    box::ProcessSpec spec;
    spec.id = fmt::format("s{}-p{}", sandbox, number);
    spec.uid = spec.gid = info.traits.uids.first + number;
    rig.on_loop([&] {
      return rig.registry
          .add({spec.id,
                "bench",
                spec.uid,
                sessions.at(sandbox)->state().name,
                sha256_hex("secret-token"),
                Phase::kRun,
                {Mode::kAllowlist, *parse_rules(rules), {}}})
          .has_value();
    });
    spec.argv = {"/opt/bench/probe", verb, basic_credential(spec.id, "secret-token"), target, count};
    spec.cwd = "/";
    spec.confine.read_only = {"/opt/bench"};
    spec.confine.connect_ports = {mcpbox::kEgressPort};
    return must(test::run_task(loop, sessions[sandbox]->supervisor().spawn(std::move(spec))));
  }
};

std::string line_of(int fd) {
  std::string out;
  for (char c = 0; ::read(fd, &c, 1) == 1 && c != '\n';) out += c;
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (const auto code = mcpbox::bench::usage(argc, argv, 1,
                                             "egress_tunnel [SECONDS]\n"
                                             "         SECONDS of each run (3). Needs root. Prints the throughput of a "
                                             "tunnel directly, through the proxy and from\n"
                                             "         a sandbox, and the memory of 1,000 idle ones.\n"))
    return *code;
  const std::chrono::seconds span(argc > 1 ? std::stoi(argv[1]) : 3);
  LoopbackServer sink([](int fd) {
    static char piece[1 << 18];
    while (::recv(fd, piece, sizeof piece, 0) > 0) {
    }
  });
  ProxyOptions options;
  options.max_tunnels_per_process = 1000;
  Rig rig({{{"a.test", "127.0.0.1"}}, {"127.0.0.0/8"}, Secret()}, options);
  // A listener that never accepts holds idle connections without a thread.
  const UniqueFd quiet(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof name;
  if (::bind(quiet.get(), reinterpret_cast<sockaddr*>(&name), size) != 0 || ::listen(quiet.get(), 4096) != 0) return 1;
  ::getsockname(quiet.get(), reinterpret_cast<sockaddr*>(&name), &size);
  const std::string idle_target = fmt::format("a.test:{}", ntohs(name.sin_port)),
                    target = fmt::format("a.test:{}", sink.port());
  rig.allow({idle_target, target});
  {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in there = name;
    there.sin_port = htons(sink.port());
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&there), sizeof there) != 0) return 1;
    fmt::print("direct:                        {:.0f} MB/s\n", pour(fd.get(), span));
  }
  fmt::print("through the proxy:             {:.0f} MB/s\n", pour(rig.tunnel(target).get(), span));
  const auto others = relays();
  Sandboxes sandboxes(rig, {idle_target, target});
  {
    const auto running = sandboxes.start(0, 99, "pour", target, std::to_string(span.count()));
    fmt::print("sandbox, relay and proxy:      {} MB/s\n", line_of(running.pipes.out.get()));
  }
  rig.drained();
  long before = resident_kib();
  std::vector<box::Supervisor::Spawned> held;
  for (unsigned sandbox = 0; sandbox < kSandboxes; ++sandbox) {
    for (unsigned i = 0; i < kProcesses; ++i)
      held.push_back(sandboxes.start(sandbox, i, "hold", idle_target, std::to_string(kEach)));
  }
  for (const auto& each : held) {
    if (line_of(each.pipes.out.get()) != "open") return 1;
  }
  long relay = 0;
  for (const std::string& pid : relays()) relay += others.contains(pid) ? 0 : resident_kib(pid);
  fmt::print("1,000 idle tunnels from sandboxes: proxy {} KiB more, {} KiB in all, and {} relays {} KiB in all\n",
             resident_kib() - before, resident_kib(), kSandboxes, relay);
  // Those stay: a server that never accepts never ends a connection either.
  before = resident_kib();
  std::vector<UniqueFd> idle;
  for (int i = 0; i < 1000; ++i) idle.push_back(rig.tunnel(idle_target));
  fmt::print("1,000 idle tunnels more, of the proxy alone: {} KiB more, {} KiB in all\n", resident_kib() - before,
             resident_kib());
}
