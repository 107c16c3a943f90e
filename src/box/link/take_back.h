// Ends what may have been started without our knowing: the answer to a spawn was lost, came too late, or nobody waits
// for it any more.
//
// Everything of the uid is killed and the id forgotten, so that both can be used again. Runs by itself and needs no
// waiting coroutine, because a cancelled one cannot wait. One executor; ends early when the link is lost, because the
// next controller of a sandbox kills what it finds.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <list>
#include <memory>
#include <string>

#include "box/link/exchange.h"
#include "net/task.h"
#include "net/wait.h"

namespace mcpbox::box {

class TakeBack : public std::enable_shared_from_this<TakeBack> {
 public:
  TakeBack(std::shared_ptr<Exchange> exchange, std::chrono::milliseconds request_time)
      : exchange_(std::move(exchange)), request_time_(request_time), changed_(exchange_->executor()) {}

  // The process's exit is not reported.
  void begin(std::string process_id, uid_t uid);
  // Until nothing of that id or uid is being taken back. Throws operation_aborted when it is cancelled.
  Task<void> wait(std::string process_id, uid_t uid);

 private:
  struct Item {
    std::string process_id;
    uid_t uid = 0;
  };
  Task<void> run(std::list<Item>::iterator item);

  std::shared_ptr<Exchange> exchange_;
  const std::chrono::milliseconds request_time_;
  net::Signal changed_;
  std::list<Item> items_;
};

}  // namespace mcpbox::box
