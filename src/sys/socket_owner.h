// For clients of a unix socket: whether it is this user's own, or root's. A socket in a folder that everybody may write
// is anybody's, and whoever serves it would get what a client sends.
#pragma once

#include <string>

#include "base/result.h"

namespace mcpbox::sys {

// Whether only this user and root can have put the socket `path` there: it and its folder belong to one of them, and
// nobody else may write the folder (in a sticky one, like /tmp, the socket's owner alone decides). kPermissionDenied
// says what is wrong. What is not there, or cannot be looked at, is no error: connecting will say so.
Result<void> check_socket_place(const std::string& path);

// Whether the process that listens at the other end of a connected unix socket is this user's or root's (SO_PEERCRED,
// unix(7)). kPermissionDenied says whose it is.
Result<void> check_socket_peer(int socket);

}  // namespace mcpbox::sys
