// Work that a cancellation must not cut in two, and work that is undone when one does.
//
// A TaskGroup cancels its tasks once: whoever lets a cancellation pass by goes on for good. Both functions below leave
// it with the caller's coroutine, whose next wait throws; `(co_await this_coro::cancellation_state).cancelled()` says
// so before.
#pragma once

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <optional>
#include <utility>

#include "base/result.h"
#include "net/task.h"

namespace mcpbox::net {

// Runs `section` to its end, whoever cancels the caller meanwhile. Its own waits must end by themselves. Where the
// caller was cancelled before, the section does not begin and this throws, as any wait does.
template <class T>
Task<T> uninterrupted(Task<T> section) {
  // A coroutine with a cancellation state of its own, which nobody can signal: the caller's state takes note and has
  // nobody to pass it on to. A filter on the caller's state would have to be undone, and sections in sections with it.
  std::optional<T> out;
  const auto run = [](Task<T> inner, std::optional<T>& result) -> Task<void> {
    result.emplace(co_await std::move(inner));
  };
  const auto executor = co_await boost::asio::this_coro::executor;
  co_await boost::asio::co_spawn(
      executor, run(std::move(section), out),
      boost::asio::bind_cancellation_slot(boost::asio::cancellation_slot(), boost::asio::use_awaitable));
  co_return std::move(*out);
}

// Runs `steps`, which a cancellation may interrupt, and when they failed, threw or were cancelled, `undo(error)`, a
// Task<void>, to its end. kCancelled when the caller was cancelled, also by the last step's time: what was made is
// undone then too.
template <class T, class Undo>
Task<Result<T>> undone_unless_done(Task<Result<T>> steps, Undo undo) {
  Result<T> outcome = fail(Code::kCancelled, "cancelled");
  std::exception_ptr thrown;
  try {
    outcome = co_await std::move(steps);
  } catch (const boost::system::system_error& error) {
    if (error.code() != boost::asio::error::operation_aborted) thrown = std::current_exception();
  } catch (...) {
    thrown = std::current_exception();
  }
  const auto state = co_await boost::asio::this_coro::cancellation_state;
  if (state.cancelled() != boost::asio::cancellation_type::none &&
      (outcome || outcome.error().code() != Code::kCancelled))
    outcome = fail(Code::kCancelled, "cancelled");
  if (outcome && !thrown) co_return outcome;
  const Error why = thrown ? Error(Code::kInternal, "an exception") : outcome.error();
  const auto run = [](Undo& back, const Error& error) -> Task<bool> {
    co_await back(error);
    co_return true;
  };
  // Otherwise a cancelled coroutine throws at its next wait, which is the undoing.
  const bool throws = co_await boost::asio::this_coro::throw_if_cancelled();
  co_await boost::asio::this_coro::throw_if_cancelled(false);
  (void)co_await uninterrupted(run(undo, why));
  co_await boost::asio::this_coro::throw_if_cancelled(throws);
  if (thrown) std::rethrow_exception(thrown);
  co_return outcome;
}

}  // namespace mcpbox::net
