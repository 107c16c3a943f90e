#include "egress/proxy/confinement.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

#include "base/errno_error.h"
#include "base/landlock.h"
#include "base/unique_fd.h"

namespace mcpbox::egress {
namespace {

constexpr uid_t kNobody = 65534;

// What getaddrinfo(3) reads: configuration, hosts, NSS modules, and where resolv.conf is often kept. /etc whole,
// because network managers replace resolv.conf by renaming, and a rule follows the file, not the name; its secrets are
// protected from us by their modes.
constexpr const char* kReadable[] = {"/etc",
                                     "/lib",
                                     "/lib64",
                                     "/usr/lib",
                                     "/usr/lib64",
                                     "/run/systemd/resolve",
                                     "/run/resolvconf",
                                     "/run/NetworkManager",
                                     "/var/run/nscd",
                                     "/run/nscd",
                                     "/usr/share/zoneinfo"};

Result<bool> enter_landlock(int audit_directory) {
  const int abi = landlock::abi();
  if (abi == 0) return false;
  // The abstract-socket scope stays open: some NSS modules speak over one.
  const landlock::RulesetAttr attr{landlock::file_rights(abi), abi >= 4 ? landlock::kBindTcp : 0,
                                   abi >= 6 ? landlock::kScopeSignal : 0};
  UniqueFd ruleset(landlock::create_ruleset(attr));
  if (!ruleset) return fail(errno_error(errno, "make a Landlock ruleset"));
  const auto allow = [&](int fd, std::uint64_t rights) {
    return landlock::add_path(ruleset.get(), fd, rights & attr.handled_access_fs) == 0;
  };
  for (const char* path : kReadable) {
    const UniqueFd fd(::open(path, O_PATH | O_CLOEXEC | O_DIRECTORY));
    // No execution: libraries are mapped, which is reading.
    if (fd && !allow(fd.get(), landlock::kReadFile | landlock::kReadDir))
      return fail(errno_error(errno, fmt::format("Landlock rule for '{}'", path)));
  }
  if (audit_directory >= 0 && !allow(audit_directory, attr.handled_access_fs & ~landlock::kExecute))
    return fail(errno_error(errno, "Landlock rule for the audit directory"));
  if (landlock::enter(ruleset.get()) != 0) return fail(errno_error(errno, "enter the Landlock domain"));
  return true;
}

// The directory is the log's alone. Files that are there belong to an earlier run.
bool hand_over(int directory) {
  if (::fchown(directory, kNobody, kNobody) != 0) return false;
  UniqueFd copy(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* list = copy ? ::fdopendir(copy.get()) : nullptr;
  if (list == nullptr) return false;
  (void)copy.release();
  while (const dirent* entry = ::readdir(list)) {
    struct stat status{};
    if (::fstatat(directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
        status.st_nlink == 1) {
      (void)!::fchownat(directory, entry->d_name, kNobody, kNobody, AT_SYMLINK_NOFOLLOW);
    }
  }
  ::closedir(list);
  return true;
}

void drop_bounding_set() {
  for (int capability = 0; ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; ++capability) {
  }
}

bool drop_capabilities() {
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2]{};
  return ::syscall(SYS_capset, &header, none) == 0;
}

}  // namespace

Result<Confinement> confine(const ConfinementOptions& options) {
  Confinement out;
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail(errno_error(errno, "set no_new_privs"));
  if (::geteuid() == 0) {
    // In a user namespace without nobody the change fails; then root stays, without capabilities.
    const bool ready = options.audit_directory < 0 || hand_over(options.audit_directory);
    drop_bounding_set();
    out.user_dropped = ready && ::setgroups(0, nullptr) == 0 && ::setresgid(kNobody, kNobody, kNobody) == 0 &&
                       ::setresuid(kNobody, kNobody, kNobody) == 0;
  }
  if (!drop_capabilities()) return fail(errno_error(errno, "drop the capabilities"));
  // Also keeps other processes of nobody's from attaching.
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  auto landlock = enter_landlock(options.audit_directory);
  if (!landlock) return fail(std::move(landlock.error()));
  out.landlock = *landlock;
  return out;
}

}  // namespace mcpbox::egress
