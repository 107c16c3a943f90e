#include "box/native/builder.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstring>
#include <memory>
#include <utility>

#include "base/errno_error.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "net/adopt.h"
#include "net/child_process.h"
#include "net/uninterrupted.h"
#include "sys/child.h"
#include "sys/small_file.h"

namespace mcpbox::box {
namespace {

namespace asio = boost::asio;
constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kMaxReply = 64 << 10;

struct Pipe {
  UniqueFd read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(errno_error(errno, "a pipe for mcpbox-init"));
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// What mcpbox-init was asked for.
std::string task_of(const wire::BuildSpec& spec) {
  return spec.sweep.empty() ? "make the sandbox" : "remove " + printable(join(spec.sweep, ", "), 500);
}

Error error_of(const wire::ErrorReply& reply, const std::string& task) {
  std::string text = fmt::format("the native engine could not {}: {}", task, printable(reply.step, 500));
  if (!reply.text.empty()) text += ": " + printable(reply.text, 500);
  if (reply.error_number != 0) text += fmt::format(": {}", std::strerror(reply.error_number));
  const bool denied = reply.error_number == EPERM || reply.error_number == EACCES || reply.error_number == ENOSPC ||
                      reply.error_number == EUSERS;
  if (denied) {
    if (const std::string hint = namespace_hint(); !hint.empty()) text += "; " + hint;
  }
  return Error(wire::code_of(reply), std::move(text));
}

Task<Result<void>> run_to_end(std::string path, wire::BuildSpec what, std::chrono::milliseconds limit) {
  wire::Encoder encoder;
  encoder(what);
  const std::string bytes = encoder.take();
  if (!encoder.ok() || bytes.size() > wire::kMaxBuildSpec)
    co_return fail(Code::kInvalidArgument, "the sandbox's description is too long");
  auto down = make_pipe();
  auto up = make_pipe();
  if (!down || !up) co_return fail(Code::kResourceExhausted, "no descriptors left for mcpbox-init");
  sys::SpawnOptions options;
  options.program = path;
  options.argv = {path, "--build"};
  options.descriptors = {{down->read.get(), 3}, {up->write.get(), 4}};
  options.session = true;
  auto spawned = sys::spawn(options);
  if (!spawned) co_return fail(std::move(spawned).error());
  const auto child = std::make_shared<sys::Child>(std::move(*spawned));
  down->read.reset();
  up->write.reset();

  const auto executor = co_await asio::this_coro::executor;
  asio::posix::stream_descriptor out(executor);
  net::adopt(out, std::move(down->write));
  asio::posix::stream_descriptor in(executor);
  net::adopt(in, std::move(up->read));
  asio::steady_timer timer(executor, limit);
  const auto until = std::chrono::steady_clock::now() + limit;
  // Its pipes break, and with them the waits below. The handler can outlive this function by a turn of the loop.
  timer.async_wait([weak = std::weak_ptr(child)](const boost::system::error_code& error) {
    if (const auto still = weak.lock(); still && !error) still->kill_group();
  });
  // A broken pipe here is explained by the reply.
  (void)co_await asio::async_write(out, asio::buffer(bytes), kTuple);
  out.close();
  std::string reply;
  std::array<char, 4096> buffer;
  while (reply.size() < kMaxReply) {
    auto [error, got] = co_await in.async_read_some(asio::buffer(buffer), kTuple);
    if (error) break;
    reply.append(buffer.data(), got);
    if (wire::decode<wire::BuildReply>(reply)) break;  // PID 1 holds the other end for a moment longer
  }
  const bool ended = co_await net::wait_for_end(*child, until);
  timer.cancel();
  if (!ended || std::chrono::steady_clock::now() >= until)
    co_return fail(Code::kTimeout, fmt::format("mcpbox-init did not {} within {} s", task_of(what),
                                               std::chrono::duration_cast<std::chrono::seconds>(limit).count()));
  auto decoded = wire::decode<wire::BuildReply>(reply);
  if (!decoded)
    co_return fail(Code::kInternal, fmt::format("{} ended without an answer; is it of this build?", printable(path)));
  if (!decoded->made) co_return fail(error_of(decoded->error, task_of(what)));
  co_return Result<void>{};
}

}  // namespace

std::string namespace_hint() {
  const auto is = [](const char* path, std::string_view value) {
    return trim(sys::read_file(path).value_or("")) == value;
  };
  if (is("/proc/sys/user/max_user_namespaces", "0"))
    return "user namespaces are switched off: set sysctl user.max_user_namespaces=10000";
  if (::geteuid() == 0) return {};
  if (is("/proc/sys/kernel/unprivileged_userns_clone", "0"))
    return "user namespaces are for root only here: set sysctl kernel.unprivileged_userns_clone=1";
  if (is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1")) {
    return "AppArmor keeps programs without a profile from using user namespaces: give mcpbox-init a profile with "
           "'userns,', or set sysctl "
           "kernel.apparmor_restrict_unprivileged_userns=0";
  }
  return {};
}

Task<Result<void>> run_builder(std::string init_path, wire::BuildSpec spec, std::chrono::milliseconds limit) {
  // What the builder has begun it alone can take back. It ends within the limit.
  return net::uninterrupted(run_to_end(std::move(init_path), std::move(spec), limit));
}

}  // namespace mcpbox::box
