// Spawns coroutines, names them, cancels and joins them. Nothing is ever detached.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <string>

#include "net/task.h"

namespace mcpbox::net {

// Lives on one executor. The owner calls stop() and awaits it before it dies, and tasks see Asio's terminal
// cancellation at their next suspension. Where the owner itself is unwound by cancellation, the destructor cancels the
// tasks without waiting: such a task must own what it uses. An exception that leaves a task is logged with the task's
// name and ends only that task.
class TaskGroup {
 public:
  TaskGroup(boost::asio::any_io_executor executor, std::string name);
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // After stop() began, the task is destroyed without being started.
  void spawn(std::string name, Task<void> task);
  // Cancels all and returns when the last has ended. May be called again.
  Task<void> stop();
  // Returns when all have ended by themselves.
  Task<void> join();
  std::size_t running() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace mcpbox::net
