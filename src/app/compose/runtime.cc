#include "app/compose/runtime.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <exception>

#include "app/exit_code.h"
#include "app/output.h"
#include "sys/short_slices.h"

namespace mcpbox::app {

int run_on_loop(const std::function<Task<int>(Runtime&)>& main) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  sys::ask_for_short_slices();
  Runtime runtime;
  int code = kFailed;
  boost::asio::co_spawn(runtime.loop, main(runtime), [&](std::exception_ptr error, int result) {
    code = result;
    if (error) {
      code = kFailed;
      try {
        std::rethrow_exception(error);
      } catch (const std::exception& e) {
        print_err("mcpbox: internal error: {}\n", e.what());
      }
    }
    runtime.loop.stop();
  });
  runtime.loop.run();
  runtime.pool.join();
  return code;
}

Task<void> on_stop_signal(Runtime& runtime, std::function<void(int signal)> handler) {
  boost::asio::signal_set signals(runtime.loop, SIGINT, SIGTERM, SIGHUP);
  auto last = std::chrono::steady_clock::time_point::min();
  for (;;) {
    auto [error, number] = co_await signals.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
    if (error) co_return;
    const auto now = std::chrono::steady_clock::now();
    if (number == SIGINT && last != std::chrono::steady_clock::time_point::min() &&
        now - last < std::chrono::seconds(2))
      ::_exit(130);
    last = now;
    handler(number);
  }
}

}  // namespace mcpbox::app
