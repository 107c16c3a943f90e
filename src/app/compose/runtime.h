// Runs one verb's coroutine on the main loop, with a pool for blocking work.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <functional>

#include "net/task.h"

namespace mcpbox::app {

struct Runtime {
  boost::asio::thread_pool pool{2};  // outlives the loop: what the loop lets go of may have to be removed on it
  boost::asio::io_context loop{1};
};

// Runs `main` to its end and returns its result, kFailed if an exception left it. The limit of open files is raised.
// SIGINT, SIGTERM and SIGHUP go to the handler that on_stop_signal() set; without one they end the program as usual.
int run_on_loop(const std::function<Task<int>(Runtime&)>& main);

// Calls `handler` on the loop for each stop signal from now on. A second SIGINT within two seconds ends the program at
// once.
Task<void> on_stop_signal(Runtime& runtime, std::function<void(int signal)> handler);

}  // namespace mcpbox::app
