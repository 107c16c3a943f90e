#include "box/init/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/landlock.h"
#include "base/unique_fd.h"

namespace mcpbox::box::init {
namespace {

using namespace landlock;

constexpr std::uint64_t kFileRights = kExecute | kWriteFile | kReadFile | kTruncate | kIoctlDev;
constexpr std::uint64_t kRead = kExecute | kReadFile | kReadDir;

// /sys parts: runtimes size their heaps and thread pools by them. /opt: where images put interpreters.
constexpr const char* kSystemTrees[] = {"/usr",    "/lib", "/lib32",         "/lib64",
                                        "/libx32", "/bin", "/sbin",          "/etc",
                                        "/proc",   "/opt", "/sys/fs/cgroup", "/sys/devices/system/cpu"};
constexpr const char* kReadWriteDevices[] = {"/dev/null", "/dev/zero", "/dev/full"};
constexpr const char* kReadDevices[] = {"/dev/random", "/dev/urandom"};

class Ruleset {
 public:
  explicit Ruleset(int abi, bool ports = true) {
    fs_ = file_rights(abi);
    if (abi >= 4 && ports) net_ = kBindTcp | kConnectTcp;
    fd_.reset(create_ruleset({fs_, net_, abi >= 6 ? kScopeAbstractUnix | kScopeSignal : 0}));
    error_ = fd_ ? 0 : errno;
  }
  int error() const { return error_; }

  int allow(int path_fd, std::uint64_t rights) {
    struct stat info{};
    if (::fstat(path_fd, &info) != 0) return errno;
    if (!S_ISDIR(info.st_mode)) rights &= kFileRights;
    return add_path(fd_.get(), path_fd, rights & fs_) == 0 ? 0 : errno;
  }
  int allow(const char* path, std::uint64_t rights) {
    UniqueFd fd(::open(path, O_PATH | O_CLOEXEC));
    return fd ? allow(fd.get(), rights) : errno;
  }
  int allow_port(std::uint16_t port, std::uint64_t right) {
    if ((net_ & right) == 0) return 0;
    return add_port(fd_.get(), port, right) == 0 ? 0 : errno;
  }
  std::uint64_t everything() const { return fs_; }
  int enter() { return landlock::enter(fd_.get()) == 0 ? 0 : errno; }

 private:
  UniqueFd fd_;
  std::uint64_t fs_ = 0, net_ = 0;
  int error_ = 0;
};

int add_system(Ruleset& ruleset, bool own_spaces, std::string& step) {
  const auto add = [&](const char* path, std::uint64_t rights) {
    const int error = ruleset.allow(path, rights);
    if (error == 0 || error == ENOENT || error == EACCES) return 0;  // not every image has every one
    step = std::string("Landlock rule for '") + path + "'";
    return error;
  };
  for (const char* path : kSystemTrees) {
    if (int error = add(path, kRead)) return error;
  }
  for (const char* path : kReadWriteDevices) {
    if (int error = add(path, kReadFile | kWriteFile | kTruncate)) return error;
  }
  for (const char* path : kReadDevices) {
    if (int error = add(path, kReadFile)) return error;
  }
  if (!own_spaces) return 0;  // a neighbour would see what is made there, fill it, and squat on names
  for (const char* path : {"/tmp", "/dev/pts", "/dev/ptmx", "/dev/tty"}) {
    if (int error = add(path, ruleset.everything())) return error;
  }
  return add("/dev/shm", ruleset.everything() & ~kExecute);
}

}  // namespace

int landlock_abi() {
  return landlock::abi();
}

int apply_landlock(const LandlockRules& rules, std::string& step) {
  const int abi = landlock_abi();
  if (abi == 0) return 0;
  step = "make a Landlock ruleset";
  Ruleset ruleset(abi, !rules.own_spaces);
  if (ruleset.error() != 0) return ruleset.error();
  if (rules.system) {
    if (int error = add_system(ruleset, rules.own_spaces, step)) return error;
  }
  const auto add_all = [&](const std::vector<std::string>& paths, std::uint64_t rights) {
    for (const std::string& path : paths) {
      step = "Landlock rule for '" + path + "'";
      if (int error = ruleset.allow(path.c_str(), rights)) return error;
    }
    return 0;
  };
  if (int error = add_all(rules.read_only, kRead)) return error;
  if (int error = add_all(rules.read_write, ruleset.everything())) return error;
  step = "Landlock rule for a port";
  for (const std::uint16_t port : rules.connect_ports) {
    if (int error = ruleset.allow_port(port, kConnectTcp)) return error;
  }
  for (const std::uint16_t port : rules.bind_ports) {
    if (int error = ruleset.allow_port(port, kBindTcp)) return error;
  }
  step = "enter the Landlock domain";
  return ruleset.enter();
}

int apply_landlock_to_directories(std::initializer_list<int> directories) {
  const int abi = landlock_abi();
  if (abi == 0) return 0;
  Ruleset ruleset(abi);
  if (ruleset.error() != 0) return ruleset.error();
  for (const int directory : directories) {
    if (directory < 0) continue;
    if (int error = ruleset.allow(directory, ruleset.everything())) return error;
  }
  return ruleset.enter();
}

}  // namespace mcpbox::box::init
