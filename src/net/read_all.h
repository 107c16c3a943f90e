// Reads a managed process's output until its end, on the loop.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "net/task.h"

namespace mcpbox::net {

// Calls `sink` with what read(2) gave (at most 64 KiB) until end of file, an error or cancellation. Owns the
// descriptor, which it makes non-blocking: its open file description is ours alone.
Task<void> read_all(boost::asio::any_io_executor executor, UniqueFd fd, std::function<void(std::string_view)> sink);

}  // namespace mcpbox::net
