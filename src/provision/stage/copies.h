// Which copy of which folder lies where in a server's tree, so that no server ever runs the copy of another folder.
//
// A copy belongs to a server and to a folder of the host. The list is a file of PID 1 (root's, where no server can
// write) in the server's tree. What the server may have changed is never replaced by another folder's copy: when its
// folder is not among the server's any more, or lies elsewhere among them, it is renamed aside and kept, and it is put
// back when the folder is. Every rename is in the list before it is made, so that a copy is found wherever a killed
// mcpbox left it.
//
// What a start only adds (directories, the list as it then is) waits for the request that starts the process:
// take_preparation(). Whatever must be there before that sends it on by itself.
#pragma once

#include <sys/types.h>

#include <boost/asio/thread_pool.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "box/link/supervisor.h"
#include "net/task.h"
#include "provision/stage/stager.h"
#include "workspace/plan.h"

namespace mcpbox::provision {

struct Copy {
  enum class Kind {
    kOwn,     // the server may have changed it
    kSealed,  // the server only reads it: it belongs to another user
    kOpen,    // to be read, but with the server's own user id (sandboxes with one id)
  };
  Kind kind = Kind::kOwn;
  std::string host;        // the folder that it was made of; empty: a work folder of the server's own
  std::string path;        // in the sandbox
  std::string next;        // where it is being moved to, so that it is at one of the two; empty = it is not
  std::string generation;  // names its content, as the manifest does
  uid_t uid = 0;           // its owner
  gid_t gid = 0;
};

// Whose tree it is, and where its copies are remembered.
struct GenerationPlace {
  std::string tree;  // process_tree(): root's directory in the sandbox, where the list is
  std::string process_id;
  std::string manifest_dir;  // on the host; empty = nothing is remembered
  // Owner of what the server must not write; the server's own uid where the sandbox has but one.
  uid_t code_uid = 0;
  // Who owns what was made before there were lists and books of ids (ServerUids).
  uid_t server_before = 0;
  uid_t code_before = 0;
  bool lasts = true;  // false: the sandbox is for this one start, so nothing was there before or outlives it
};

class CopyList {
 public:
  // Reads the list, where the place lasts; where there is none, what earlier versions noted about the copies of `roots`
  // becomes one. `user` runs the server. An unreadable list is kDataLoss, or with `fresh` as if there were none.
  static Task<Result<CopyList>> load(boost::asio::thread_pool& pool, box::Supervisor& supervisor, GenerationPlace place,
                                     std::vector<workspace::Root> roots, StageTarget user, bool fresh);

  // Brings the tree into the state that `roots` (the staged ones below the tree's workspace; none: the server has a
  // work folder of its own) ask for, as far as no file has to come from the host. The user who runs the server is
  // `user`: what an earlier one left in the tree becomes that one's. `fresh`: kept copies of `roots` are dropped, and
  // what the server has written beside its copies (home, temporary files, a working folder of its own). Afterwards the
  // parents of all roots' mounts are there, or wait to be made. Notes are for people.
  Task<Result<std::vector<std::string>>> settle(box::Supervisor& supervisor, const std::string& server,
                                                const std::vector<workspace::Root>& roots, StageTarget user,
                                                bool fresh);

  // What still has to be made before the server runs, for ProcessSpec::prepare.
  box::Preparation take_preparation() { return std::exchange(later_, {}); }
  // Makes that now, for who needs the directories.
  Task<Result<void>> flush(box::Supervisor& supervisor);

  // The copy that lies there now.
  const Copy* at(const std::string& path) const;
  // What the server may have changed of this folder: what it uses now, else what is kept.
  const Copy* own_of(const std::string& host) const;
  std::vector<Copy> kept() const;
  // Waits for the start: while the list speaks of no copy, the next start makes it anew.
  Result<void> put(Copy copy);
  // The list is written before this returns.
  Task<Result<void>> drop(box::Supervisor& supervisor, const std::string& path);
  // Whether the list speaks of a copy there or below, or of one that is being moved there.
  bool mentions(const std::string& path) const;
  // The names in the server's tree when the list was read.
  const std::vector<std::string>& names() const { return names_; }

 private:
  explicit CopyList(GenerationPlace place) : place_(std::move(place)) {}
  Result<void> parse(const std::string& text);
  // note() has the list written with the rest of what waits, save() at once.
  Result<void> note();
  Task<Result<void>> save(box::Supervisor& supervisor);
  void make_later(std::string path, const StageTarget& user, std::vector<std::string> children);
  Task<Result<void>> convert(boost::asio::thread_pool& pool, box::Supervisor& supervisor,
                             const std::vector<workspace::Root>& roots, const StageTarget& user);
  void assume_groups(const StageTarget& user);
  Task<Result<void>> find_moved(box::Supervisor& supervisor);
  Task<Result<void>> finish_moves(box::Supervisor& supervisor);
  Task<Result<void>> move(box::Supervisor& supervisor, std::vector<std::size_t> which, std::string from, std::string to,
                          uid_t owner);
  Task<void> sweep(box::Supervisor& supervisor, const StageTarget& user);
  Task<Result<void>> give_tree_to(box::Supervisor& supervisor, const StageTarget& user);
  Task<Result<void>> put_back(box::Supervisor& supervisor, std::size_t which, std::string mount,
                              const StageTarget& user, std::vector<std::string>& notes);

  GenerationPlace place_;
  std::vector<Copy> copies_;
  bool moving_ = false;   // the list on disk speaks of moves
  bool several_ = false;  // `tree`/workspace is a directory of root's with the copies in it
  uid_t uid_ = 0;         // who owns the rest of the tree; 0: there is none yet
  gid_t gid_ = 0;
  std::vector<std::string> names_;
  box::Preparation later_;
};

// Where a daemon remembers what its staged copies were made of, in its state directory.
inline std::string manifest_dir_of(const std::string& state_dir) {
  return state_dir + "/staged";
}

// Whether this error of Supervisor::publish means that nothing was renamed and nothing will be.
bool surely_not_renamed(const Error& of_publish);

// Where the manifest of this server's copy of a folder is on the host. `own`: of the copy that it may change.
std::string manifest_path(const GenerationPlace& place, const std::string& host, bool own);

// Writes the tree `from`, which belongs to one user, anew as `to`, which belongs to `owner`; `from` stays. How many
// entries no archive can hold.
Task<Result<std::uint64_t>> copy_tree(box::Supervisor& supervisor, std::string from, StageTarget from_owner,
                                      std::string to, StageTarget owner);

}  // namespace mcpbox::provision
