// Part of probe.h: the victim's files, and places that servers share.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "box/probe/probe.h"

namespace mcpbox::box::probe {
namespace {

Outcome read_file(const Target& target) {
  return read_all(target.files + "/code") == canary(target, "file") ? hit("read it") : blocked_by(errno);
}

Outcome change_file(const Target& target) {
  const int fd = ::open((target.files + "/code").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd < 0) return blocked_by(errno);
  const bool wrote = ::write(fd, "#", 1) == 1;
  return wrote ? hit("changed it") : blocked_by(errno);
}

Outcome replace_folder(const Target& target) {
  const std::string aside = target.files + "-aside";
  if (::rename(target.files.c_str(), aside.c_str()) != 0) return blocked_by(errno);
  ::rename(aside.c_str(), target.files.c_str());
  return hit("moved it away");
}

// The folders of installed packages that this system has, besides those of the attacker's own environment.
std::vector<std::string> package_folders() {
  std::vector<std::string> out{"/usr/lib/node_modules", "/usr/local/lib/node_modules", "/usr/share/nodejs"};
  for (const char* const base : {"/usr/lib", "/usr/local/lib"}) {
    DIR* const folder = ::opendir(base);
    while (folder != nullptr) {
      const dirent* const entry = ::readdir(folder);
      if (entry == nullptr) break;
      if (::strncmp(entry->d_name, "python3", 7) != 0) continue;
      for (const char* const name : {"/site-packages", "/dist-packages"})
        out.push_back(std::string(base) + "/" + entry->d_name + name);
    }
    if (folder != nullptr) ::closedir(folder);
  }
  return out;
}

Outcome make_in(const Target& target, const std::vector<std::string>& folders) {
  Outcome outcome = none("this system has no such folder");
  for (const std::string& folder : folders) {
    struct stat info{};
    if (::stat(folder.c_str(), &info) != 0 && errno == ENOENT) continue;
    int error = 0;
    if (can_make(folder + "/" + abstract_name(target), error)) return hit("made a file in " + folder);
    outcome = blocked_by(error);
  }
  return outcome;
}

Outcome poison_packages(const Target& target) {
  return make_in(target, package_folders());
}

Outcome poison_profile(const Target& target) {
  struct stat info{};
  const bool there = ::stat("/etc/profile.d", &info) == 0;
  return make_in(target, {there ? "/etc/profile.d" : "/etc"});
}

// A hit when the one sees what the other has there. The victim looks for this file by itself.
Outcome share_temporary(const Target& target) {
  Outcome outcome = blocked("neither sees the other's files");
  for (const char* const place : {"/tmp/", "/dev/shm/", "/var/tmp/"}) {
    const std::string name = place + abstract_name(target);
    if (read_all(name) == canary(target, "tmp")) outcome = hit("read its file in " + std::string(place));
    const int fd = ::open((name + "-attacker").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd >= 0) ::close(fd);
  }
  return outcome;
}

Outcome write_system(const Target& target) {
  return make_in(target, {"/", "/usr", "/usr/bin", "/usr/lib", "/etc", "/var", "/.box", "/.boxrun", "/.boxnet",
                          "/workspace", "/workspace/.mcp", "/cache", "/cache/env", "/root", "/run"});
}

Outcome list_neighbours(const Target&) {
  Outcome outcome = blocked_by(ENOENT);
  for (const char* const place : {"/workspace", "/workspace/.mcp", "/cache", "/.boxrun", "/.boxnet"}) {
    DIR* const folder = ::opendir(place);
    if (folder == nullptr) {
      if (errno != ENOENT) outcome = blocked_by(errno);
      continue;
    }
    ::closedir(folder);
    return hit("listed " + std::string(place));
  }
  return outcome;
}

}  // namespace

void add_file_attacks(std::vector<Attack>& attacks) {
  attacks.push_back({"A07", read_file});
  attacks.push_back({"A08", change_file});
  attacks.push_back({"A09", replace_folder});
  attacks.push_back({"A13", poison_packages});
  attacks.push_back({"A14", poison_profile});
  attacks.push_back({"A15", share_temporary});
  attacks.push_back({"B04", write_system});
  attacks.push_back({"B05", list_neighbours});
}

}  // namespace mcpbox::box::probe
