// Round trip, throughput and start of a process: raw pipe (the limit), pipe ends passed out of a sandbox, `mcpbox run`
// with and without --direct, and the engine's own exec. All in one run; what counts is the ratio to the raw pipe.
//
// usage: process_io [ROUNDS]   needs an engine (scripts/engine start) and the runner image (mcpbox image build)
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "box/docker/runner_image.h"
#include "box/engines/locator.h"
#include "box/sandbox.h"
#include "usage.h"

namespace {

using namespace mcpbox;
using Clock = std::chrono::steady_clock;

constexpr int kWarmUp = 500;
constexpr std::size_t kMessage = 200;
constexpr std::uint64_t kBulk = 512ull << 20;
int rounds = 10'000;

[[noreturn]] void give_up(const std::string& what) {
  fmt::print(stderr, "process_io: {}\n", what);
  std::exit(1);
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t size = ::write(fd, bytes.data(), bytes.size());
    if (size <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(size));
  }
  return true;
}

// Both directions of one echo process; `frame` bytes in front of every answer are skipped (the engine's stream has 8).
struct Pipe {
  UniqueFd in, out;
  pid_t pid = -1;
  std::size_t frame = 0;
};

// The same 200 bytes every time: a request, which the filter of `mcpbox run` takes note of, and which comes back as a
// message.
std::string message() {
  std::string text = R"({"jsonrpc":"2.0","method":"notifications/progress","params":{"data":")";
  const std::string end = "\"}}\n";
  text.append(kMessage - text.size() - end.size(), 'x');
  return text + end;
}

// Puts us and every process of this benchmark on one processor, or lets them go again. Where the scheduler happens to
// put the two ends of a pipe decides between 6 and 60 us a round trip on a virtual machine (the other processor has to
// be woken up from its idle state), and would drown what is to be compared.
void pin(bool to_one) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int cpu = 0; cpu < (to_one ? 1 : ::get_nprocs()); ++cpu) CPU_SET(cpu, &set);
  ::sched_setaffinity(0, sizeof set, &set);
  std::error_code ignored;
  for (const auto& process : std::filesystem::directory_iterator("/proc", ignored)) {
    std::ifstream file(process.path() / "cmdline");
    const std::string line((std::istreambuf_iterator<char>(file)), {});
    if (line.find("/bench_echo") == std::string::npos) continue;
    for (const auto& task : std::filesystem::directory_iterator(process.path() / "task", ignored)) {
      ::sched_setaffinity(std::atoi(task.path().filename().c_str()), sizeof set, &set);
    }
  }
}

double round_trip_p50_us(const Pipe& pipe) {
  struct Pinned {
    Pinned() { pin(true); }
    ~Pinned() { pin(false); }
  } const pinned;
  const std::string sent = message();
  std::vector<char> buffer(1 << 16);
  double best = 0;
  // The best of three: what disturbs a whole pass is not ours.
  for (int pass = 0; pass < 3; ++pass) {
    std::vector<double> times;
    for (int i = -kWarmUp; i < rounds; ++i) {
      const auto begin = Clock::now();
      if (!write_all(pipe.in.get(), sent)) give_up("the echo process is gone");
      for (std::size_t got = 0; got < sent.size() + pipe.frame;) {
        const ssize_t size = ::read(pipe.out.get(), buffer.data(), buffer.size());
        if (size <= 0) give_up("the echo process is gone");
        got += static_cast<std::size_t>(size);
      }
      if (i >= 0) times.push_back(seconds_since(begin) * 1e6);
    }
    std::nth_element(times.begin(), times.begin() + rounds / 2, times.end());
    const double median = times[static_cast<std::size_t>(rounds / 2)];
    if (pass == 0 || median < best) best = median;
  }
  return best;
}

// How fast we can read what the process produces as messages of 1,000 bytes.
double throughput_mb_s(const Pipe& pipe) {
  std::vector<char> buffer(1 << 18);
  std::uint64_t got = 0;
  const auto begin = Clock::now();
  while (got < kBulk) {
    const ssize_t size = ::read(pipe.out.get(), buffer.data(), buffer.size());
    if (size <= 0) give_up("the source process is gone");
    got += static_cast<std::uint64_t>(size);
  }
  return static_cast<double>(got) / seconds_since(begin) / 1e6;
}

Pipe start_local(const std::vector<std::string>& argv, bool own_session) {
  int in[2], out[2];
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) give_up("pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, own_session ? POSIX_SPAWN_SETSID : 0);
  std::vector<char*> pointers;
  for (const std::string& word : argv) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  Pipe pipe;
  if (::posix_spawn(&pipe.pid, argv[0].c_str(), &actions, &attributes, pointers.data(), environ) != 0)
    give_up("cannot start " + argv[0]);
  ::close(in[0]);
  ::close(out[1]);
  pipe.in = UniqueFd(in[1]);
  pipe.out = UniqueFd(out[0]);
  return pipe;
}

void stop_local(Pipe pipe) {
  pipe.in.reset();
  pipe.out.reset();
  int status = 0;
  for (int i = 0; i < 100; ++i) {
    if (::waitpid(pipe.pid, &status, WNOHANG) == pipe.pid) return;
    ::usleep(50'000);
  }
  ::kill(pipe.pid, SIGKILL);
  ::waitpid(pipe.pid, &status, 0);
}

// What `docker exec` does, without its client: create an exec, start it, and take the connection over.
std::string api_request(int fd, const std::string& path, const std::string& body, bool upgrade) {
  const std::string head =
      fmt::format("POST {} HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}\r\n",
                  path, body.size(), upgrade ? "Connection: Upgrade\r\nUpgrade: tcp\r\n" : "");
  if (!write_all(fd, head + body)) give_up("the engine closed the connection");
  std::string answer;
  char byte = 0;
  while (!answer.ends_with("\r\n\r\n") && ::read(fd, &byte, 1) == 1) answer += byte;
  if (upgrade) return answer;
  const std::size_t at = answer.find("Content-Length: ");
  if (at == std::string::npos) give_up("the engine's answer has no length: " + answer);
  const std::size_t length = std::strtoul(answer.c_str() + at + 16, nullptr, 10);
  std::string content;
  while (content.size() < length && ::read(fd, &byte, 1) == 1) content += byte;
  return content;
}

UniqueFd connect_engine(const std::string& address) {
  constexpr std::string_view kUnix = "unix://";
  if (!address.starts_with(kUnix)) give_up("this benchmark needs an engine on a unix socket");
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  address.substr(kUnix.size()).copy(name.sun_path, sizeof name.sun_path - 1);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0)
    give_up("cannot connect to " + address);
  return fd;
}

Pipe start_exec(const std::string& address, const std::string& sandbox, const std::vector<std::string>& argv) {
  std::string words;
  for (const std::string& word : argv) words += (words.empty() ? "\"" : ",\"") + word + "\"";
  UniqueFd fd = connect_engine(address);
  const std::string created =
      api_request(fd.get(), "/v1.40/containers/" + sandbox + "/exec",
                  R"({"AttachStdin":true,"AttachStdout":true,"User":"65534:65534","Cmd":[)" + words + "]}", false);
  const std::size_t at = created.find("\"Id\":\"");
  if (at == std::string::npos) give_up("the engine refused the exec: " + created);
  const std::string id = created.substr(at + 6, 64);
  UniqueFd stream = connect_engine(address);
  const std::string head =
      api_request(stream.get(), "/v1.40/exec/" + id + "/start", R"({"Detach":false,"Tty":false})", true);
  if (head.find(" 101 ") == std::string::npos) give_up("the engine refused the exec: " + head);
  Pipe pipe;
  pipe.frame = 8;
  pipe.in = UniqueFd(::dup(stream.get()));
  pipe.out = std::move(stream);
  return pipe;
}

struct Row {
  std::string path;
  double round_trip_us = 0;
  double throughput = 0;
  double start_ms = 0;
};

box::ProcessSpec process_of(const std::string& id, const std::vector<std::string>& argv, const std::string& folder) {
  box::ProcessSpec spec;
  spec.id = id;
  spec.argv = argv;
  spec.env = {"PATH=/usr/bin:/bin"};
  spec.cwd = "/";
  spec.uid = 1'900'000'001;
  spec.gid = 1'900'000'001;
  spec.confine.read_only = {folder};
  return spec;
}

Task<void> measure_sandbox(boost::asio::any_io_executor executor, const std::string& build, std::vector<Row>& rows) {
  const std::string folder = build + "/bench";
  const std::string echo = folder + "/bench_echo";
  box::LocatorOptions locate;
  auto located = co_await box::locate_engine(executor, std::move(locate));
  if (!located) give_up(located.error().message());
  auto dir = box::find_runner_image_dir();
  auto tag = dir ? box::runner_image_tag(*dir) : Result<std::string>(fail(dir.error()));
  if (!tag) give_up(tag.error().message());
  auto image = co_await located->engine->image(*tag);
  if (!image) give_up("the runner image is missing; run `mcpbox image build`");

  box::SandboxOptions options;
  options.instance = random_hex(16);
  options.name = "bench";
  options.ephemeral = true;
  options.init_path = build + "/bin/mcpbox-init";
  options.run_dir = fmt::format("/tmp/mcpbox-bench-{}", ::getpid());
  ::mkdir(options.run_dir.c_str(), 0700);
  options.profile.image = image->id;
  options.profile.mounts.push_back({box::Mount::Kind::kBind, folder, folder, true, 0});
  const std::string run_dir = options.run_dir;
  auto session = co_await box::Sandbox::open(*located->engine, std::move(options));
  if (!session) give_up(session.error().message());
  box::Supervisor& supervisor = (*session)->supervisor();

  std::vector<double> starts;
  for (int i = 0; i < 200; ++i) {
    auto spec = process_of("start", {echo}, folder);
    const auto begin = Clock::now();
    auto spawned = co_await supervisor.spawn(std::move(spec));
    if (!spawned) give_up(spawned.error().message());
    const std::string sent = message();
    char buffer[4096];
    if (!write_all(spawned->pipes.in.get(), sent) || ::read(spawned->pipes.out.get(), buffer, sizeof buffer) <= 0)
      give_up("no echo");
    starts.push_back(seconds_since(begin) * 1e3);
    (void)co_await supervisor.kill_uid(1'900'000'001, SIGKILL);
    (void)co_await supervisor.forget("start");
  }
  std::nth_element(starts.begin(), starts.begin() + 100, starts.end());

  Row passed{"pipe ends passed out of the sandbox", 0, 0, starts[100]};
  auto echo_spec = process_of("echo", {echo}, folder);
  auto echoing = co_await supervisor.spawn(std::move(echo_spec));
  if (!echoing) give_up(echoing.error().message());
  passed.round_trip_us = round_trip_p50_us({std::move(echoing->pipes.in), std::move(echoing->pipes.out), -1, 0});
  auto source_spec = process_of("source", {echo, "source"}, folder);
  auto source = co_await supervisor.spawn(std::move(source_spec));
  if (!source) give_up(source.error().message());
  passed.throughput = throughput_mb_s({std::move(source->pipes.in), std::move(source->pipes.out), -1, 0});
  rows.push_back(passed);
  (void)co_await supervisor.kill_uid(1'900'000'001, SIGKILL);

  Row exec{"engine exec (attach stream)", 0, 0, 0};
  std::vector<double> exec_starts;
  for (int i = 0; i < 10; ++i) {
    const auto begin = Clock::now();
    const Pipe pipe = start_exec(located->info.address, (*session)->state().id, {echo});
    char buffer[4096];
    if (!write_all(pipe.in.get(), message()) || ::read(pipe.out.get(), buffer, sizeof buffer) <= 0) give_up("no echo");
    exec_starts.push_back(seconds_since(begin) * 1e3);
  }
  std::nth_element(exec_starts.begin(), exec_starts.begin() + 5, exec_starts.end());
  exec.start_ms = exec_starts[5];
  exec.round_trip_us = round_trip_p50_us(start_exec(located->info.address, (*session)->state().id, {echo}));
  exec.throughput = throughput_mb_s(start_exec(located->info.address, (*session)->state().id, {echo, "source"}));
  rows.push_back(exec);
  (void)co_await (*session)->close();
  ::rmdir(run_dir.c_str());
}

Row measure_run(const std::string& build, const std::string& name, std::vector<std::string> options) {
  const std::string folder = build + "/bench";
  const std::string echo = folder + "/bench_echo";
  const auto argv_for = [&](const char* mode) {
    std::vector<std::string> argv{build + "/bin/mcpbox", "run", "--mount", folder};
    argv.insert(argv.end(), options.begin(), options.end());
    argv.insert(argv.end(), {"--", echo});
    if (*mode != '\0') argv.emplace_back(mode);
    return argv;
  };
  Row row{name, 0, 0, 0};
  const auto begin = Clock::now();
  Pipe pipe = start_local(argv_for(""), true);
  std::string sent = message();
  char buffer[4096];
  if (!write_all(pipe.in.get(), sent) || ::read(pipe.out.get(), buffer, sizeof buffer) <= 0)
    give_up(name + ": no echo");
  row.start_ms = seconds_since(begin) * 1e3;
  row.round_trip_us = round_trip_p50_us(pipe);
  stop_local(std::move(pipe));
  pipe = start_local(argv_for("source"), true);
  row.throughput = throughput_mb_s(pipe);
  stop_local(std::move(pipe));
  return row;
}

}  // namespace

int main(int argc, char** argv) {
  if (const auto code = mcpbox::bench::usage(
          argc, argv, 1,
          "process_io [ROUNDS]\n"
          "         ROUNDS of each round trip (10000), at least 100. Needs an engine and its image. Prints round trip, "
          "throughput and\n"
          "         start: raw pipe, passed descriptors, `run --direct`, `run`, the engine's exec.\n"))
    return *code;
  ::signal(SIGPIPE, SIG_IGN);
  if (argc > 1) rounds = std::max(100, std::atoi(argv[1]));
  std::string self(4096, '\0');
  self.resize(static_cast<std::size_t>(std::max<ssize_t>(0, ::readlink("/proc/self/exe", self.data(), self.size()))));
  const std::string build = self.substr(0, self.rfind("/bench/"));
  const std::string echo = build + "/bench/bench_echo";

  std::vector<Row> rows;
  const auto raw = [&](const std::string& name, bool own_session) {
    Row row{name, 0, 0, 0};
    std::vector<double> starts;
    for (int i = 0; i < 100; ++i) {
      const auto begin = Clock::now();
      Pipe pipe = start_local({echo}, own_session);
      char buffer[4096];
      if (!write_all(pipe.in.get(), message()) || ::read(pipe.out.get(), buffer, sizeof buffer) <= 0)
        give_up("no echo");
      starts.push_back(seconds_since(begin) * 1e3);
      stop_local(std::move(pipe));
    }
    std::nth_element(starts.begin(), starts.begin() + 50, starts.end());
    row.start_ms = starts[50];
    Pipe pipe = start_local({echo}, own_session);
    row.round_trip_us = round_trip_p50_us(pipe);
    stop_local(std::move(pipe));
    pipe = start_local({echo, "source"}, own_session);
    row.throughput = throughput_mb_s(pipe);
    stop_local(std::move(pipe));
    rows.push_back(row);
  };
  // The kernel schedules the processes of one session as a group. A sandboxed process is never in its client's session,
  // so the second row is the limit that can be reached.
  raw("raw pipe, same session", false);
  raw("raw pipe, own session (the limit)", true);

  boost::asio::io_context loop;
  boost::asio::co_spawn(loop, measure_sandbox(loop.get_executor(), build, rows), [](std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
  });
  loop.run();
  rows.push_back(measure_run(build, "mcpbox run --direct", {"--direct"}));
  rows.push_back(measure_run(build, "mcpbox run", {}));

  const Row& limit = rows[1];
  fmt::print("{:<38} {:>12} {:>8} {:>12} {:>8} {:>12}\n", "200-byte messages, one processor, p50", "round trip",
             "ratio", "throughput", "ratio", "start");
  for (const Row& row : rows) {
    fmt::print("{:<38} {:>9.1f} us {:>7.2f}x {:>7.0f} MB/s {:>7.2f}x {:>9.2f} ms\n", row.path, row.round_trip_us,
               row.round_trip_us / limit.round_trip_us, row.throughput, row.throughput / limit.throughput,
               row.start_ms);
  }
}
