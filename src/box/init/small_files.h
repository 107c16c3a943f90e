// Reading and writing small files beneath the roots. In helpers, as root.
#pragma once

#include "box/init/roots.h"

namespace mcpbox::box::init {

constexpr std::size_t kMaxListedNames = 10'000;

// Writes a file of mode 0444 in a directory of root: next to its place, then renamed over it.
Op<void> write_file(const Roots& roots, const wire::WriteFile& request);
// Reads a regular file. PID 1 may not read the files of others, so this process becomes, for good, the owner of the
// first directory on the way that does not belong to root: it reads nothing that this uid could not read itself.
Op<wire::ReadFileReply> read_file(const Roots& roots, const wire::ReadFile& request);
// As the owner of the first directory that does not belong to root, too; also what it reads in the directory.
Op<wire::ListDirectoryReply> list_directory(const Roots& roots, const wire::ListDirectory& request);

}  // namespace mcpbox::box::init
