// Part of server.h: what each request does.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <algorithm>

#include "box/init/close_look.h"
#include "box/init/identify.h"
#include "box/init/oom_score.h"
#include "box/init/pack.h"
#include "box/init/prepare.h"
#include "box/init/seal.h"
#include "box/init/server.h"
#include "box/init/small_files.h"
#include "box/init/tree_make.h"
#include "box/init/tree_remove.h"
#include "box/init/uid_killer.h"
#include "box/init/unpack.h"

namespace mcpbox::box::init {
namespace {

using std::chrono::milliseconds;

// Longer than any caller waits; a helper that is still at it then hangs on something.
constexpr milliseconds kFileTime = std::chrono::minutes(2);
constexpr milliseconds kTurnTime{1000};
constexpr int kFirstToEnd = 1000;                     // the most that proc_pid_oom_score_adj(5) has
constexpr milliseconds kEndTime{5000}, kEndPause{2};  // of who passed a limit
constexpr milliseconds kTreeTime = std::chrono::minutes(15);

Op<std::string> no_bytes(Op<void> result) {
  if (!result) return std::unexpected(std::move(result.error()));
  return std::string();
}

template <class Reply>
Op<std::string> as_bytes(Op<Reply> result) {
  if (!result) return std::unexpected(std::move(result.error()));
  auto bytes = wire::encode(*result);
  if (!bytes) return refuse(Code::kResourceExhausted, "answer", "the answer is too large");
  return std::move(*bytes);
}

}  // namespace

template <class Reply>
void Server::reply(Origin origin, const Reply& message, const std::vector<int>& fds) {
  auto payload = wire::encode(message);
  if (payload) return reply_bytes(origin, *payload, fds);
  reply_error(origin, wire::make_error(Code::kResourceExhausted, "answer", "the answer is too large"));
}
template void Server::reply(Origin, const wire::HelloReply&, const std::vector<int>&);

template <class Request>
void Server::with(Origin origin, const wire::Frame& frame, void (Server::*handle)(Origin, const Request&)) {
  if (auto request = wire::decode<Request>(frame.payload)) return (this->*handle)(origin, *request);
  drop(origin.connection, "a message of it cannot be decoded");
}

void Server::dispatch(Origin origin, const wire::Frame& frame, std::vector<UniqueFd> fds) {
  using enum wire::MessageType;
  switch (frame.type) {
    case kSpawn:
      if (auto request = wire::decode<wire::Spawn>(frame.payload)) return spawn(origin, *request, std::move(fds));
      break;
    case kCloseStdin:
      if (auto request = wire::decode<wire::CloseStdin>(frame.payload)) {
        auto process = table_.find(request->id);
        if (!process) return reply_error(origin, process.error());
        Process& told = **process;
        told.pipes.in.reset();
        if (request->ending && told.running && !told.starting)
          farewell_.begin(told.id, told.pid, told.uid, accountant_.has_been_busy(told.uid));
        return reply(origin, wire::Done{});
      }
      break;
    case kSignal:
      if (auto request = wire::decode<wire::Signal>(frame.payload)) {
        auto process = table_.find(request->id);
        if (!process) return reply_error(origin, process.error());
        const std::string step = "signal process '" + request->id + "'";
        // Its pid is ours until it is reaped, and a reaped one is not running.
        if (!(*process)->running)
          return reply_error(origin, wire::make_error(Code::kFailedPrecondition, step, "it has ended"));
        if (request->signal == SIGKILL) (*process)->killed_by_us = true;
        if (::kill((*process)->pid, request->signal) != 0)
          return reply_error(origin, wire::make_errno_error(errno, step));
        return reply(origin, wire::Done{});
      }
      break;
    case kKillUid:
      return with<wire::KillUid>(origin, frame, &Server::kill_uid);
    case kList:
      if (wire::decode<wire::List>(frame.payload)) return reply(origin, wire::ListReply{table_.list()});
      break;
    case kForget:
      if (auto request = wire::decode<wire::Forget>(frame.payload)) {
        if (auto forgotten = table_.forget(request->id); !forgotten) return reply_error(origin, forgotten.error());
        return reply(origin, wire::Done{});
      }
      break;
    case kUnpack:
      if (auto request = wire::decode<wire::Unpack>(frame.payload)) {
        return unpack_stream(origin, std::move(*request), std::move(fds));
      }
      break;
    case kPack:
      if (auto request = wire::decode<wire::Pack>(frame.payload)) {
        return pack_stream(origin, std::move(*request), std::move(fds));
      }
      break;
    case kTakeGroup:
      if (auto request = wire::decode<wire::TakeGroup>(frame.payload))
        return take_group(origin, *request, std::move(fds));
      break;
    case kShutdown:
      if (wire::decode<wire::Shutdown>(frame.payload)) {
        reply(origin, wire::Done{});
        return end_sandbox();
      }
      break;
    default:
      return file_operation(origin, frame);
  }
  drop(origin.connection, "a message of it cannot be decoded");
}

void Server::spawn(Origin origin, const wire::Spawn& request, std::vector<UniqueFd> fds) {
  // Who kills what a server before it has cannot tell one from the other. What is still there after kEndTime hangs in
  // the kernel, and is in nobody's way.
  if (ending_.contains(request.uid)) {
    auto kept = std::make_shared<std::vector<UniqueFd>>(std::move(fds));
    const auto waits = waiting_.emplace(request.uid, false);
    loop_.at(EventLoop::Clock::now() + kEndPause, [this, origin, request, kept, waits] {
      const bool given_up = waits->second;
      waiting_.erase(waits);
      if (!controllers_.contains(origin.connection)) return;
      if (!given_up) return spawn(origin, request, std::move(*kept));
      reply_error(origin, wire::make_error(Code::kCancelled, "start process '" + request.id + "'",
                                           "it was to be killed before it had started"));
    });
    return;
  }
  table_.start(request, std::move(fds), [this, origin](Op<Process*> started) {
    if (!started) return reply_error(origin, started.error());
    const Pipes& pipes = (*started)->pipes;
    std::vector<int> ours;
    if (pipes.in) ours = {pipes.in.get(), pipes.out.get(), pipes.err.get()};
    for (const UniqueFd& each : (*started)->ways_in) ours.push_back(each.get());
    reply(origin, wire::SpawnReply{(*started)->pid}, ours);
    (*started)->ways_in.clear();
  });
}

void Server::take_group(Origin origin, const wire::TakeGroup& request, std::vector<UniqueFd> fds) {
  if (fds.empty() || fds.size() > 2) return drop(origin.connection, "a group comes with one or two descriptors");
  // Who runs already would stay outside, one among the groups, and could not be put behind.
  const bool runs = std::ranges::any_of(table_.all(), [](const auto& each) { return each.second->running; });
  if (runs && !options_.groups.any())
    return reply_error(origin, wire::make_error(Code::kFailedPrecondition, "take a control group for servers",
                                                "servers run without one already"));
  auto taken = options_.groups.take(std::move(fds.front()), fds.size() > 1 ? std::move(fds.back()) : UniqueFd(),
                                    request.processors);
  if (!taken) return reply_error(origin, taken.error());
  accountant_.count_also(options_.groups.idle_usage());
  table_.get_ready();
  reply(origin, wire::Done{});
}

void Server::kill_uid(Origin origin, const wire::KillUid& request) {
  if (request.signal != SIGKILL && request.signal != SIGTERM) {
    return reply_error(origin, wire::make_error(Code::kInvalidArgument, "signal a uid", "only SIGTERM and SIGKILL"));
  }
  if (request.signal == SIGKILL) {
    const auto [first, last] = waiting_.equal_range(request.uid);
    for (auto each = first; each != last; ++each) each->second = true;
    table_.mark_killed(request.uid);
    accountant_.stand_aside(request.uid);
  }
  kill_round(origin, request, EventLoop::Clock::now() + milliseconds(std::min(request.timeout_ms, 60'000u)));
}

bool Server::place(uid_t uid, bool behind, bool apart) {
  const auto placed = table_.place(uid, behind);
  for (const std::string& group : placed) mover_.put(group, behind && apart);
  return !placed.empty();
}

void Server::look_at(LookRequest request, std::function<void(std::optional<LookedClosely>)> done) {
  // Twice the time, and a little: one process alone may take long.
  const milliseconds limit = 2 * request.time + kTurnTime;
  auto work = [request = std::move(request)](const Answer& answer) { answer(look_closely(request)); };
  helpers_.start(std::move(work), {}, limit,
                 [done = std::move(done)](const Op<std::string>& result) { done(parse_look(result)); });
}

void Server::tell_turn(uid_t uid, gid_t gid, std::vector<pid_t> pids, KernelTurn turn) {
  const int usual = table_.oom_score(uid);
  // A thousand is all of the sandbox's memory. From the 500 that mcpbox asks for to here, and from here to the first,
  // it is a quarter of that; from another score it is half of what the score leaves.
  const int early = (usual + kFirstToEnd) / 2;
  const int score = turn == KernelTurn::kUsual ? usual : turn == KernelTurn::kEarly ? early : kFirstToEnd;
  auto work = [uid, gid, score, pids = std::move(pids)](const Answer& answer) {
    set_oom_scores(uid, gid, pids, score);
    answer(std::string());
  };
  helpers_.start(std::move(work), {}, kTurnTime, [](const Op<std::string>&) {});
}

void Server::end_server(uid_t uid, const wire::PassedLimit& limit) {
  ::dprintf(2, "mcpbox-init: uid %u passes limit %d: %llu of %llu\n", uid, static_cast<int>(limit.which),
            static_cast<unsigned long long>(limit.use), static_cast<unsigned long long>(limit.bound));
  table_.note_passed(uid, limit);
  accountant_.hold_against(uid);
  end_all_of(uid);
}

void Server::say_pressing(uid_t uid, unsigned processors, std::uint64_t tasks) {
  const auto controller = controllers_.find(active_);
  if (controller == controllers_.end()) return;
  for (const auto& [id, process] : table_.all()) {
    if (process->uid != uid || !process->running || process->starting) continue;
    auto payload = wire::encode(wire::Presses{id, processors, tasks});
    if (payload) controller->second.connection->send(wire::MessageType::kPresses, 0, *payload);
  }
}

void Server::take_leave(const std::string& id, uid_t uid, Patience::Step step) {
  if (step == Patience::Step::kKill) return end_all_of(uid);
  if (auto process = table_.find(id)) (void)::kill((*process)->pid, SIGTERM);
}

void Server::end_all_of(uid_t uid) {
  table_.mark_killed(uid);
  accountant_.stand_aside(uid);
  const auto until = EventLoop::Clock::now() + kEndTime;
  const auto [found, fresh] = ending_.try_emplace(uid, until);
  found->second = until;
  if (fresh) keep_ending(uid);
}

// What does not die soon (it waits for a disk, or has much memory to give back) is not looked for at every millisecond
// by everybody who finds that it is still there.
void Server::keep_ending(uid_t uid) {
  const auto check = [this, uid] {
    const auto found = ending_.find(uid);
    if (found == ending_.end()) return;
    const bool gone = std::max(count_of_uid(uid), table_.starting(uid)) == 0;
    if (gone || EventLoop::Clock::now() >= found->second) return (void)ending_.erase(found);
    loop_.at(EventLoop::Clock::now() + kEndPause, [this, uid] {
      if (ending_.contains(uid)) keep_ending(uid);
    });
  };
  auto killer = signal_uid(uid, SIGKILL);
  if (killer && *killer > 0) {
    when_reaped_[*killer] = check;
  } else {
    loop_.at(EventLoop::Clock::now() + kEndPause, check);
  }
}

void Server::kill_round(Origin origin, wire::KillUid request, EventLoop::Clock::time_point deadline) {
  auto killer = signal_uid(request.uid, request.signal);
  if (!killer) return reply_error(origin, killer.error());
  if (*killer > 0) {
    when_reaped_[*killer] = [this, origin, request, deadline] { kill_check(origin, request, deadline); };
  } else {
    loop_.at(EventLoop::Clock::now() + milliseconds(2),
             [this, origin, request, deadline] { kill_check(origin, request, deadline); });
  }
}

void Server::kill_check(Origin origin, const wire::KillUid& request, EventLoop::Clock::time_point deadline) {
  const auto waiting = static_cast<unsigned>(waiting_.count(request.uid));
  const unsigned alive = std::max(count_of_uid(request.uid), table_.starting(request.uid) + waiting);
  if (request.signal != SIGKILL || alive == 0 || EventLoop::Clock::now() >= deadline) {
    return reply(origin, wire::KillUidReply{alive});
  }
  // What was killed needs a moment to end and to be reaped.
  loop_.at(EventLoop::Clock::now() + milliseconds(1),
           [this, origin, request, deadline] { kill_round(origin, request, deadline); });
}

void Server::unpack_stream(Origin origin, wire::Unpack request, std::vector<UniqueFd> fds) {
  if (fds.size() != 1) return drop(origin.connection, "an unpack request needs one descriptor");
  auto stream = std::make_shared<UniqueFd>(std::move(fds.front()));
  const auto limit = milliseconds(std::min(request.timeout_ms, 3'600'000u));
  const int fd = stream->get();
  // The helper keeps time itself, so that it can clean up; ours is for a helper that hangs.
  help(
      origin,
      [this, request, stream, limit](const Answer& answer) {
        answer(unpack(roots_, request, stream->get(), EventLoop::Clock::now() + limit));
      },
      {fd}, limit + std::chrono::minutes(2));
}

void Server::pack_stream(Origin origin, wire::Pack request, std::vector<UniqueFd> fds) {
  if (fds.size() != 1) return drop(origin.connection, "a pack request needs one descriptor");
  auto stream = std::make_shared<UniqueFd>(std::move(fds.front()));
  const auto limit = milliseconds(std::min(request.timeout_ms, 3'600'000u));
  const int fd = stream->get();
  help(
      origin,
      [this, request, stream, limit](const Answer& answer) {
        answer(pack(roots_, request, stream->get(), EventLoop::Clock::now() + limit));
      },
      {fd}, limit + std::chrono::seconds(30));
}

void Server::help(Origin origin, Work work, std::vector<int> keep, milliseconds limit) {
  const std::vector<int> roots = roots_.descriptors();
  keep.insert(keep.end(), roots.begin(), roots.end());
  helpers_.start(std::move(work), std::move(keep), limit, [this, origin](Op<std::string> result) {
    if (result) return reply_bytes(origin, *result);
    reply_error(origin, result.error());
  });
}

void Server::file_operation(Origin origin, const wire::Frame& frame) {
  using enum wire::MessageType;
  bool decoded = true;
  // Runs `operate(request, deadline)` in a helper.
  const auto run = [&]<class Request>(std::in_place_type_t<Request>, milliseconds limit, auto operate) {
    auto request = wire::decode<Request>(frame.payload);
    decoded = request.has_value();
    if (!decoded) return;
    help(
        origin,
        [this, request = std::move(*request), limit, operate](const Answer& answer) {
          operate(roots_, request, EventLoop::Clock::now() + limit, answer);
        },
        {}, limit + std::chrono::seconds(5));
  };
  switch (frame.type) {
    case kPrepare:
      run(std::in_place_type<wire::Prepare>, kFileTime,
          [](const Roots& roots, const auto& request, auto until, const Answer& answer) {
            answer(no_bytes(prepare(roots, request, until)));
          });
      break;
    case kShareDirectory:
      run(std::in_place_type<wire::ShareDirectory>, kFileTime,
          [](const Roots& roots, const auto& request, auto, const Answer& answer) {
            answer(no_bytes(share_directory(roots, request)));
          });
      break;
    case kPublish:
      run(std::in_place_type<wire::Publish>, kTreeTime,
          [](const Roots& roots, const auto& request, auto until, const Answer& answer) {
            auto published = publish(roots, request);
            if (!published) return answer(std::unexpected(published.error()));
            answer(std::string());
            remove_put_aside(*published, until);
          });
      break;
    case kSeal:
      run(std::in_place_type<wire::Seal>, kTreeTime,
          [](const Roots& roots, const auto& request, auto until, const Answer& answer) {
            answer(no_bytes(seal(roots, request, until)));
          });
      break;
    case kRemoveTree:
      run(std::in_place_type<wire::RemoveTree>, kTreeTime,
          [](const Roots& roots, const auto& request, auto until, const Answer& answer) {
            answer(no_bytes(remove_tree(roots, request, until)));
          });
      break;
    case kReadFile:
      run(std::in_place_type<wire::ReadFile>, kFileTime,
          [](const Roots& roots, const auto& request, auto, const Answer& answer) {
            answer(as_bytes(read_file(roots, request)));
          });
      break;
    case kListDirectory:
      run(std::in_place_type<wire::ListDirectory>, kFileTime,
          [](const Roots& roots, const auto& request, auto, const Answer& answer) {
            answer(as_bytes(list_directory(roots, request)));
          });
      break;
    case kIdentify:
      run(std::in_place_type<wire::Identify>, kFileTime,
          [](const Roots&, const auto& request, auto, const Answer& answer) {
            answer(as_bytes(Op<wire::IdentifyReply>(identify(request))));
          });
      break;
    default:
      decoded = false;
  }
  if (!decoded) drop(origin.connection, "a message of it cannot be decoded");
}

}  // namespace mcpbox::box::init
