#include "box/link/exchange.h"

#include <fmt/core.h>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/text.h"
#include "box/link/supervisor_convert.h"

namespace mcpbox::box {

namespace asio = boost::asio;

struct Exchange::Remove {
  std::shared_ptr<Exchange> exchange;
  std::uint64_t id;
  ~Remove() { exchange->waiters_.erase(id); }
};

Exchange::Exchange(asio::any_io_executor executor, UniqueFd socket)
    : executor_(std::move(executor)), socket_(std::make_shared<SupervisorSocket>(executor_, std::move(socket))) {}

void Exchange::start() {
  socket_->start(
      [weak = weak_from_this()](std::string_view bytes, std::vector<UniqueFd> fds) {
        if (auto self = weak.lock()) self->received(bytes, std::move(fds));
      },
      [weak = weak_from_this()](const Error& error) {
        if (auto self = weak.lock()) self->lose(error);
      });
}

Task<Exchange::Outcome> Exchange::send_and_wait(SupervisorLink::Request request, std::chrono::milliseconds timeout,
                                                std::vector<UniqueFd> fds) {
  // The timer is the deadline and the bell at once: whoever has the answer moves it to the past.
  auto waiter = std::make_shared<Waiter>(executor_);
  waiter->timer.expires_after(timeout);
  waiters_[request.id] = waiter;
  const Remove remove{shared_from_this(), request.id};  // also when this coroutine is destroyed
  if (auto sent = socket_->send(std::move(request.bytes), std::move(fds)); !sent) co_return refusal(sent.error());
  boost::system::error_code ended;
  co_await waiter->timer.async_wait(asio::redirect_error(asio::use_awaitable, ended));
  if (waiter->outcome) co_return std::move(*waiter->outcome);
  if (ended) co_return unknown(Error(Code::kCancelled, "the request to the sandbox's supervisor was cancelled"));
  co_return unknown(Error(Code::kTimeout, fmt::format("the sandbox's supervisor did not answer within {}",
                                                      human_milliseconds(static_cast<double>(timeout.count())))));
}

void Exchange::on_exit(Supervisor::ExitHandler handler) {
  exit_handler_ = std::move(handler);
  if (!exit_handler_) return;
  for (auto& event : std::exchange(early_exits_, {})) deliver(event);
}

void Exchange::on_lost(Supervisor::LostHandler handler) {
  if (lost_ && handler) return handler(*lost_);
  lost_handler_ = std::move(handler);
}

void Exchange::close() {
  exit_handler_ = nullptr;
  pressure_handler_ = nullptr;
  lost_handler_ = nullptr;
  socket_->close();
  if (!lost_) lose(Error(Code::kUnavailable, "the link to the sandbox's supervisor was closed"));
}

void Exchange::received(std::string_view bytes, std::vector<UniqueFd> fds) {
  if (auto fed = link_.feed(bytes, std::move(fds)); !fed) {
    socket_->close();
    return lose(fed.error());
  }
  while (auto event = link_.next()) {
    if (auto* exited = std::get_if<wire::Exited>(&*event)) {
      deliver(*exited);
    } else if (auto* presses = std::get_if<wire::Presses>(&*event)) {
      const auto handler = pressure_handler_;  // it may replace itself
      if (handler && !muted_.contains(presses->id))
        handler(presses->id, {presses->processors / 1000.0, presses->tasks});
    } else {
      answer(std::get<SupervisorLink::Reply>(*event));
    }
    if (lost_) return;
  }
}

void Exchange::answer(SupervisorLink::Reply& reply) {
  const auto found = waiters_.find(reply.id);
  if (found == waiters_.end()) return;  // timed out or cancelled: its descriptors are closed here
  const auto waiter = std::move(found->second);
  waiters_.erase(found);
  if (reply.payload) {
    waiter->outcome = Answer{std::move(*reply.payload), std::move(reply.fds)};
  } else {
    waiter->outcome = refusal(reply.payload.error());
  }
  waiter->timer.expires_at(asio::steady_timer::time_point::min());
}

void Exchange::deliver(const wire::Exited& exited) {
  if (muted_.contains(exited.id)) return;
  if (!exit_handler_) {
    early_exits_.push_back(exited);
    return;
  }
  const auto handler = exit_handler_;  // it may replace itself
  handler(exited.id, to_exit(exited.exit));
}

void Exchange::lose(const Error& error) {
  if (lost_) return;
  lost_ = error;
  for (auto& [id, waiter] : std::exchange(waiters_, {})) {
    waiter->outcome = unknown(error);
    waiter->timer.expires_at(asio::steady_timer::time_point::min());
  }
  if (auto handler = std::exchange(lost_handler_, nullptr)) handler(error);
}

}  // namespace mcpbox::box
