// Says which file stands at a path of this sandbox.
#pragma once

#include <string>

#include "box/wire/identify.h"

namespace mcpbox::box::init {

// Device and inode of what is at the absolute `path`, mounts included; ELOOP when a link is in the way. In a helper
// process: a directory that is closed to root without capabilities is passed as its owner, and the process stays that
// for files.
wire::Identity identify(const std::string& path);

wire::IdentifyReply identify(const wire::Identify& request);

}  // namespace mcpbox::box::init
