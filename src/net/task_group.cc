#include "net/task_group.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <list>
#include <utility>
#include <vector>

#include "base/log.h"
#include "net/wait.h"

namespace mcpbox::net {

struct TaskGroup::State {
  struct Entry {
    std::string name;
    boost::asio::cancellation_signal cancel;
  };
  boost::asio::any_io_executor executor;
  std::string name;
  std::list<Entry> entries;
  bool stopping = false;
  Signal changed;

  void cancel_all() {
    // Emitting may complete a task at once and change the list.
    std::vector<std::list<Entry>::iterator> all;
    for (auto it = entries.begin(); it != entries.end(); ++it) all.push_back(it);
    for (auto it : all) it->cancel.emit(boost::asio::cancellation_type::terminal);
  }

  State(boost::asio::any_io_executor e, std::string n) : executor(e), name(std::move(n)), changed(e) {}
};

TaskGroup::TaskGroup(boost::asio::any_io_executor executor, std::string name)
    : state_(std::make_shared<State>(std::move(executor), std::move(name))) {}

TaskGroup::~TaskGroup() {
  state_->stopping = true;
  state_->cancel_all();
}

void TaskGroup::spawn(std::string name, Task<void> task) {
  if (state_->stopping) return;
  auto entry = state_->entries.emplace(state_->entries.end());
  entry->name = std::move(name);
  boost::asio::co_spawn(
      state_->executor, std::move(task),
      boost::asio::bind_cancellation_slot(entry->cancel.slot(), [state = state_, entry](std::exception_ptr error) {
        if (error) {
          try {
            std::rethrow_exception(error);
          } catch (const boost::system::system_error& e) {
            if (e.code() != boost::asio::error::operation_aborted)
              log::error(state->name, "{}: {}", entry->name, e.what());
          } catch (const std::exception& e) {
            log::error(state->name, "{}: {}", entry->name, e.what());
          }
        }
        state->entries.erase(entry);
        state->changed.notify();
      }));
}

Task<void> TaskGroup::stop() {
  const auto state = state_;
  state->stopping = true;
  state->cancel_all();
  while (!state->entries.empty()) co_await state->changed.wait();
  state->stopping = false;
}

Task<void> TaskGroup::join() {
  const auto state = state_;
  while (!state->entries.empty()) co_await state->changed.wait();
}

std::size_t TaskGroup::running() const {
  return state_->entries.size();
}

}  // namespace mcpbox::net
