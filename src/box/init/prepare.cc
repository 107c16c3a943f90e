#include "box/init/prepare.h"

#include "box/init/small_files.h"
#include "box/init/tree_make.h"

namespace mcpbox::box::init {

Op<void> prepare(const Roots& roots, const wire::Prepare& request, Clock::time_point deadline) {
  for (const wire::MakeTree& tree : request.trees) {
    if (auto made = make_tree(roots, tree, deadline); !made) return made;
  }
  for (const wire::WriteFile& file : request.files) {
    if (auto written = write_file(roots, file); !written) return written;
  }
  return {};
}

}  // namespace mcpbox::box::init
