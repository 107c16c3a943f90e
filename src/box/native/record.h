// What is on disk about native sandboxes and volumes, and what it says about the processes that are alive.
//
//   <state>/native/sandboxes/NAME/  one sandbox, made by mcpbox-init (init/build.h): record, pid, exit, root/, scratch/
//   <state>/native/volumes/NAME/    one volume: labels, data/
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "box/engine.h"

namespace mcpbox::box {

// Decided when the sandbox was made.
struct NativeRecord {
  std::string id;  // "NAME.<8 hexadecimal digits>": a later sandbox of the same name is another one
  std::string name;
  std::string boot;  // /proc/sys/kernel/random/boot_id: after a restart of the machine nothing of it runs
  Labels labels;
  std::vector<std::string> volumes;
  std::vector<std::string> cgroups;  // directories
  // Where volumes and scratch folders are shown, with their folders on the host. None in records of earlier versions.
  std::map<std::string, std::string> places;
  bool operator==(const NativeRecord&) const = default;
};
std::string write_record(const NativeRecord& record);
Result<NativeRecord> read_record(std::string_view text);

// A process as it was written down: the number alone may have been given away since.
struct NativeProcess {
  pid_t pid = 0;
  std::uint64_t start = 0;
};

struct NativeSandbox {
  NativeRecord record;
  std::string directory;
  NativeProcess keeper;
  NativeProcess first;     // PID 1
  bool this_boot = false;  // made since the machine started
  SandboxState state;
};

// kNotFound when there is none, or none whose record is complete yet; kDataLoss when its record is damaged. Other
// errors say nothing about whether it is there, or runs.
Result<NativeSandbox> read_sandbox(const std::string& directory);
// Those in `sandboxes`, in no order; directories that hold none, or a damaged record, are left out.
Result<std::vector<NativeSandbox>> read_sandboxes(const std::string& sandboxes);

// A descriptor of the process; an empty one when it has ended. An error when that cannot be told.
Result<UniqueFd> open_process(const NativeProcess& process);

std::string write_labels(const Labels& labels);
std::optional<Labels> read_labels(std::string_view text);

// Whether something has that name; false only where that is known.
bool may_be_there(const std::string& path);
// Whether no entry of the directory itself came or went for so long.
bool unchanged_for(const std::string& directory, std::chrono::seconds time);

}  // namespace mcpbox::box
