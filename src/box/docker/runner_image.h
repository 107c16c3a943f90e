// The image that sandboxes are made from when the configuration names none: found as a folder, identified by its
// content.
//
// The folder (images/runner) holds an executable `build` that makes the image on an engine and tags it with
// runner_image_tag(): the same inputs always have the same tag, so "the image is there" means "it is current".
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "box/engine.h"

namespace mcpbox::box {

// MCPBOX_IMAGE_DIR; else share/mcpbox/images/runner next to the executable's bin/; else, for a build tree
// (build/<name>/bin), images/runner of the source tree. kNotFound lists what was looked at.
Result<std::string> find_runner_image_dir();

// "mcpbox-runner:<12 hex>", the start of the SHA-256 over the lines "<sha256 of the file>  <path in the folder>\n" of
// all regular files, sorted by path bytewise. Files above 16 MiB and more than 1,000 files are refused.
Result<std::string> runner_image_tag(const std::string& dir);

// The image, built if the engine does not have it: `<dir>/build --engine <address>` with --ca-bundle when one is given.
// Its stderr and stdout lines are passed on as progress; when it fails, the last ones are in the error. Cancelling
// stops the build.
Task<Result<ImageInfo>> ensure_runner_image(Engine& engine, std::string engine_address, std::string dir,
                                            std::string ca_bundle, Progress progress);

}  // namespace mcpbox::box
