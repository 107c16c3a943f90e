#include "workspace/denied.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "base/text.h"
#include "sys/small_file.h"
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

bool read_number(std::string_view text, unsigned& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

// proc(5): blanks, tabs, line feeds and backslashes of mountinfo are octal, "\\040".
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    const std::string_view digits = text.substr(i + 1, 3);
    if (text[i] == '\\' && digits.size() == 3 &&
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 8).ptr == digits.data() + digits.size()) {
      out += static_cast<char>(value);
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
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

struct Place {
  std::string path;
  std::string what;
  bool beneath_too;
};

}  // namespace

struct DeniedPlaces::Known {
  std::vector<std::string> more;
  std::string home;
  std::once_flag looked_up;
  std::map<sys::FileId, Place> places;
  std::map<sys::FileId, std::string> above;  // a parent of a denied place → that place

  void look_up();
  // False when there is no such place.
  bool add(const std::string& path, std::string_view what, bool beneath_too);
  void add_folders_above(const std::string& place);
  void add_folders_above_mounts();
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
  add("/", "the whole file system", false);
  add("/home", "the folder of all home directories", false);
  add("/Users", "the folder of all home directories", false);
  for (std::string_view place : kSystem) add(std::string(place), "a part of the system", true);
  for (const std::string& place : more) {
    if (!add(place, "a place that mcpbox or the container engine needs for itself", true)) add_folders_above(place);
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
  add_folders_above_mounts();
}

// A socket is not there before somebody listens, and is another one each time.
void DeniedPlaces::Known::add_folders_above(const std::string& place) {
  char* canonical = ::realpath(parent_of(place).c_str(), nullptr);
  if (canonical == nullptr) return;
  const std::string folder(canonical);
  ::free(canonical);
  std::vector<std::string> all = parents(folder);
  if (folder != "/") all.push_back(folder);
  for (const std::string& each : all) {
    if (auto id = identify(each)) above.try_emplace(*id, place);
  }
}

// A mounted folder is shown with what is mounted in it: one with a bind mount of a denied place, or of a folder with
// one in it, contains that.
void DeniedPlaces::Known::add_folders_above_mounts() {
  std::set<dev_t> devices;
  for (const auto& [id, place] : places) devices.insert(id.device);
  UniqueFd file(::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
  auto text = file ? sys::read_all(file.get(), 4 << 20) : Result<std::string>(std::string());
  if (!text) return;
  for (const std::string_view line : split(*text, '\n')) {
    const auto fields = split(line, ' ');
    if (fields.size() < 5) continue;
    const auto numbers = split(fields[2], ':');
    unsigned major = 0, minor = 0;
    if (numbers.size() != 2 || !read_number(numbers[0], major) || !read_number(numbers[1], minor)) continue;
    // Of other file systems nothing is asked: one of the network may not answer.
    if (!devices.contains(makedev(major, minor))) continue;
    const std::string at = unescape(fields[4]);
    const auto id = identify(at);
    if (!id) continue;
    const auto found = places.find(*id);
    const auto around = above.find(*id);
    if (found == places.end() && around == above.end()) continue;
    const std::string inside = found != places.end() ? found->second.path : around->second;
    for (const std::string& parent : parents(at)) {
      if (auto parent_id = identify(parent)) above.try_emplace(*parent_id, inside);
    }
  }
}

bool DeniedPlaces::Known::add(const std::string& path, std::string_view what, bool beneath_too) {
  auto id = identify(path);
  if (!id) return false;
  auto [at, fresh] = places.try_emplace(*id, Place{path, std::string(what), beneath_too});
  if (!fresh) at->second.beneath_too |= beneath_too && path != "/";
  char* canonical = ::realpath(path.c_str(), nullptr);
  if (canonical == nullptr) return true;
  std::string real(canonical);
  ::free(canonical);
  if (real == "/") return true;
  for (const std::string& parent : parents(real)) {
    if (auto parent_id = identify(parent)) above.try_emplace(*parent_id, path);
  }
  return true;
}

std::string DeniedPlaces::refuse_root(const std::string& path) const {
  std::vector<std::optional<sys::FileId>> chain{identify(path)};
  if (!chain.front()) return {};
  for (const std::string& parent : parents(path)) chain.push_back(identify(parent));
  return refuse(path, chain);
}

std::string DeniedPlaces::refuse_root(const std::string& path, const sys::ReachedDirectory& folder) const {
  return refuse(path, {folder.chain.begin(), folder.chain.end()});
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
  return {};
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
