#include "egress/proxy/lookup_process.h"

#include <fmt/format.h>
#include <netdb.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/unique_fd.h"
#include "egress/control/stream.h"

namespace mcpbox::egress {
namespace {

constexpr std::size_t kMaxAddresses = 16;
constexpr std::size_t kMaxMessage = 1024;
constexpr unsigned kLongestSeconds = 30;  // the resolver gives up long before
constexpr std::size_t kAddressBytes = 1 + sizeof(IpAddress::bytes);

std::unexpected<Error> no_process(const std::string& name, int error) {
  return fail(Code::kUnavailable, fmt::format("cannot resolve {}: no process for it: {}", name, std::strerror(error)));
}

// The code of an error and its message, or a zero byte that no code has and the addresses.
std::string encode(const Result<std::vector<IpAddress>>& answer) {
  if (!answer)
    return static_cast<char>(static_cast<int>(answer.error().code()) + 1) +
           answer.error().message().substr(0, kMaxMessage);
  std::string out(1, '\0');
  for (const IpAddress& address : *answer) {
    out += address.v6 ? '6' : '4';
    out.append(address.bytes.begin(), address.bytes.end());
  }
  return out;
}

Result<std::vector<IpAddress>> decode(std::string_view text, const std::string& name) {
  if (text.empty()) return fail(Code::kUnavailable, fmt::format("cannot resolve {}: its look-up ended", name));
  const int code = static_cast<unsigned char>(text.front()) - 1;
  text.remove_prefix(1);
  if (code >= 0) return fail(static_cast<Code>(std::min(code, static_cast<int>(Code::kInternal))), std::string(text));
  std::vector<IpAddress> out;
  for (; text.size() >= kAddressBytes && out.size() < kMaxAddresses; text.remove_prefix(kAddressBytes)) {
    IpAddress& address = out.emplace_back();
    address.v6 = text[0] == '6';
    std::copy_n(text.begin() + 1, address.bytes.size(), address.bytes.begin());
  }
  return out;
}

// Waits until the parent has a handle of it: a process that is gone before has given its number away.
[[noreturn]] void look_up(int channel, const std::string& name,
                          const std::function<Result<std::vector<IpAddress>>(const std::string&)>& lookup) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  ::signal(SIGALRM, SIG_DFL);
  ::alarm(kLongestSeconds);
  if (channel > 3) ::syscall(SYS_close_range, 3u, static_cast<unsigned>(channel) - 1, 0u);
  ::syscall(SYS_close_range, static_cast<unsigned>(channel) + 1, ~0u, 0u);
  char go = 0;
  if (::recv(channel, &go, 1, 0) != 1) ::_exit(1);
  const std::string answer = encode(lookup(name));
  ::_exit(::send(channel, answer.data(), answer.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(answer.size()) ? 0 : 1);
}

class Process {
 public:
  explicit Process(UniqueFd pidfd) : pidfd_(std::move(pidfd)) {}
  // Without waiting: run_egress() leaves it to the kernel to take ended children away.
  ~Process() {
    ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
    siginfo_t ended{};
    ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd_.get()), &ended, WEXITED | WNOHANG);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

 private:
  UniqueFd pidfd_;
};

}  // namespace

Result<std::vector<IpAddress>> lookup_addresses(const std::string& name) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(name.c_str(), nullptr, &hints, &list);
  if (error != 0) {
    const bool absent = error == EAI_NONAME || error == EAI_NODATA;
    return fail(absent ? Code::kNotFound : Code::kUnavailable,
                fmt::format("cannot resolve {}: {}", name, ::gai_strerror(error)));
  }
  std::vector<IpAddress> out;
  for (const addrinfo* item = list; item != nullptr && out.size() < kMaxAddresses; item = item->ai_next) {
    const auto address = IpAddress::from_sockaddr(item->ai_addr);
    if (address && std::ranges::find(out, *address) == out.end()) out.push_back(*address);
  }
  ::freeaddrinfo(list);
  return out;
}

Task<Result<std::vector<IpAddress>>> lookup_in_process(
    std::string name, std::function<Result<std::vector<IpAddress>>(const std::string&)> lookup) {
  Stream channel(co_await boost::asio::this_coro::executor);
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) co_return no_process(name, errno);
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) co_return no_process(name, errno);
  if (pid == 0) look_up(theirs.get(), name, lookup);
  theirs.reset();
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) co_return no_process(name, errno);  // it ends when its channel does
  const Process process(std::move(pidfd));
  boost::system::error_code error;
  channel.assign(boost::asio::generic::stream_protocol(AF_UNIX, 0), ours.get(), error);
  if (error) co_return no_process(name, error.value());
  (void)ours.release();
  if (::send(channel.native_handle(), "g", 1, MSG_NOSIGNAL) != 1) co_return no_process(name, errno);
  std::string answer;
  while (!error && answer.size() <= kMaxMessage) {
    char piece[kMaxMessage];
    std::size_t size = 0;
    std::tie(error, size) = co_await channel.async_read_some(boost::asio::buffer(piece), kTuple);
    answer.append(piece, size);
  }
  if (error == boost::asio::error::operation_aborted)
    co_return fail(Code::kCancelled, fmt::format("the look-up of {} was given up", name));
  co_return decode(answer, name);
}

}  // namespace mcpbox::egress
