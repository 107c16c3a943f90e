// mcpbox-init: PID 1 of every sandbox.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "box/init/build.h"
#include "box/init/descriptors.h"
#include "box/init/listen.h"
#include "box/init/one_id.h"
#include "box/init/options.h"
#include "box/init/priority.h"
#include "box/init/server.h"
#include "box/wire/messages.h"

#ifndef MCPBOX_VERSION
#define MCPBOX_VERSION "unknown"
#endif

namespace mcpbox::box::init {
namespace {

constexpr const char* kUsage =
    "usage: mcpbox-init --control PATH [--owner UID] [--root DIR]... [--egress PORT:SOCKET [--sandbox NAME]]\n"
    "                   [--ephemeral] [--one-id] [--spaces | --spaces-without-proc] [--try-spaces UID]\n"
    "       mcpbox-init --build   (specification on descriptor 3, answer on 4)\n"
    "       mcpbox-init --version\n"
    "PID 1 of an mcpbox sandbox; mcpbox starts it.\n";

int die(const std::string& what, int error) {
  ::dprintf(2, "mcpbox-init: %s (errno %d)\n", what.c_str(), error);
  return 1;
}

// Nothing is inherited but what is meant to be.
int tidy_descriptors(const Options& options) {
  std::vector<int> keep;
  for (const int fd : {options.listener, options.egress_directory}) {
    if (fd >= 0) keep.push_back(fd);
  }
  for (const int fd : options.groups.descriptors()) keep.push_back(fd);
  return close_all_but(std::move(keep));
}

// The last one to be killed when memory is short; how far down it may go depends on the capabilities.
void protect_from_oom() {
  for (const char* score : {"-1000", "-500", "0"}) {
    UniqueFd fd(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
    if (fd && ::write(fd.get(), score, ::strlen(score)) > 0) return;
  }
}

int run(Options options) {
  if (::getpid() != 1) {
    ::dprintf(2, "mcpbox-init: runs as PID 1 of a sandbox only; mcpbox starts it there\n");
    return 2;
  }
  if (const int error = tidy_descriptors(options)) return die("close inherited descriptors", error);
  if (::geteuid() != 0) return die("must be root inside of the sandbox; check its user", EPERM);
  // Groups that the image's /etc/group gives to root are none of ours.
  if (options.one_id) set_one_id();
  if ((!one_id() && ::setgroups(0, nullptr) != 0) || ::setresgid(0, 0, 0) != 0) return die("drop groups", errno);
  protect_from_oom();
  take_priority();
  ::umask(0077);
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t handled;
  ::sigemptyset(&handled);
  ::sigaddset(&handled, SIGCHLD);
  ::sigaddset(&handled, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &handled, nullptr);
  UniqueFd signals(::signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) return die("make a signal descriptor", errno);
  // Before anybody can reach us, so that whoever does knows.
  if (options.try_spaces != 0 && !can_have_spaces(options.spaces, options.try_spaces)) return wire::kExitNoSpaces;
  Roots roots;
  for (const std::string& root : options.roots) {
    if (auto added = roots.add(root); !added) {
      return die(added.error().step + " " + added.error().text, added.error().error_number);
    }
  }
  std::string problem;
  const uid_t owner = shown_id(options.owner);
  UniqueFd listener = options.listener >= 0 ? UniqueFd(options.listener) : listen_on(options.control, owner, problem);
  if (!listener) return die(problem, errno);
  std::unique_ptr<EgressRelay> relay;
  if (options.egress_port != 0) {
    auto opened =
        EgressRelay::open(options.egress_port, options.egress_socket, owner, UniqueFd(options.egress_directory));
    if (!opened) return die(opened.error().step + " " + opened.error().text, opened.error().error_number);
    relay = std::move(*opened);
    relay->speak_for(options.sandbox);
  }
  // A change of identity resets this and the next.
  if (options.die_with_parent) ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  // Last: nobody reads our memory or our descriptors through /proc.
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return die("become undumpable", errno);
  Server server({owner, options.ephemeral, {options.spaces, options.egress_port}, std::move(options.groups)},
                std::move(roots), std::move(listener), std::move(signals), std::move(relay));
  return server.run();
}

}  // namespace
}  // namespace mcpbox::box::init

int main(int argc, char** argv) {
  using namespace mcpbox::box::init;
  if (const int error = open_missing_stdio()) return die("open /dev/null for a closed stdin, stdout or stderr", error);
  auto options = parse_options(argc, argv);
  if (!options) {
    ::dprintf(2, "mcpbox-init: %s\n%s", options.error().c_str(), kUsage);
    return 2;
  }
  if (options->version) {
    ::dprintf(1, "mcpbox-init %s\n", MCPBOX_VERSION);
    return 0;
  }
  if (options->build) {
    const int code = build_sandbox(*options);
    if (code != 0 || options->build) return code;
  }
  return run(std::move(*options));
}
