#include "box/link/supervisor_convert.h"

#include <fcntl.h>

#include "base/errno_error.h"

namespace mcpbox::box {

static_assert(static_cast<int>(LimitKind::kSandboxMemory) == static_cast<int>(wire::LimitKind::kSandboxMemory));

wire::Prepare to_wire(Preparation preparation) {
  wire::Prepare out;
  for (Preparation::Tree& tree : preparation.trees)
    out.trees.push_back({std::move(tree.path), tree.uid, tree.gid, std::move(tree.children)});
  for (Preparation::File& file : preparation.files)
    out.files.push_back({std::move(file.path), {std::move(file.content)}, file.durable});
  return out;
}

wire::Spawn to_wire(ProcessSpec spec) {
  wire::Spawn out;
  out.id = std::move(spec.id);
  out.argv = std::move(spec.argv);
  out.env = std::move(spec.env);
  out.cwd = std::move(spec.cwd);
  out.uid = spec.uid;
  out.gid = spec.gid;
  out.umask = spec.umask;
  out.nice = spec.nice;
  out.oom_score_adj = spec.oom_score_adj;
  out.limits = {spec.limits.processes, spec.limits.open_files, spec.limits.file_bytes, spec.limits.core_bytes,
                spec.limits.data_bytes};
  ServerLimits& server = spec.server;
  if (server.processes != 0) out.limits.processes = server.processes;
  out.server = {server.memory_bytes,
                server.processes,
                server.disk_bytes,
                server.files,
                std::move(server.own),
                std::move(server.mounted),
                static_cast<std::uint32_t>(server.cpus * 1000),
                server.memory_of_all,
                server.memory_named};
  out.confine = {std::move(spec.confine.read_write), std::move(spec.confine.read_only),
                 std::move(spec.confine.connect_ports), std::move(spec.confine.bind_ports)};
  out.prepare = to_wire(std::move(spec.prepare));
  out.alone = spec.alone;
  out.ways_in = spec.ways_in;
  return out;
}

ProcessExit to_exit(const wire::Exit& exit) {
  ProcessExit out;
  out.code = exit.code;
  out.signal = exit.signal;
  out.killed_for_memory = exit.killed_for_memory;
  out.limit = {static_cast<LimitKind>(exit.limit.which), exit.limit.bound, exit.limit.use};
  out.user_time = std::chrono::microseconds(exit.user_us);
  out.system_time = std::chrono::microseconds(exit.system_us);
  out.peak_memory_bytes = exit.peak_memory_bytes;
  return out;
}

ProcessStatus to_status(wire::Listed listed) {
  ProcessStatus out{std::move(listed.id), listed.pid, listed.uid, listed.running, std::nullopt};
  if (listed.exit) out.exit = to_exit(*listed.exit);
  return out;
}

Result<UniqueFd> duplicate(int fd) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy) return fail(errno_error(errno, "duplicate a descriptor"));
  return copy;
}

}  // namespace mcpbox::box
