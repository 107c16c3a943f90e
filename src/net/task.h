// The coroutine type of everything that waits.
#pragma once

#include <boost/asio/awaitable.hpp>

namespace mcpbox {

// Resumes on the executor that it was spawned on; cancellation is Asio's per-operation cancellation of the parent.
template <class T>
using Task = boost::asio::awaitable<T>;

}  // namespace mcpbox
