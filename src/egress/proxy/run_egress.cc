#include "egress/proxy/run_egress.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/write.hpp>
#include <cctype>

#include "base/log.h"
#include "base/secrets.h"
#include "egress/control/codec.h"
#include "egress/proxy/confinement.h"
#include "egress/proxy/proxy_impl.h"

namespace mcpbox::egress {
namespace {

namespace asio = boost::asio;

Result<void> apply(ControlCommand command, Registry& registry, Destinations& destinations) {
  if (auto* configure = std::get_if<ConfigureCommand>(&command)) destinations.configure(std::move(configure->settings));
  if (auto* add = std::get_if<RegisterCommand>(&command)) {
    for (const Secret& secret : add->secrets) {
      keep_secret(secret);
      std::string as_name(secret.reveal());
      std::ranges::transform(as_name, as_name.begin(), [](unsigned char c) { return c < 0x80 ? std::tolower(c) : c; });
      keep_secret(Secret(std::move(as_name)));
    }
    return registry.add(std::move(add->registration));
  }
  if (auto* remove = std::get_if<UnregisterCommand>(&command)) {
    if (!registry.remove(remove->process)) return fail(Code::kNotFound, "no such process is registered");
  }
  return {};
}

Task<void> obey(Stream& control, Registry& registry, Destinations& destinations) {
  std::string bytes;
  for (;;) {
    char piece[4096];
    auto [error, size] = co_await control.async_read_some(asio::buffer(piece), kTuple);
    if (error) co_return;
    bytes.append(piece, size);
    for (std::size_t end = bytes.find('\n'); end != std::string::npos; end = bytes.find('\n')) {
      auto command = parse_control(std::string_view(bytes).substr(0, end));
      bytes.erase(0, end + 1);
      const Result<void> done =
          command ? apply(std::move(*command), registry, destinations) : Result<void>(fail(std::move(command.error())));
      const std::string answer = done ? control_ok() : control_error(done.error());
      auto [write_error, written] = co_await asio::async_write(control, asio::buffer(answer), kTuple);
      if (write_error) co_return;
    }
    if (bytes.size() > kMaxControlLine) co_return;
  }
}

// Two descriptors a tunnel.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int run_egress(const EgressOptions& options) {
  ::signal(SIGPIPE, SIG_IGN);
  // A terminal's Ctrl-C is for our owner, who then closes the channel.
  ::signal(SIGINT, SIG_IGN);
  // Look-ups are children; the kernel takes them away when they have ended.
  ::signal(SIGCHLD, SIG_IGN);
  ::fcntl(options.control_fd, F_SETFD, FD_CLOEXEC);
  raise_descriptor_limit();

  auto audit = AuditLog::open(options.audit);
  if (!audit) {
    log::error("egress", "{}", audit.error().message());
    return 1;
  }
  asio::io_context loop(1);
  Registry registry;
  Destinations destinations;
  auto proxy = Proxy::listen(loop.get_executor(), options.proxy, registry, destinations, *audit);
  if (!proxy) {
    log::error("egress", "{}", proxy.error().message());
    return 1;
  }
  // The socket is bound and the log open; no thread exists yet, so that what comes holds for all of them.
  if (options.confine) {
    auto confined = confine({audit->directory()});
    if (!confined) {
      log::error("egress", "cannot confine itself: {}", confined.error().message());
      return 1;
    }
    if (!confined->landlock)
      log::warning("egress", "this kernel has no Landlock: the proxy can read what its user can read");
  }
  boost::system::error_code error;
  Stream control(loop);
  control.assign(asio::generic::stream_protocol(AF_UNIX, 0), options.control_fd, error);
  if (error) {
    log::error("egress", "descriptor {} is no control channel: {}", options.control_fd, error.message());
    return 1;
  }
  (*proxy)->start();
  asio::co_spawn(
      loop,
      [&]() -> Task<void> {
        co_await obey(control, registry, destinations);
        co_await (*proxy)->stop();
      },
      [&](std::exception_ptr) { loop.stop(); });
  loop.run();
  return 0;
}

}  // namespace mcpbox::egress
