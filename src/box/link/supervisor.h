// The link to mcpbox-init, PID 1 of a sandbox: start, stop and account for processes, and write the trees that they
// live in.
//
// One Supervisor owns one connection. All functions are called on the executor that it was made with, and their tasks
// must be joined before it is destroyed. Requests may overlap; each has its own deadline (default 30 s), after which it
// fails with kTimeout while the connection lives on. When the connection ends, every pending and later call fails with
// kUnavailable and the lost handler runs once.
//
// Paths are absolute inside the sandbox and must lie beneath one of the roots that mcpbox-init was started with
// (/workspace, /cache); it resolves them with openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS) and refuses others.
#pragma once

#include <array>
#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "box/process.h"
#include "net/task.h"
#include "sys/path_guard.h"

namespace mcpbox::box {

// What PID 1 says of itself and of the kernel it runs on.
struct SupervisorInfo {
  std::uint32_t protocol_version = 0;
  int landlock_abi = 0;  // 0: no Landlock
  bool seccomp = false;
  std::uint64_t boot_token = 0;  // differs for every start of the sandbox
  std::string kernel;            // uname -r
};

// For PID 1 of a sandbox that servers share: where each of them gets a control group of its own.
struct GroupOfServers {
  UniqueFd directory;       // a group that can be handed to PID 1; none: PID 1 has had one since it was built
  UniqueFd idle;            // one for servers that are behind all others of the machine; none: there is no such
  unsigned processors = 0;  // that the whole sandbox may use, in thousandths; 0: not known
};

class Supervisor {
 public:
  using ExitHandler = std::function<void(const std::string& process_id, const ProcessExit&)>;
  using PressureHandler = std::function<void(const std::string& process_id, const ProcessPressure&)>;
  using LostHandler = std::function<void(const Error&)>;

  // Connects to the control socket (host path; at most 107 bytes is sun_path's limit, longer ones go through a
  // directory descriptor), retrying until it exists, and exchanges versions. A second controller takes over: the first
  // is disconnected.
  static Task<Result<std::unique_ptr<Supervisor>>> connect(
      boost::asio::any_io_executor executor, std::string socket_path, std::chrono::milliseconds timeout,
      std::chrono::milliseconds request_time = std::chrono::seconds(30));
  virtual ~Supervisor() = default;

  virtual const SupervisorInfo& info() const = 0;
  virtual void on_exit(ExitHandler handler) = 0;  // exits that happened before are delivered at once
  // A process with neighbours keeps the processors busy; of each at most once in ten minutes.
  virtual void on_pressure(PressureHandler handler) = 0;
  virtual void on_lost(LostHandler handler) = 0;

  struct Spawned {
    pid_t pid = 0;
    ProcessPipes pipes;
    // Unconnected TCP sockets, IPv4 and, where it has that, IPv6, of the network that the process is in: what
    // connects one reaches its 127.0.0.1 or ::1. They keep that network until they are closed.
    std::vector<UniqueFd> ways_in;
  };
  // Starts a process with pipes of its own. Errors name the step that failed in the child ("exec 'foo': No such file or
  // directory", kNotFound for a missing program or directory).
  // After a failure nothing of the process is left, and its id is free. When PID 1 did not say no but its answer is
  // missing, everything of the uid is killed and the id forgotten before this returns; a cancelled call returns at
  // once, and the next spawn with that id or uid waits for it.
  virtual Task<Result<Spawned>> spawn(ProcessSpec spec) = 0;
  // Starts a process on the caller's descriptors {stdin, stdout, stderr}: no copy, no hop, no filter. They are
  // duplicated; the supervisor keeps none of them. There are no pipes then.
  virtual Task<Result<Spawned>> spawn_direct(ProcessSpec spec, std::array<int, 3> stdio) = 0;
  // The supervisor drops its duplicate of the write end of stdin; with the caller's closed too, the process sees end of
  // file. `ending`: because it is to end. A hog that goes on then (init/farewell.h) gets SIGTERM from PID 1 after 0.3
  // s, and is killed with all of its uid after 0.3 s more.
  virtual Task<Result<void>> close_stdin(std::string process_id, bool ending = false) = 0;
  // To the process alone, not to its children.
  virtual Task<Result<void>> signal(std::string process_id, int signal_number) = 0;
  // SIGTERM or SIGKILL for every process of the uid. With SIGKILL it repeats until none is left and returns 0; a number
  // above 0 says how many survived the deadline.
  virtual Task<Result<unsigned>> kill_uid(uid_t uid, int signal_number) = 0;
  virtual Task<Result<std::vector<ProcessStatus>>> list() = 0;
  // Forgets an ended process, so that its id can be used again.
  virtual Task<Result<void>> forget(std::string process_id) = 0;

  // All of it as one request; ProcessSpec::prepare is the same as part of a start.
  virtual Task<Result<void>> prepare(Preparation preparation) = 0;
  // Makes the directory itself writable for uid:gid while root keeps owning it (a volume's root that stands for a
  // staged folder).
  virtual Task<Result<void>> share_directory(std::string path, gid_t gid) = 0;
  // Unpacks a stage stream (box/wire/stage_stream.h), read from `stream` until its end entry, into the directory
  // `path`, which is made fresh beneath a root-owned parent, by a child that runs as uid:gid confined to it. With
  // `into_existing` the directory must exist and be empty, but for mounts and the directories that lead to them. The
  // call takes the descriptor. On failure what was unpacked is removed, except around mounts.
  struct UnpackTotals {
    std::uint64_t entries = 0;
    std::uint64_t bytes = 0;
  };
  struct UnpackRequest {
    std::string path;
    uid_t uid = 0;
    gid_t gid = 0;
    bool into_existing = false;
    // The group may read and run what is unpacked (0640, 0750): a server with this gid and another uid can change
    // nothing of it.
    bool group_reads = false;
    // A published generation of the same uid, unpacked with group_reads, from which the stream's keep entries take
    // their files by hard link. kFailedPrecondition when it has not what is to be kept.
    std::string previous;
    std::chrono::milliseconds timeout{120'000};
  };
  virtual Task<Result<UnpackTotals>> unpack(UnpackRequest request, UniqueFd stream) = 0;
  // The other way: writes the tree at `path`, which belongs to `uid`, as a stage stream into `stream`, by a child that
  // runs as uid:gid confined to it. Modes are reduced as in staging. The limits end it with kResourceExhausted, a file
  // that changes while it is read with kAborted; what no stage stream can hold, what cannot be read and directories
  // named in `skip` stay behind. Whoever reads must not trust a byte of it: the tree is the server's. The call takes
  // the descriptor.
  struct PackRequest {
    std::string path;
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<std::string> skip;
    std::uint64_t entries = 0;
    std::uint64_t bytes = 0;
    std::uint64_t file_bytes = 0;
    std::chrono::milliseconds timeout{120'000};
  };
  struct PackTotals {
    std::uint64_t entries = 0;
    std::uint64_t bytes = 0;
    std::uint64_t skipped = 0;
  };
  virtual Task<Result<PackTotals>> pack(PackRequest request, UniqueFd stream) = 0;
  // Renames `from` over `to` (both children of one root-owned directory); what `to` was is removed in the background.
  // kTimeout, kCancelled, kUnavailable, kDataLoss and kInternal leave open whether it was renamed, or will be; after
  // any other error it was not.
  virtual Task<Result<void>> publish(std::string from, std::string to, uid_t owner) = 0;
  // Takes every write bit below `path` away and lets others read (files 0444/0555, directories 0555), as `uid`.
  virtual Task<Result<void>> seal(std::string path, uid_t uid) = 0;
  // Removes a tree whose content belongs to `uid`; not being there is success.
  virtual Task<Result<void>> remove_tree(std::string path, uid_t uid) = 0;
  // Any regular file beneath a root, without following links; kResourceExhausted above `limit` bytes (≤ 1 MiB).
  virtual Task<Result<std::string>> read_file(std::string path, std::size_t limit) = 0;
  // Names in a directory beneath a root, at most 10,000.
  virtual Task<Result<std::vector<std::string>>> list_directory(std::string path) = 0;
  // The same with the contents of some files in it, as read_file(): what a start has to know, in one request.
  struct DirectoryLook {
    std::vector<std::string> names;
    std::vector<std::optional<std::string>> contents;  // one for each of `files`; nothing = it is not there
  };
  virtual Task<Result<DirectoryLook>> look(std::string path, std::vector<std::string> files, std::size_t limit) = 0;

  // Before the first start: each server gets a control group of its own below this one (Engine::group_of_servers()),
  // which shares the processors out. PID 1 keeps what it has from an earlier controller. An error: it could not use it,
  // and servers start without.
  virtual Task<Result<void>> take_group(GroupOfServers group) = 0;

  // What stands at each of these absolute places of the sandbox; no link is followed. `error` is an errno, and 0 where
  // `id` says something.
  struct FoundFile {
    sys::FileId id;
    int error = 0;
  };
  virtual Task<Result<std::vector<FoundFile>>> identify(std::vector<std::string> paths) = 0;

  // Kills every process, answers, and lets PID 1 exit 0: the sandbox is gone.
  virtual Task<Result<void>> shutdown() = 0;
};

}  // namespace mcpbox::box
