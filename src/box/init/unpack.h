// Unpacks a stage stream (box/wire/stage_stream.h) as the server's uid, confined to the destination.
#pragma once

#include <sys/types.h>

#include <string_view>

#include "base/unique_fd.h"
#include "box/init/roots.h"
#include "box/init/run_as.h"
#include "box/wire/stage_stream.h"

namespace mcpbox::box::init {

// Writes entries below a directory: files 0600 or 0700, directories 0700, nothing is ever followed or overwritten. With
// `group_reads` the group may read and run, and only that: 0640, 0750.
//
// What is kept is linked from `previous` (-1 = nothing can be), a tree of the same owner that nobody else may write.
// Whatever is not as the stream says there ends the unpacking with kFailedPrecondition: the sender then sends it all.
class TreeWriter final : public wire::StageSink {
 public:
  // `some_exist`: directories may be there already, and are used as they are.
  TreeWriter(int directory, int previous, bool group_reads, bool some_exist = false)
      : parents_{directory, {}, {}},
        old_parents_{previous, {}, {}},
        group_reads_(group_reads),
        some_exist_(some_exist) {}
  Result<void> directory(std::string_view path) override;
  Result<void> file(std::string_view path, std::uint64_t size, bool executable) override;
  Result<void> data(std::string_view bytes) override;
  Result<void> file_end() override;
  Result<void> link(std::string_view path, std::string_view target) override;
  Result<void> keep(std::string_view path, std::uint64_t size, bool executable) override;

 private:
  // The entries of one directory come together, so the last one stays open.
  struct Parents {
    int root;
    std::string path;
    UniqueFd fd;
  };
  // The directory that holds `path`, and the last name in it; -1 and errno.
  static int parent_of(Parents& parents, std::string_view path, std::string& name);
  mode_t mode(bool executable) const {
    return (group_reads_ ? 0640 : 0600) | (executable ? group_reads_ ? 0110 : 0100 : 0);
  }

  Parents parents_;
  Parents old_parents_;
  bool group_reads_, some_exist_;
  UniqueFd file_;
  std::string file_path_;
  std::uint64_t offset_ = 0;
  bool ends_in_hole_ = false;
};

// In a helper, as root. What was unpacked before a failure is removed. The bytes of the answer are an UnpackReply.
Op<std::string> unpack(const Roots& roots, const wire::Unpack& request, int stream, Clock::time_point deadline);

}  // namespace mcpbox::box::init
