// Reads what a folder of the host says of itself, for decisions: manifests, lock files, scripts.
//
// The folder is as hostile as its server and may change meanwhile. So everything is opened beneath its descriptor, a
// link that stays in it is followed as its copy will be, one that leaves it is told and not followed, and a file is
// read once: whoever asks again gets the same text. Blocking, like all planning. One object for each plan.
#pragma once

#include <cstddef>
#include <expected>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mcpbox::workspace {

class FolderReader {
 public:
  // The folder that reading stays in.
  struct Within {
    std::string host;           // canonical, absolute
    bool cross_mounts = false;  // what is mounted in it comes along, as in a folder that is mounted itself
  };
  enum class Kind { kNothing, kFile, kDirectory, kOther, kLeaves };
  struct Look {
    Kind kind = Kind::kNothing;
    std::string why;  // kLeaves: a sentence on where it leads and what to do
  };

  // `path` is absolute and lies, as it is written, in the folder.
  Look look(const Within& folder, const std::string& path);

  // A regular file's content. kPermissionDenied where it leaves the folder (the same sentence), kInvalidArgument for
  // what is no regular file, kResourceExhausted above `limit`. Never blocks on a FIFO.
  Result<std::string> text(const Within& folder, const std::string& path, std::size_t limit);

  // What was read so far: `path` as it was asked for, and behind all links.
  struct Read {
    std::string path;
    std::string real;
    std::string_view text;
  };
  std::vector<Read> reads() const;

 private:
  struct Found {
    UniqueFd file;         // O_PATH, no link
    std::string relative;  // behind all links
  };
  struct Missed {
    int error = 0;
    std::string why;  // not empty: it leaves the folder
  };
  std::expected<Found, Missed> find(const Within& folder, const std::string& path);
  std::expected<int, Missed> open(const std::string& folder);

  std::map<std::string, UniqueFd> folders_;
  std::map<std::pair<std::string, std::string>, std::string> known_;  // folder, path → path behind all links
  std::map<std::string, std::string> texts_;                          // by the path behind all links
};

}  // namespace mcpbox::workspace
