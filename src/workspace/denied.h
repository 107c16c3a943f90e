// Places of a host that are never staged or mounted, whoever asks: neither they nor a folder that contains one.
//
// Compared by identity (device, inode), so that a link or a bind mount of such a place is refused as well. What homes
// have of credentials is known by that too; credentials elsewhere by their name alone (is_credential_name()).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sys/path_guard.h"

namespace mcpbox::workspace {

class DeniedPlaces {
 public:
  // `more`: the engine's socket, mcpbox's own state folders: denied with all that is beneath and above them. `home`:
  // the operator's home directory; it and every other user's are denied as a whole, projects in them are not.
  explicit DeniedPlaces(const std::vector<std::string>& more = {}, const std::string& home = {});

  // Empty when the canonical, absolute folder `path` may be used as a root; else why not: "'/etc' belongs to the
  // system".
  std::string refuse_root(const std::string& path) const;
  // The same for a folder that was opened: of names that may lead elsewhere by now nothing is looked up.
  std::string refuse_root(const std::string& path, const sys::ReachedDirectory& folder) const;
  // Why neither the canonical folder nor anything beneath it may be a root; empty when something may.
  std::string refuse_all_of(const std::string& path) const;
  // Is this the identity of a denied place itself? For directories found during a walk.
  bool is_denied(sys::FileId id) const;

 private:
  // Looked up when something is asked for the first time: most servers have no folder to judge.
  struct Known;
  const Known& known() const;
  // `chain`: the identities of `path` and of all that it lies in; nothing where one cannot be told.
  std::string refuse(const std::string& path, const std::vector<std::optional<sys::FileId>>& chain) const;

  std::shared_ptr<Known> known_;
};

// A folder or file by whose name alone we know that it holds credentials: ".ssh", ".netrc". `path` is relative or
// absolute; its last component decides, for ".config/gcloud" the last two.
bool is_credential_name(std::string_view path);

// Whether the path lies in a part of the tree that every sandbox has of its own: /usr, /etc, /proc, /tmp … Compares
// text.
bool is_system_path(std::string_view path);

}  // namespace mcpbox::workspace
