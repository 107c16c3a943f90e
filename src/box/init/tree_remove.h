// Removes and publishes trees whose content belongs to a server. All functions run in helpers, as root; what
// lies in a server's directory is only touched by a child that is that server.
#pragma once

#include "box/init/roots.h"
#include "box/init/run_as.h"

namespace mcpbox::box::init {

// Empties the directory behind an O_PATH descriptor as its owner (the caller's uid). Never holds more than a few
// descriptors and never recurses: deep directories are first moved up. Directories without permissions are given some.
Op<void> empty_directory(int path_fd);

// Removes `name` from `parent` (root's): root's own directories down to 16 levels, and in them whatever `uid` has.
Op<void> remove_entry(int parent, const std::string& name, uid_t uid, Clock::time_point deadline);

Op<void> remove_tree(const Roots& roots, const wire::RemoveTree& request, Clock::time_point deadline);

// publish() renames the new tree into place and the old one aside, in `parent`. remove_put_aside() then removes what
// was put aside: the requester has its answer before that.
struct Published {
  UniqueFd parent;
};
Op<Published> publish(const Roots& roots, const wire::Publish& request);
void remove_put_aside(const Published& published, Clock::time_point deadline);

}  // namespace mcpbox::box::init
