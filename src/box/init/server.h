// PID 1 at work: accepts controllers, does what they ask, reaps whoever ends.
//
// One controller is active. A newer one, once it has said hello, replaces it; processes live on without any, unless the
// sandbox is ephemeral: then it ends with its controller.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "box/init/connection.h"
#include "box/init/egress_relay.h"
#include "box/init/event_loop.h"
#include "box/init/farewell.h"
#include "box/init/group_mover.h"
#include "box/init/helper.h"
#include "box/init/process_table.h"
#include "box/init/roots.h"

namespace mcpbox::box::init {

struct ServerOptions {
  uid_t owner = 0;         // the uid that controllers must have (or 0)
  bool ephemeral = false;  // end with the controller, and after a minute without any
  StartWay way;            // how processes are started
  ServerGroups groups;     // where each has a control group
};

class Server {
 public:
  // `listener`: a listening unix socket; `signals`: a signalfd for SIGCHLD and SIGTERM. Both non-blocking. `relay`:
  // null for none.
  Server(ServerOptions options, Roots roots, UniqueFd listener, UniqueFd signals, std::unique_ptr<EgressRelay> relay);
  // Until shutdown. Returns the exit code of PID 1.
  int run();

 private:
  using Serial = std::uint64_t;
  struct Controller {
    std::unique_ptr<Connection> connection;
    bool welcome = false;  // hello was exchanged
    EventLoop::Timer hello_timer = 0;
  };
  // Where a reply goes: nowhere, when the connection that asked is gone.
  struct Origin {
    Serial connection = 0;
    std::uint64_t id = 0;
  };

  void accept_controller();
  void on_frame(Serial serial, const wire::Frame& frame, std::vector<UniqueFd> fds);
  void on_closed(Serial serial, const char* why);
  void hello(Serial serial, const wire::Frame& frame);
  void drop(Serial serial, const char* why);
  void on_signals();
  void reap();

  void dispatch(Origin origin, const wire::Frame& frame, std::vector<UniqueFd> fds);
  void spawn(Origin origin, const wire::Spawn& request, std::vector<UniqueFd> fds);
  void take_group(Origin origin, const wire::TakeGroup& request, std::vector<UniqueFd> fds);
  void kill_uid(Origin origin, const wire::KillUid& request);
  void look_at(LookRequest request, std::function<void(std::optional<LookedClosely>)> done);
  // When the kernel is to take its processes if memory is short.
  void tell_turn(uid_t uid, gid_t gid, std::vector<pid_t> pids, KernelTurn turn);
  // A server uses more than it may.
  void end_server(uid_t uid, const wire::PassedLimit& limit);
  void end_all_of(uid_t uid);
  void keep_ending(uid_t uid);
  bool place(uid_t uid, bool behind, bool apart);
  void say_pressing(uid_t uid, unsigned processors, std::uint64_t tasks);
  void take_leave(const std::string& id, uid_t uid, Patience::Step step);
  void kill_round(Origin origin, wire::KillUid request, EventLoop::Clock::time_point deadline);
  void kill_check(Origin origin, const wire::KillUid& request, EventLoop::Clock::time_point deadline);
  void pack_stream(Origin origin, wire::Pack request, std::vector<UniqueFd> fds);
  void unpack_stream(Origin origin, wire::Unpack request, std::vector<UniqueFd> fds);
  void help(Origin origin, Work work, std::vector<int> keep, std::chrono::milliseconds limit);
  void file_operation(Origin origin, const wire::Frame& frame);
  void end_sandbox();

  template <class Request>
  void with(Origin origin, const wire::Frame& frame, void (Server::*handle)(Origin, const Request&));
  template <class Reply>
  void reply(Origin origin, const Reply& message, const std::vector<int>& fds = {});
  void reply_bytes(Origin origin, std::string_view payload, const std::vector<int>& fds = {});
  void reply_error(Origin origin, const wire::ErrorReply& error);

  ServerOptions options_;
  Roots roots_;
  UniqueFd listener_;
  UniqueFd signals_;
  EventLoop loop_;
  std::unique_ptr<EgressRelay> relay_;
  Accountant accountant_;
  DiskWatch disks_;
  ProcessTable table_;
  Farewell farewell_;
  Helpers helpers_;
  GroupMover mover_;
  std::map<pid_t, std::function<void()>> when_reaped_;    // the killers of uid_killer.h
  std::map<uid_t, EventLoop::Clock::time_point> ending_;  // until when it is killed what each of these has
  // Starts that wait until those of the same user before them are gone, and whether they were given up.
  std::multimap<uid_t, bool> waiting_;
  std::map<Serial, Controller> controllers_;
  Serial active_ = 0;
  Serial next_serial_ = 0;
  std::uint64_t boot_token_ = 0;
};

}  // namespace mcpbox::box::init
