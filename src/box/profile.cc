// Part of engine.h: SandboxProfile::hash() and SandboxSpec::hash(), what two sandboxes have in common.
#include <algorithm>
#include <cmath>

#include "base/digest.h"
#include "box/engine.h"

namespace mcpbox::box {
namespace {

// "name=length:value\n": the length keeps a value with line breaks from passing for another field.
void put(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append("=").append(std::to_string(value.size())).append(":").append(value).append("\n");
}

}  // namespace

std::string SandboxProfile::hash() const {
  std::string form =
      "mcpbox sandbox profile 2\n";  // counts up when a field is added: old sandboxes are not adopted then
  put(form, "image", image);
  put(form, "memory", std::to_string(limits.memory_bytes));
  put(form, "nanocpus", std::to_string(std::llround(limits.cpus * 1e9)));
  put(form, "processes", std::to_string(limits.processes));
  put(form, "read_only_root", read_only_root ? "1" : "0");
  auto sorted = mounts;  // the order in which mounts are listed means nothing
  std::ranges::sort(sorted, {}, &Mount::target);
  for (const auto& mount : sorted) {
    put(form, "mount", mount.target);
    put(form, "kind", std::to_string(static_cast<int>(mount.kind)));
    put(form, "source", mount.source);
    put(form, "read_only", mount.read_only ? "1" : "0");
    put(form, "size", std::to_string(mount.size_bytes));
    put(form, "mode", std::to_string(mount.mode));
    // Another folder under the name is another mount: a sandbox that shows the old one is not adopted.
    if (mount.judged)
      put(form, "judged", std::to_string(mount.judged->device) + ":" + std::to_string(mount.judged->inode));
  }
  return sha256_hex(form);
}

std::string SandboxSpec::hash() const {
  std::string form = "mcpbox sandbox 1\n" + profile.hash() + "\n";
  put(form, "remove_on_exit", remove_on_exit ? "1" : "0");
  if (equipment) {
    put(form, "init", equipment->init);
    put(form, "run_dir", equipment->run_dir);
    put(form, "trust_store", equipment->trust_store);
    put(form, "way_out", equipment->way_out);
    if (!equipment->way_out.empty()) put(form, "sandbox", name);
    put(form, "cache", equipment->cache);
    put(form, "cache_writable", equipment->cache_writable ? "1" : "0");
    put(form, "work_space", equipment->work_space);
  }
  for (const auto& word : init_argv) put(form, "init_argv", word);
  return sha256_hex(form);
}

}  // namespace mcpbox::box
