// The control socket of mcpbox-init.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/unique_fd.h"

namespace mcpbox::box::init {

// Makes the socket as `owner` and listens: PID 1 is root without CAP_DAC_OVERRIDE and CAP_CHOWN, so in the owner's 0700
// directory only the owner can make it. Invalid on failure, with errno set and `problem` for people.
UniqueFd listen_on(const std::string& path, uid_t owner, std::string& problem);

}  // namespace mcpbox::box::init
