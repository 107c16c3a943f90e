// The directories that mcpbox-init may work in, and the only way to a path beneath them.
//
// Roots are opened once at start. Resolution is openat2(2) with RESOLVE_BENEATH | NO_SYMLINKS | NO_MAGICLINKS: no name
// that a server planted can lead anywhere else.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "box/init/op.h"

namespace mcpbox::box::init {

// A path beneath a root. `relative` is empty for the root itself; it is a valid stage path otherwise.
struct Place {
  int root = -1;  // owned by Roots
  std::string relative;
  std::string shown;  // as it was asked for, for messages
};

class Roots {
 public:
  Op<void> add(const std::string& path);
  // kPermissionDenied for a path beneath no root, kInvalidArgument for one that is not absolute and plain.
  Op<Place> find(const std::string& path) const;
  std::vector<int> descriptors() const;

 private:
  struct Root {
    std::string path;
    UniqueFd fd;
  };
  std::vector<Root> roots_;
};

// openat2 below `directory` (-1 and errno on failure). An empty path is the directory itself.
UniqueFd open_beneath(int directory, const std::string& relative, int flags);

// The directory that holds a place, and the place's name in it.
struct Entry {
  UniqueFd parent;
  std::string name;
};
// Opens the parent, which must belong to root: in a server's own directory names are the server's. Fails for a root
// itself. With `make`, missing directories on the way are made 0711.
Op<Entry> open_parent(const Place& place, bool make);

// The names in a directory without "." and "..", at most `limit`; EOVERFLOW beyond it.
Op<std::vector<std::string>> names_in(int directory, std::size_t limit);

// A name that nobody can guess: prefix and 128 random bits.
std::string random_name(std::string_view prefix);

}  // namespace mcpbox::box::init
