#include "workspace/denied.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "base/text.h"
#include "sys/small_file.h"
#include "workspace/mounts.h"
#include "workspace/path_text.h"

namespace mcpbox::workspace {
namespace {

std::optional<sys::FileId> identify(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return sys::id_of(status);
}

// "/a/b/c" → "/a/b", "/a", "/".
std::vector<std::string> parents(const std::string& path) {
  std::vector<std::string> result;
  for (std::string at = parent_of(path);; at = parent_of(at)) {
    result.push_back(at);
    if (at == "/") return result;
  }
}

// Home directories of people, from passwd(5): uid 0 and 1000 to 65533.
std::vector<std::string> home_directories() {
  std::vector<std::string> homes;
  UniqueFd file(::open("/etc/passwd", O_RDONLY | O_CLOEXEC));
  if (!file) return homes;
  auto text = sys::read_all(file.get(), 1 << 20);
  if (!text) return homes;
  for (std::string_view line : split(*text, '\n')) {
    auto fields = split(line, ':');
    if (fields.size() < 6 || !fields[5].starts_with('/')) continue;
    unsigned long uid = ~0ul;
    std::from_chars(fields[2].data(), fields[2].data() + fields[2].size(), uid);
    if (uid == 0 || (uid >= 1000 && uid < 65534)) homes.emplace_back(fields[5]);
  }
  return homes;
}

constexpr std::array<std::string_view, 13> kCredentials{
    ".ssh",   ".gnupg",           ".aws",    ".azure",          ".kube",  ".docker", ".gcloud", ".netrc",
    "_netrc", ".git-credentials", ".pgpass", ".password-store", ".pypirc"};
constexpr std::string_view kCredentialPlace = "a place of credentials";
constexpr std::string_view kOwnPlace = "a place that mcpbox or the container engine needs for itself";
constexpr std::string_view kGcloud = ".config/gcloud";

constexpr std::array<std::string_view, 20> kSystem{"/etc",
                                                   "/proc",
                                                   "/sys",
                                                   "/dev",
                                                   "/boot",
                                                   "/run",
                                                   "/var/run",
                                                   "/usr",
                                                   "/bin",
                                                   "/sbin",
                                                   "/lib",
                                                   "/lib32",
                                                   "/lib64",
                                                   "/libx32",
                                                   "/var/lib/docker",
                                                   "/var/lib/containerd",
                                                   "/var/lib/containers",
                                                   "/var/lib/kubelet",
                                                   "/var/lib/dpkg",
                                                   "/var/spool"};

// In places of the system too, and yet folders of people under another name: removable disks, the machine around a
// container, what engines have mounted for theirs.
constexpr std::array<std::string_view, 3> kMountsOfOthers{"/run/media", "/run/host", "/var/lib"};

struct Place {
  std::string path;
  std::string what;
  bool beneath_too;
};

struct LocatedPlace {
  FsPlace at;
  Place place;
  std::string real;  // its path without links
};

constexpr std::string_view kPartOfSystem = "a part of the system";

// The path as far as a component that is a name of credentials; empty when it has none.
std::string credentials_above(const std::string& path) {
  for (std::string at = path; at != "/"; at = parent_of(at)) {
    if (is_credential_name(at)) return at;
  }
  return {};
}

}  // namespace

struct DeniedPlaces::Known {
  std::vector<std::string> more;
  std::string home;
  std::once_flag looked_up;
  std::map<sys::FileId, Place> places;
  std::map<sys::FileId, std::string> above;  // a parent of a denied place → that place
  MountTable mounts{""};
  std::string no_mounts;              // why they are not known; empty when they are
  std::vector<LocatedPlace> located;  // the places, where they lie in their file systems

  void look_up();
  // False when there is no such place.
  bool add(const std::string& path, std::string_view what, bool beneath_too);
  void add_folders_above(const std::string& place);
  void add_mounts_inside();
  void add_folders_above_mounts();
  void note_above(const std::string& path, const std::string& inside);
  // The place that it is or lies in.
  const LocatedPlace* place_of(const FsPlace& seen) const;
  const LocatedPlace* place_inside(const FsPlace& seen) const;
  std::optional<FsPlace> locate(const Opened& folder) const;
  std::string refuse_opened(const Opened& folder) const;
};

DeniedPlaces::DeniedPlaces(const std::vector<std::string>& more, const std::string& home)
    : known_(std::make_shared<Known>()) {
  known_->more = more;
  known_->home = home;
}

const DeniedPlaces::Known& DeniedPlaces::known() const {
  std::call_once(known_->looked_up, [this] { known_->look_up(); });
  return *known_;
}

bool DeniedPlaces::is_denied(sys::FileId id) const {
  return known().places.contains(id);
}

void DeniedPlaces::Known::look_up() {
  if (auto table = MountTable::read())
    mounts = std::move(*table);
  else
    no_mounts = table.error().message();
  add("/", "the whole file system", false);
  add("/home", "the folder of all home directories", false);
  add("/Users", "the folder of all home directories", false);
  for (std::string_view place : kSystem) add(std::string(place), kPartOfSystem, true);
  for (const std::string& place : more) {
    if (!add(place, kOwnPlace, true)) add_folders_above(place);
  }
  std::vector<std::string> homes = home_directories();
  homes.emplace_back("/root");
  if (!home.empty()) homes.push_back(home);
  for (const std::string& place : homes) {
    if (!add(place, "a whole home directory", false)) continue;
    // By identity too: a bind mount or a hard link gives them another name.
    for (const std::string_view name : kCredentials) add(fmt::format("{}/{}", place, name), kCredentialPlace, true);
    add(fmt::format("{}/{}", place, kGcloud), kCredentialPlace, true);
  }
  add_mounts_inside();
  add_folders_above_mounts();
}

void DeniedPlaces::Known::note_above(const std::string& path, const std::string& inside) {
  for (const std::string& parent : parents(path)) {
    if (auto parent_id = identify(parent)) above.try_emplace(*parent_id, inside);
  }
}

// A socket is not there before somebody listens, and is another one each time.
void DeniedPlaces::Known::add_folders_above(const std::string& place) {
  const auto folder = look_at(parent_of(place));
  if (!folder || folder->path.empty()) return;
  const std::string real = join_path(folder->path, base_name(place));
  note_above(real, place);
  if (auto at = mounts.locate(folder->path, folder->mount)) {
    at->path = join_path(at->path, base_name(place));
    located.push_back({std::move(*at), {place, std::string(kOwnPlace), true}, real});
  }
}

// What has a file system of its own in a denied place is denied as the place is, wherever else that is mounted.
void DeniedPlaces::Known::add_mounts_inside() {
  std::vector<LocatedPlace> inside;
  const auto lies_in = [](const std::string& path) {
    return [&path](std::string_view folder) { return is_beneath(path, folder); };
  };
  for (const Mount& mount : mounts.mounts()) {
    if (std::ranges::any_of(kMountsOfOthers, lies_in(mount.at))) continue;
    const auto around = std::ranges::find_if(
        located, [&](const LocatedPlace& each) { return each.place.beneath_too && is_beneath(mount.at, each.real); });
    // With a home in it, it is a machine's: what may be given lies there.
    const bool machine = std::ranges::any_of(
        located, [&](const LocatedPlace& each) { return !each.place.beneath_too && is_beneath(each.at, mount.shows); });
    // A project's folder may be bound into /usr or /run, and stays the project's.
    const bool folder = mount.shows.path != "/";
    if (around != located.end() && !machine && !(folder && around->place.what == kPartOfSystem))
      inside.push_back({mount.shows, {mount.at, around->place.what, true}, mount.at});
  }
  std::ranges::move(inside, std::back_inserter(located));
}

// A mounted folder is shown with what is mounted in it: one with a bind mount of a denied place, of something in one,
// or of a folder with one in it, contains that.
void DeniedPlaces::Known::add_folders_above_mounts() {
  std::set<dev_t> devices;
  for (const LocatedPlace& each : located) devices.insert(each.at.device);
  for (const Mount& mount : mounts.mounts()) {
    const LocatedPlace* found = place_of(mount.shows);
    if (found == nullptr) found = place_inside(mount.shows);
    std::string inside = found != nullptr ? found->place.path : credentials_above(mount.shows.path);
    // Of other file systems nothing is asked: one of the network may not answer.
    if (inside.empty() && devices.contains(mount.shows.device)) {
      if (const auto id = identify(mount.at)) {
        if (const auto place = places.find(*id); place != places.end()) inside = place->second.path;
        if (const auto around = above.find(*id); inside.empty() && around != above.end()) inside = around->second;
      }
    }
    if (inside.empty()) continue;
    if (inside != mount.at) inside += fmt::format(" (mounted at {})", mount.at);
    note_above(mount.at, inside);
  }
}

bool DeniedPlaces::Known::add(const std::string& path, std::string_view what, bool beneath_too) {
  const auto opened = look_at(path);
  if (!opened) return false;
  auto [known, fresh] = places.try_emplace(opened->id, Place{path, std::string(what), beneath_too});
  if (!fresh) known->second.beneath_too |= beneath_too && path != "/";
  if (opened->path.empty()) return true;
  if (auto at = mounts.locate(opened->path, opened->mount))
    located.push_back({std::move(*at), {path, std::string(what), beneath_too}, opened->path});
  if (opened->path != "/") note_above(opened->path, path);
  return true;
}

const LocatedPlace* DeniedPlaces::Known::place_of(const FsPlace& seen) const {
  const auto found = std::ranges::find_if(located, [&](const LocatedPlace& each) {
    return is_beneath(seen, each.at) && (each.place.beneath_too || seen.path == each.at.path);
  });
  return found == located.end() ? nullptr : &*found;
}

const LocatedPlace* DeniedPlaces::Known::place_inside(const FsPlace& seen) const {
  const auto found = std::ranges::find_if(
      located, [&](const LocatedPlace& each) { return is_beneath(each.at, seen) && each.at.path != seen.path; });
  return found == located.end() ? nullptr : &*found;
}

// Also in a mount that was made after the others were looked at.
std::optional<FsPlace> DeniedPlaces::Known::locate(const Opened& folder) const {
  if (folder.path.empty()) return std::nullopt;
  if (auto seen = mounts.locate(folder.path, folder.mount)) return seen;
  const auto now = MountTable::read();
  return now ? now->locate(folder.path, folder.mount) : std::nullopt;
}

// What neither its identity nor its names tell: that its file system has it in such a place, or such a place in it.
std::string DeniedPlaces::Known::refuse_opened(const Opened& folder) const {
  if (!no_mounts.empty())
    return fmt::format("nobody can tell what is mounted there, so nothing of this host is given ({})", no_mounts);
  const auto seen = locate(folder);
  if (!seen) return "nobody can tell where in which file system this lies, so it is not given; try again";
  if (const LocatedPlace* found = place_of(*seen)) {
    return fmt::format("this lies in {}, {}, which is never given to a sandbox: it is mounted here under another name",
                       found->place.path, found->place.what);
  }
  if (const LocatedPlace* found = place_inside(*seen)) {
    return fmt::format(
        "this folder contains {} under another name, which is never given to a sandbox; name a folder "
        "further down",
        found->place.path);
  }
  if (const std::string name = credentials_above(seen->path); !name.empty()) {
    return fmt::format("this lies in {} of its file system, which holds credentials and is never given to a sandbox",
                       name);
  }
  return {};
}

std::string DeniedPlaces::refuse_root(const std::string& path) const {
  std::vector<std::optional<sys::FileId>> chain{identify(path)};
  if (!chain.front()) return {};
  for (const std::string& parent : parents(path)) chain.push_back(identify(parent));
  std::string why = refuse(path, chain);
  const auto opened = why.empty() ? look_at(path) : std::unexpected(0);
  return opened ? known().refuse_opened(*opened) : why;
}

std::string DeniedPlaces::refuse_root(const std::string& path, const sys::ReachedDirectory& folder) const {
  std::string why = refuse(path, {folder.chain.begin(), folder.chain.end()});
  const auto opened = why.empty() ? look_at(folder.fd.get()) : std::unexpected(0);
  return opened ? known().refuse_opened(*opened) : why;
}

std::string DeniedPlaces::refuse(const std::string& path, const std::vector<std::optional<sys::FileId>>& chain) const {
  const std::optional<sys::FileId> id = chain.empty() ? std::nullopt : chain.front();
  if (!id) return {};
  if (auto found = known().places.find(*id); found != known().places.end()) {
    return "this is " + found->second.what + (found->second.path == path ? "" : " (" + found->second.path + ")") +
           ", which is never given to a sandbox; name the project's own folder";
  }
  // Homes of users whom passwd does not list (a directory service) lie in /home all the same.
  if (parent_of(path) == "/home" || parent_of(path) == "/Users") {
    return "this is a whole home directory, which is never given to a sandbox; name the project's own folder in it";
  }
  if (auto found = known().above.find(*id); found != known().above.end()) {
    return "this folder contains " + found->second + ", which is never given to a sandbox; name a folder further down";
  }
  if (is_credential_name(path)) return "a folder of this name holds credentials and is never given to a sandbox";
  std::size_t above = 0;
  for (const std::string& parent : parents(path)) {
    if (is_credential_name(parent))
      return "this lies in " + parent + ", which holds credentials and is never given to a sandbox";
    ++above;
    const std::optional<sys::FileId> parent_id = above < chain.size() ? chain[above] : std::nullopt;
    if (!parent_id) continue;
    const auto found = known().places.find(*parent_id);
    if (found != known().places.end() && found->second.beneath_too) {
      return "this lies in " + found->second.path + ", " + found->second.what + ", which is never given to a sandbox";
    }
  }
  return {};
}

std::string DeniedPlaces::refuse_all_of(const std::string& path) const {
  std::vector<std::string> places = parents(path);
  places.insert(places.begin(), path);
  for (const std::string& place : places) {
    const auto id = identify(place);
    const auto found = id ? known().places.find(*id) : known().places.end();
    if ((found != known().places.end() && found->second.beneath_too) || is_credential_name(place))
      return refuse_root(path);
  }
  const auto opened = look_at(path);
  if (!opened || opened->path.empty()) return {};
  const auto seen = known().locate(*opened);
  const LocatedPlace* found = seen ? known().place_of(*seen) : nullptr;
  if (found != nullptr && found->place.beneath_too) return refuse_root(path);
  return seen && !credentials_above(seen->path).empty() ? refuse_root(path) : std::string();
}

bool is_credential_name(std::string_view path) {
  std::size_t slash = path.rfind('/');
  std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  if (std::ranges::find(kCredentials, name) != kCredentials.end()) return true;
  if (name != "gcloud" || slash == std::string_view::npos) return false;
  std::string_view before = path.substr(0, slash);
  return before == ".config" || before.ends_with("/.config");
}

bool is_system_path(std::string_view path) {
  if (path == "/") return true;
  static constexpr std::array<std::string_view, 14> kOwn{"/etc", "/proc",    "/sys",   "/dev",   "/boot",
                                                         "/run", "/var/run", "/usr",   "/bin",   "/sbin",
                                                         "/lib", "/lib32",   "/lib64", "/libx32"};
  // These are the sandbox's own as they stand, but people keep projects in them.
  return path == "/tmp" || path == "/var/tmp" ||
         std::any_of(kOwn.begin(), kOwn.end(), [&](std::string_view own) { return is_beneath(path, own); });
}

}  // namespace mcpbox::workspace
