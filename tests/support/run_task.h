// Runs one coroutine to its end on a loop of its own.
#pragma once

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include "net/task.h"

namespace mcpbox::test {

// Throws what the coroutine threw, and runtime_error when it has not ended after `limit` (it hangs).
template <class T>
T run_task(boost::asio::io_context& loop, Task<T> task, std::chrono::seconds limit = std::chrono::seconds(60)) {
  std::optional<T> out;
  std::exception_ptr thrown;
  boost::asio::co_spawn(loop, std::move(task), [&](std::exception_ptr error, T value) {
    thrown = error;
    out.emplace(std::move(value));
    loop.stop();
  });
  loop.restart();
  loop.run_for(limit);
  if (thrown) std::rethrow_exception(thrown);
  if (!out) throw std::runtime_error("the coroutine hangs");
  return std::move(*out);
}

// Starts the coroutine, cancels it when `ready` says so (asked after every handler), and returns what it returned or
// empty when it threw operation_aborted.
template <class T, class Ready>
std::optional<T> run_cancelled(boost::asio::io_context& loop, Task<T> task, Ready ready,
                               std::chrono::seconds limit = std::chrono::seconds(60)) {
  std::optional<T> out;
  bool ended = false, cancelled = false;
  const auto here = std::make_shared<bool>();
  boost::asio::cancellation_signal signal;
  boost::asio::co_spawn(loop, std::move(task),
                        boost::asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr error, T value) {
                          if (!error) out.emplace(std::move(value));
                          ended = true;
                        }));
  loop.restart();
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!ended && std::chrono::steady_clock::now() < deadline) {
    loop.run_one_for(std::chrono::milliseconds(5));
    if (loop.stopped()) loop.restart();
    if (!ended && !cancelled && ready()) {
      cancelled = true;
      // On the loop, as everything that cancels does. The coroutine may end before that, and this function with it.
      boost::asio::post(loop, [&, weak = std::weak_ptr(here)] {
        if (!weak.expired() && !ended) signal.emit(boost::asio::cancellation_type::terminal);
      });
    }
  }
  if (!ended) throw std::runtime_error("the coroutine ignores cancellation");
  return out;
}

}  // namespace mcpbox::test
