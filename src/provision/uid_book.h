// Hands out user ids, so that no two servers, environments or runs of an instance ever have one in common.
//
// What was handed out stands in <state_dir>/uids/<engine>.book, which every mcpbox of the instance shares: each call
// takes a lock on a file beside it (flock(2)), reads the book, and replaces it by rename before it answers. So a uid is
// in the book before anything can belong to it, and stays there until its owner is told to be gone: a server's until
// the work spaces are removed, an environment's until the environment is, a run's until the run's process ended.
// The book ends with its checksum. One that is damaged, or gone although there was one, hands out nothing (kDataLoss):
// it alone knows whose is what.
//
// All calls are short and blocking: for the pool, not for a loop. May be copied and called by several threads.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "box/engine.h"

namespace mcpbox::provision {

struct ServerUids {
  uid_t server = 0;  // as whom it runs, where no mounted folder decides that
  uid_t code = 0;    // owns what the server runs and must not write; never runs a server
  // Own what was left before there was a book; mostly the same two.
  uid_t server_before = 0;
  uid_t code_before = 0;
};

// As long as it lives, nobody else gets the uids of a run; they are free when its process ended, however that ended.
class UidHold {
 public:
  virtual ~UidHold() = default;
};

struct RunUids {
  ServerUids uids;
  std::shared_ptr<UidHold> hold;
};

class UidBook {
 public:
  // `engine`: EngineInfo::kind; the same number on another engine is another user. `state_dir` empty: the book is kept
  // in memory, for this object and its copies.
  UidBook() : UidBook("", "", "", {}) {}
  UidBook(const std::string& state_dir, std::string instance, std::string engine, box::UidRange range);

  // The same at every call. kResourceExhausted says what to do when all are taken.
  Result<ServerUids> server(std::string_view name) const;
  // The owner of the environment with this hash: every installation of it runs as that user.
  Result<uid_t> environment(std::string_view hash) const;
  // Its owner if it has one in the book, else whose it was before there was a book. For removing it.
  Result<uid_t> owner_of_environment(std::string_view hash) const;
  // For when nothing of the environment is left.
  Result<void> forget_environment(std::string_view hash) const;
  // For a server that lives once: two that nobody has, drawn at random.
  Result<RunUids> run() const;
  // For when the volumes of the instance are removed, and with them everything that belonged to somebody in the book.
  void clear() const;

 private:
  struct Entry;
  struct Memory;
  class Open;

  Result<Open> open() const;
  std::string file(std::string_view kind) const;

  std::string dir_;  // empty: in memory
  std::string state_dir_;
  std::string instance_;
  std::string engine_;
  box::UidRange range_;
  std::shared_ptr<Memory> memory_;
};

}  // namespace mcpbox::provision
