#include "box/docker/spaces.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "base/errno_error.h"
#include "base/log.h"
#include "box/docker/containers.h"
#include "box/wire/messages.h"
#include "net/uninterrupted.h"
#include "net/wait.h"
#include "sys/process_name.h"
#include "sys/small_file.h"

namespace mcpbox::box {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kPause(4);
constexpr milliseconds kBetweenLooks(100);  // whether the container still runs
constexpr auto kStartTime = std::chrono::seconds(20);

// What an engine says of options that it does not know or may not give, and what shows after it ignored them.
bool may_be_the_options(Code code) {
  return code == Code::kInvalidArgument || code == Code::kInternal || code == Code::kFailedPrecondition ||
         code == Code::kUnsupported || code == Code::kPermissionDenied;
}

DockerSpaces next_after(DockerSpaces spaces) {
  return spaces == DockerSpaces::kAll ? DockerSpaces::kWithoutProc : DockerSpaces::kNone;
}

// PID 1 listens once it knows that it can do what it was told to. Only its own word that it cannot is kUnsupported: a
// machine that is slow, an engine that stumbles and a container that somebody removes say nothing about namespaces.
Task<Result<void>> came_up(DockerClient& client, std::string id, std::string socket) {
  const auto deadline = Clock::now() + kStartTime;
  auto next_look = Clock::now() + kBetweenLooks;
  while (::access(socket.c_str(), F_OK) != 0) {
    const auto now = Clock::now();
    if (now >= deadline) co_return fail(Code::kTimeout, "its PID 1 was not up within 20 s");
    if (now >= next_look) {
      const auto state = co_await docker_inspect(client, id);
      if (state && !state->running && state->exit_code == wire::kExitNoSpaces)
        co_return fail(Code::kUnsupported, "its PID 1 could not make namespaces");
      if (state && !state->running) {
        co_return fail(Code::kUnavailable, fmt::format("the sandbox ended with exit code {} while it started",
                                                       state->exit_code.value_or(-1)));
      }
      if (!state && state.error().code() == Code::kNotFound)
        co_return fail(Code::kUnavailable, "the sandbox was removed from outside mcpbox while it started");
      next_look = Clock::now() + kBetweenLooks;
    }
    co_await net::sleep_for(kPause);
  }
  co_return Result<void>{};
}

Task<Result<SandboxState>> create_steps(DockerClient& client, SandboxSpec spec, std::string socket, DockerSpaces spaces,
                                        std::string& id) {
  auto made = co_await docker_create(client, std::move(spec), spaces);
  if (!made || spaces == DockerSpaces::kNone) co_return made;
  id = made->id;
  if (auto up = co_await came_up(client, id, std::move(socket)); !up) co_return fail(std::move(up).error());
  co_return made;
}

// `id` and `name` outlive it.
Task<void> remove_unfinished(DockerClient& client, const std::string& id, const std::string& name) {
  if (id.empty()) co_return;
  if (auto removed = co_await docker_remove(client, id); !removed)
    log::warning("engine", "the unfinished sandbox {} could not be removed: {}", name, removed.error().message());
}

}  // namespace

Task<Result<SandboxState>> DockerSpacesFinder::attempt(SandboxSpec spec, std::string socket, DockerSpaces spaces) {
  if (spaces != DockerSpaces::kNone) {
    auto facts = co_await client_.facts();
    if (!facts) co_return fail(std::move(facts).error());
    spec.init_argv.emplace_back(spaces == DockerSpaces::kAll ? "--spaces" : "--spaces-without-proc");
    spec.init_argv.emplace_back("--try-spaces");
    spec.init_argv.push_back(std::to_string(facts->info.traits.uids.first));
  }
  std::string id;
  const auto undo = [&](const Error&) { return remove_unfinished(client_, id, spec.name); };
  co_return co_await net::undone_unless_done(create_steps(client_, spec, std::move(socket), spaces, id), undo);
}

Task<Result<SandboxState>> DockerSpacesFinder::create(SandboxSpec spec, std::string socket) {
  if (socket.empty()) co_return co_await attempt(std::move(spec), {}, DockerSpaces::kNone);
  const std::string init = spec.equipment ? spec.equipment->init : std::string();
  if (!std::exchange(recalled_, true)) co_await recall(init);
  DockerSpaces spaces = best_;
  bool again = false;
  while (true) {
    auto made = co_await attempt(spec, socket, spaces);
    if (made) {
      if (spaces != best_) co_await remember(init, spaces);
      co_return made;
    }
    if (spaces == DockerSpaces::kNone || !may_be_the_options(made.error().code())) co_return made;
    // What an engine calls an error of its own passes, or is one of its runtime, which does not know the options.
    const Code code = made.error().code();
    if ((code == Code::kInternal || code == Code::kFailedPrecondition) && !std::exchange(again, true)) continue;
    again = false;
    log::info("engine", "no namespaces of their own for servers ({}): {}", name_of(spaces), made.error().message());
    spaces = next_after(spaces);
  }
}

// Of this engine and this PID 1, in this start of the machine, whose rules may have been changed for the next one.
Task<Result<std::string>> DockerSpacesFinder::key(std::string init) {
  struct stat file{};
  if (::stat(init.c_str(), &file) != 0) co_return fail(errno_error(errno, init));

  auto facts = co_await client_.facts();
  if (!facts) co_return fail(std::move(facts).error());
  auto boot = sys::boot_id();
  if (!boot) co_return fail(std::move(boot).error());
  co_return fmt::format("{} {} {} {}.{}\n", facts->info.address, facts->info.version, *boot, file.st_mtim.tv_sec,
                        file.st_size);
}

Task<void> DockerSpacesFinder::recall(std::string init) {
  if (note_.empty()) co_return;
  const auto known = sys::read_file(note_);
  const auto wanted = co_await key(std::move(init));
  if (!known || !wanted || !known->starts_with(*wanted)) co_return;
  for (const DockerSpaces each : {DockerSpaces::kWithoutProc, DockerSpaces::kNone}) {
    if (known->substr(wanted->size()) == name_of(each)) best_ = each;
  }
}

// Best effort: what is not remembered is found out again.
Task<void> DockerSpacesFinder::remember(std::string init, DockerSpaces found) {
  best_ = found;
  if (note_.empty()) co_return;
  const auto first = co_await key(std::move(init));
  if (!first) co_return;
  if (auto written = sys::replace_file(note_, *first + std::string(name_of(found))); !written)
    log::warning("engine", "{}", written.error().message());
}

}  // namespace mcpbox::box
