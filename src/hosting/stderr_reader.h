// Reads what a server writes to stderr into its log.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>

#include "base/unique_fd.h"
#include "net/task.h"
#include "provision/server_log.h"

namespace mcpbox::hosting {

// Until end of file, an error or cancellation. A server may write as much as it likes and is never stopped for it, but
// what goes beyond 256 KiB a second (1 MiB at once) is dropped, which the log says, and read at 16 MiB/s at most: its
// noise costs others nothing. Owns the descriptor; lives on the executor, as does the log.
Task<void> read_stderr(boost::asio::any_io_executor executor, UniqueFd fd, provision::ServerLog& log);

}  // namespace mcpbox::hosting
