// Images and volumes of a Docker-compatible engine, for engine.cc.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "box/docker/client.h"
#include "box/engine.h"

namespace mcpbox::box {

Task<Result<ImageInfo>> docker_image(DockerClient& client, std::string reference);
Task<Result<std::vector<ImageInfo>>> docker_images(DockerClient& client, Labels labels);
Task<Result<ImageInfo>> docker_pull(DockerClient& client, std::string reference, Progress progress);

Task<Result<void>> docker_ensure_volume(DockerClient& client, std::string name, Labels labels);
Task<Result<std::vector<std::string>>> docker_list_volumes(DockerClient& client, Labels labels);
Task<Result<void>> docker_remove_volume(DockerClient& client, std::string name);

// Splits a reference into its name and its tag or digest; a missing tag is "latest".
std::pair<std::string, std::string> split_reference(std::string_view reference);

}  // namespace mcpbox::box
