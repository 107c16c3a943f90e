// Runs blocking work on a small pool and resumes on the caller's loop.
#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <type_traits>
#include <utility>

#include "net/task.h"

namespace mcpbox::net {

// `work` runs on the pool and must not touch what the loop owns. It is not cancelled: what it captures by reference
// must outlive it, so the awaiting coroutine stays until it is done (cancellation is looked at afterwards).
template <class Work, class T = std::invoke_result_t<Work>>
Task<T> offload(boost::asio::thread_pool& pool, Work work) {
  auto executor = co_await boost::asio::this_coro::executor;
  auto initiate = [&pool, executor](auto handler, Work job) {
    // The loop has to go on although nothing on it waits but this.
    auto busy = boost::asio::prefer(executor, boost::asio::execution::outstanding_work.tracked);
    boost::asio::post(pool, [executor = std::move(busy), handler = std::move(handler), job = std::move(job)]() mutable {
      T value = job();
      boost::asio::post(executor, [handler = std::move(handler), value = std::move(value)]() mutable {
        std::move(handler)(std::move(value));
      });
    });
  };
  co_return co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void(T)>(
      std::move(initiate), boost::asio::use_awaitable, std::move(work));
}

}  // namespace mcpbox::net
