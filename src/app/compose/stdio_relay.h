// The byte path of `mcpbox run`: the client's stdin and stdout on one side, a sandboxed server's pipes on the other.
//
// One thread in one poll(2) loop, with nothing else on it: two system calls and one wake-up a direction. What passes is
// decided by mcp::StdioFilter. A reader that is slow stops the writer, not the relay: at most 1 MiB is held a
// direction.
#pragma once

#include <atomic>
#include <cerrno>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "mcp/stdio_filter.h"

namespace mcpbox::app {

struct RelayEnds {
  UniqueFd client_in;   // we read what the client says
  UniqueFd client_out;  // we write what the client reads
  UniqueFd log;         // stderr: the server's stderr and whatever is no message
  UniqueFd server_in;
  UniqueFd server_out;
  UniqueFd server_err;
};

class StdioRelay {
 public:
  struct Events {
    std::function<void()> client_closed;  // end of the client's input, once everything before it was passed on;
                                          // server_in is closed by then
    std::function<void()> client_gone;    // nobody reads the client's side any more
  };

  StdioRelay(RelayEnds ends, Events events);
  ~StdioRelay();

  // Runs until the server's stdout and stderr have ended and everything was passed on, or until abandon(). The events
  // are called on the calling thread.
  void run();

  // After run(): tells the client about the requests that will not be answered any more. Gives up after two seconds.
  void fail_pending(std::string_view message);

  // After run(): errno when the client's side could not be written, 0 otherwise. A client that went away is no error:
  // it is how most sessions end.
  int client_error() const { return client_out_.error == EPIPE ? 0 : client_out_.error; }

  // From any thread: run() returns soon, with what can be written at once.
  void abandon();
  // From any thread: requests without an answer yet.
  std::size_t in_flight() const { return in_flight_.load(std::memory_order_relaxed); }

 private:
  struct Outlet {
    UniqueFd fd;
    std::string pending;
    std::size_t sent = 0;  // of pending
    bool broken = false;
    int error = 0;  // of the write that broke it
    void break_with(int number) {
      broken = true;
      error = number;
    }
    bool waiting() const { return !broken && sent < pending.size(); }
    bool full() const { return !broken && pending.size() - sent > (1u << 20); }
  };

  void write_pieces(Outlet& outlet, const std::vector<std::string_view>& pieces);
  void write_text(Outlet& outlet, std::string_view text);
  void flush(Outlet& outlet);
  void drain(Outlet& outlet);  // two seconds at most
  void write_log_line(std::string_view line);
  void write_log_bytes(std::string_view bytes);
  void read_client();
  void read_server();
  void read_server_err();
  void close_server_in();

  Events events_;
  UniqueFd client_in_, server_out_, server_err_, wake_;
  Outlet client_out_, server_in_, log_;
  bool log_is_terminal_ = false;
  bool client_input_ended_ = false;
  bool client_gone_told_ = false;
  mcp::StdioFilter filter_;
  std::string buffer_;
  std::string log_partial_;
  std::atomic<std::size_t> in_flight_{0};
  std::atomic<bool> abandoned_{false};
};

// The same open file, opened again without blocking where it is a pipe or a terminal (our caller shares the original
// description, and O_NONBLOCK on it would surprise it); sockets get the flag, regular files cannot block.
Result<UniqueFd> nonblocking_view(int fd, bool for_writing);

}  // namespace mcpbox::app
