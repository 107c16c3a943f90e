// Makes directories for servers without CAP_CHOWN: each is made by a child that already is the owner.
//
// All functions run in helpers, as root.
#pragma once

#include <string>
#include <vector>

#include "box/init/roots.h"
#include "box/init/run_as.h"

namespace mcpbox::box::init {

// Makes the directories uid:gid 0700 in `parent` (root's). They are made in a directory with a random name that only
// this group can enter and then renamed into place: `parent` is never writable for anybody but root. EEXIST when one is
// there.
Op<void> make_owned_directories(int parent, const std::vector<std::string>& names, uid_t uid, gid_t gid,
                                Clock::time_point deadline);

Op<void> make_tree(const Roots& roots, const wire::MakeTree& request, Clock::time_point deadline);
Op<void> share_directory(const Roots& roots, const wire::ShareDirectory& request);

}  // namespace mcpbox::box::init
