// What mcpbox asks of mcpbox-init and what it answers, as plain data. The order of the members is the wire order.
//
// Compatibility: a new member or a new message raises kProtocolVersion; both sides then speak the highest version that
// both know (Hello). Trailing bytes are an error, so a member is never added silently.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "box/wire/fields.h"
#include "box/wire/frame.h"

namespace mcpbox::box::wire {

// With this PID 1 ends where servers cannot have the namespaces that it was told to give them.
inline constexpr int kExitNoSpaces = 75;

constexpr std::uint32_t kProtocolVersion = 13;
constexpr std::uint32_t kOldestProtocolVersion = 13;

struct Hello {
  static constexpr auto kType = MessageType::kHello;
  std::uint32_t oldest = kOldestProtocolVersion;
  std::uint32_t newest = kProtocolVersion;
  bool operator==(const Hello&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.oldest), v(s.newest);
  }
};
struct HelloReply {
  std::uint32_t version = 0;
  std::int32_t landlock_abi = 0;
  bool seccomp = false;
  std::uint64_t boot_token = 0;
  std::string kernel;
  bool operator==(const HelloReply&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.version), v(s.landlock_abi), v(s.seccomp), v(s.boot_token), v(s.kernel);
  }
};

struct Limits {
  std::optional<std::uint64_t> processes, open_files, file_bytes, core_bytes, data_bytes;
  bool operator==(const Limits&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.processes), v(s.open_files), v(s.file_bytes), v(s.core_bytes), v(s.data_bytes);
  }
};
// What a server may use as a whole, all its processes together; 0 = no limit. PID 1 counts and ends it alone.
struct ServerLimits {
  std::uint64_t memory_bytes = 0, processes = 0, disk_bytes = 0, files = 0;
  std::vector<std::string> own;      // folders that count with all that is in them
  std::vector<std::string> mounted;  // folders in which only counts what comes after the start
  std::uint32_t processors = 0;      // thousandths
  std::uint64_t memory_of_all = 0;   // of all servers of the sandbox together; 0: not said
  bool memory_named = false;         // memory_bytes is its part of that; else it has an equal part of what is left
  bool operator==(const ServerLimits&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.memory_bytes), v(s.processes), v(s.disk_bytes), v(s.files), v(s.own), v(s.mounted), v(s.processors);
    v(s.memory_of_all), v(s.memory_named);
  }
};
struct Confine {
  std::vector<std::string> read_write, read_only;
  std::vector<std::uint16_t> connect_ports, bind_ports;
  bool operator==(const Confine&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.read_write), v(s.read_only), v(s.connect_ports), v(s.bind_ports);
  }
};
struct MakeTree {
  std::string path;
  std::uint32_t uid = 0, gid = 0;
  std::vector<std::string> children;
  bool operator==(const MakeTree&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.path), v(s.uid), v(s.gid), v(s.children);
  }
};
struct WriteFile {
  std::string path;
  Blob content;
  bool durable = true;  // on the disk before it has its name
  bool operator==(const WriteFile&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.path), v(s.content), v(s.durable);
  }
};
// Directories, then files, each in this order; what comes after a failure is not done. A request of its own, or part of
// a Spawn.
struct Prepare {
  static constexpr auto kType = MessageType::kPrepare;
  std::vector<MakeTree> trees;
  std::vector<WriteFile> files;
  bool operator==(const Prepare&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.trees), v(s.files);
  }
};
// Ways in: TCP sockets of the process's own network, connected to nothing yet, by which the controller reaches ports
// that it opens there. `ways_in` of each family that its network has.
constexpr std::uint32_t kMaxWaysIn = (kMaxFds - 3) / 2;
// With three descriptors the process runs on them (stdin, stdout, stderr); with none it gets pipes, whose other ends
// come back with the reply, before the ways in.
struct Spawn {
  static constexpr auto kType = MessageType::kSpawn;
  std::string id;
  std::vector<std::string> argv, env;
  std::string cwd;
  std::uint32_t uid = 0, gid = 0, umask = 077;
  std::int32_t nice = 0, oom_score_adj = 0;
  Limits limits;
  ServerLimits server;
  Confine confine;
  Prepare prepare;     // before the process becomes its user
  bool alone = false;  // nobody else is in the sandbox
  std::uint32_t ways_in = 0;
  bool operator==(const Spawn&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.id), v(s.argv), v(s.env), v(s.cwd), v(s.uid), v(s.gid), v(s.umask), v(s.nice), v(s.oom_score_adj), v(s.limits),
        v(s.server), v(s.confine), v(s.prepare), v(s.alone), v(s.ways_in);
  }
};
struct SpawnReply {
  std::int32_t pid = 0;
  bool operator==(const SpawnReply&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.pid);
  }
};

struct CloseStdin {
  static constexpr auto kType = MessageType::kCloseStdin;
  std::string id;
  bool ending = false;  // it is to end: PID 1 has no patience with a hog that goes on
  bool operator==(const CloseStdin&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.id), v(s.ending);
  }
};
struct Forget {
  static constexpr auto kType = MessageType::kForget;
  std::string id;
  bool operator==(const Forget&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.id);
  }
};
struct Signal {
  static constexpr auto kType = MessageType::kSignal;
  std::string id;
  std::int32_t signal = 0;
  bool operator==(const Signal&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.id), v(s.signal);
  }
};
struct KillUid {
  static constexpr auto kType = MessageType::kKillUid;
  std::uint32_t uid = 0;
  std::int32_t signal = 0;
  std::uint32_t timeout_ms = 0;  // for SIGKILL: how long to repeat
  bool operator==(const KillUid&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.uid), v(s.signal), v(s.timeout_ms);
  }
};
struct KillUidReply {
  std::uint32_t alive = 0;
  bool operator==(const KillUidReply&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.alive);
  }
};

// The numbers are on the wire: a new one goes to the end.
enum class LimitKind : std::uint8_t { kNone, kMemory, kProcesses, kDisk, kFiles, kFloor, kSandboxMemory };
struct PassedLimit {
  LimitKind which = LimitKind::kNone;
  std::uint64_t bound = 0, use = 0;  // bytes, or a count; with kFloor of free bytes
  bool operator==(const PassedLimit&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.which), v(s.bound), v(s.use);
  }
};
struct Exit {
  std::int32_t code = -1, signal = 0;
  bool killed_for_memory = false;
  PassedLimit limit;  // what it was ended for
  std::uint64_t user_us = 0, system_us = 0, peak_memory_bytes = 0;
  bool operator==(const Exit&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.code), v(s.signal), v(s.killed_for_memory), v(s.limit), v(s.user_us), v(s.system_us), v(s.peak_memory_bytes);
  }
};
struct Exited {
  static constexpr auto kType = MessageType::kExited;
  std::string id;
  Exit exit;
  bool operator==(const Exited&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.id), v(s.exit);
  }
};
// It keeps the processors from its neighbours.
struct Presses {
  static constexpr auto kType = MessageType::kPresses;
  std::string id;
  std::uint32_t processors = 0;  // that it keeps busy, in thousandths
  std::uint64_t tasks = 0;       // processes and threads
  bool operator==(const Presses&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.id), v(s.processors), v(s.tasks);
  }
};
struct List {
  static constexpr auto kType = MessageType::kList;
  bool operator==(const List&) const = default;
  template <class V, class S>
  static void fields(V&, S&) {}
};
struct Listed {
  std::string id;
  std::int32_t pid = 0;
  std::uint32_t uid = 0;
  bool running = false;
  std::optional<Exit> exit;
  bool operator==(const Listed&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.id), v(s.pid), v(s.uid), v(s.running), v(s.exit);
  }
};
struct ListReply {
  std::vector<Listed> processes;
  bool operator==(const ListReply&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.processes);
  }
};

struct ShareDirectory {
  static constexpr auto kType = MessageType::kShareDirectory;
  std::string path;
  std::uint32_t gid = 0;
  bool operator==(const ShareDirectory&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.path), v(s.gid);
  }
};
// Comes with one descriptor, the stage stream.
struct Unpack {
  static constexpr auto kType = MessageType::kUnpack;
  std::string path;
  std::uint32_t uid = 0, gid = 0;
  bool into_existing = false;
  std::uint32_t timeout_ms = 0;
  bool group_reads = false;
  std::string previous;  // empty = the stream keeps nothing
  bool operator==(const Unpack&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.path), v(s.uid), v(s.gid), v(s.into_existing), v(s.timeout_ms), v(s.group_reads), v(s.previous);
  }
};
struct UnpackReply {
  std::uint64_t entries = 0, bytes = 0;
  bool operator==(const UnpackReply&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.entries), v(s.bytes);
  }
};
// Comes with one descriptor, into which the tree is written as a stage stream.
struct Pack {
  static constexpr auto kType = MessageType::kPack;
  std::string path;
  std::uint32_t uid = 0, gid = 0;
  std::vector<std::string> skip;                         // directories of these names stay behind, wherever they are
  std::uint64_t entries = 0, bytes = 0, file_bytes = 0;  // limits
  std::uint32_t timeout_ms = 0;
  bool operator==(const Pack&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.path), v(s.uid), v(s.gid), v(s.skip), v(s.entries), v(s.bytes), v(s.file_bytes), v(s.timeout_ms);
  }
};
struct PackReply {
  std::uint64_t entries = 0, bytes = 0, skipped = 0;
  bool operator==(const PackReply&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.entries), v(s.bytes), v(s.skipped);
  }
};
struct Publish {
  static constexpr auto kType = MessageType::kPublish;
  std::string from, to;
  std::uint32_t owner = 0;
  bool operator==(const Publish&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.from), v(s.to), v(s.owner);
  }
};
// Requests about a tree whose content belongs to a uid.
template <MessageType Type>
struct TreeRequest {
  static constexpr auto kType = Type;
  std::string path;
  std::uint32_t uid = 0;
  bool operator==(const TreeRequest&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.path), v(s.uid);
  }
};
using Seal = TreeRequest<MessageType::kSeal>;
using RemoveTree = TreeRequest<MessageType::kRemoveTree>;

struct ReadFile {
  static constexpr auto kType = MessageType::kReadFile;
  std::string path;
  std::uint32_t limit = 0;
  bool operator==(const ReadFile&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.path), v(s.limit);
  }
};
struct ReadFileReply {
  Blob content;
  bool operator==(const ReadFileReply&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.content);
  }
};
struct ListDirectory {
  static constexpr auto kType = MessageType::kListDirectory;
  std::string path;
  std::vector<std::string> read;  // single names; the content of those that are there comes too
  std::uint32_t limit = 0;        // of one content
  bool operator==(const ListDirectory&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.path), v(s.read), v(s.limit);
  }
};
struct ListDirectoryReply {
  std::vector<std::string> names;
  std::vector<std::optional<Blob>> contents;  // one for each name of `read`
  bool operator==(const ListDirectoryReply&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.names), v(s.contents);
  }
};
// Comes with a descriptor: a directory of a control group of version 1, of the `cpu` controller. A second one is of a
// group for servers that are behind all others, which is idle for the whole machine (cpu.idle).
struct TakeGroup {
  static constexpr auto kType = MessageType::kTakeGroup;
  std::uint32_t processors = 0;  // that the whole sandbox may use, in thousandths; 0: not known
  bool operator==(const TakeGroup&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.processors);
  }
};
struct Shutdown {
  static constexpr auto kType = MessageType::kShutdown;
  bool operator==(const Shutdown&) const = default;
  template <class V, class S>
  static void fields(V&, S&) {}
};
// The reply to requests that have nothing to tell but success.
struct Done {
  bool operator==(const Done&) const = default;
  template <class V, class S>
  static void fields(V&, S&) {}
};

// A failure as it travels. `step` names what was done to what ("exec 'foo'"), `error_number` is errno or 0.
struct ErrorReply {
  static constexpr auto kType = MessageType::kErrorReply;
  std::uint8_t code = 0;
  std::int32_t error_number = 0;
  std::string step, text;
  bool operator==(const ErrorReply&) const = default;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.code), v(s.error_number), v(s.step), v(s.text);
  }
};

ErrorReply make_error(Code code, std::string step, std::string text);
ErrorReply make_errno_error(int error_number, std::string step);
// One line for people; an unknown code becomes kInternal. `text` and `step` come from the peer: the caller makes them
// printable.
Code code_of(const ErrorReply& error);

// The payload of a message; kInvalidArgument when a member is larger than the format allows.
template <class T>
Result<std::string> encode(const T& message) {
  Encoder encoder;
  encoder(message);
  if (!encoder.ok()) return fail(Code::kInvalidArgument, "message to mcpbox-init: a string or list is too long");
  return encoder.take();
}
// kDataLoss when bytes are missing, left over or out of range.
template <class T>
Result<T> decode(std::string_view payload) {
  Decoder decoder(payload);
  T message;
  decoder(message);
  if (!decoder.done()) return fail(Code::kDataLoss, "supervisor link: a message cannot be decoded");
  return message;
}

}  // namespace mcpbox::box::wire
