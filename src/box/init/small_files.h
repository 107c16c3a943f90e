// Reading and writing small files beneath the roots. In helpers, as root.
#pragma once

#include "box/init/roots.h"

namespace mcpbox::box::init {

constexpr std::size_t kMaxListedNames = 10'000;

// 0444, written next to its place and renamed over it, in a directory of root.
Op<void> write_file(const Roots& roots, const wire::WriteFile& request);
// Regular files only. PID 1 has no right to read others' files, so the helper becomes the owner of the first directory
// on the way that is not root's, for good: nothing is read that this uid could not read itself.
Op<wire::ReadFileReply> read_file(const Roots& roots, const wire::ReadFile& request);
Op<wire::ListDirectoryReply> list_directory(const Roots& roots, const wire::ListDirectory& request);

}  // namespace mcpbox::box::init
