// What we ask a Docker-compatible engine for, and whether that is what it made. Pure: text in, text out.
//
// docker_create_body() sends the fields that it names and no others; a test compares their names with a list. Rules: no
// capabilities but those of PID 1, no-new-privileges, the engine's default seccomp filter, a read-only root, private
// namespaces, bounded memory, processors and processes, no log, no restart.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "box/docker/client.h"
#include "box/engine.h"
#include "box/sandbox_spec.h"

namespace mcpbox::box {

// What of an image would leak into a container unless it is overridden. Image metadata is hostile.
struct DockerImageFacts {
  std::string id;                        // sha256:…; containers are made from the id, so that a moved tag cannot race
  std::vector<std::string> env_names;    // unset in the container
  std::vector<std::string> volumes;      // covered by an empty read-only file system
  std::vector<std::string> label_names;  // those that start with io.mcpbox. are blanked
};
Result<DockerImageFacts> read_docker_image(std::string_view image_json);

// What a container's servers get of their own (init/spaces.h), best first.
enum class DockerSpaces : std::uint8_t {
  kAll,          // takes a filter of ours, and /proc and /sys without the engine's covers, for which PID 1 has its own
  kWithoutProc,  // the filter alone
  kNone,         // the engine's defaults
};
std::string_view name_of(DockerSpaces spaces);  // the value of kSpacesLabel

// The body of POST /containers/create. `nonce` becomes the label io.mcpbox.create, by which a container is recognised
// as this call's own when the answer was lost.
std::string docker_create_body(const SandboxSpec& spec, const DockerFacts& facts, const DockerImageFacts& image,
                               std::string_view nonce, DockerSpaces spaces = DockerSpaces::kNone);

// Compares GET /containers/{id}/json with the body that was sent, field by field, allowing for the spellings that
// engines are known to change (null for empty, CAP_ prefixes, "private" for ""). kFailedPrecondition names the first
// field that differs.
Result<void> check_docker_container(std::string_view sent_body, std::string_view inspect_json,
                                    const DockerFacts& facts);

inline constexpr std::string_view kCreateLabel = "io.mcpbox.create";
bool is_docker_id(std::string_view id);  // [0-9a-f]{64}

}  // namespace mcpbox::box
