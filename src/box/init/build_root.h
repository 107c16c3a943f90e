// The inside of a new sandbox, made by the process that becomes its PID 1: tree, /proc, /dev, loopback, privileges.
//
// All of it needs new user, mount, pid, network, IPC and UTS namespaces and every capability in the user namespace.
#pragma once

#include "box/init/op.h"
#include "box/wire/build_spec.h"

namespace mcpbox::box::init {

// Opens what is bound from the host, becomes root of the user namespace, puts the tree together on a memory file system
// and makes it "/". Nothing of the host's tree can be reached afterwards but what was bound.
Op<void> build_root(const wire::BuildSpec& spec);

// Host name, control group namespace, loopback, key ring, resource limits, environment; then every capability but those
// that the supervisor needs goes for good.
Op<void> settle_in(const wire::BuildSpec& spec);

}  // namespace mcpbox::box::init
