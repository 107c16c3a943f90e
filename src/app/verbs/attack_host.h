// A service of this machine that no server may reach: it tells whoever connects a text, as long as it lives.
#pragma once

#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"

namespace mcpbox::app {

class HostService {
 public:
  // On every address of this machine, at a port that the kernel chooses; port() is 0 where that fails.
  explicit HostService(std::string text);
  ~HostService();
  HostService(const HostService&) = delete;
  HostService& operator=(const HostService&) = delete;

  int port() const { return port_; }
  // Addresses of this machine, bridges' included, without those that need an interface's name.
  static std::vector<std::string> addresses();

 private:
  void serve();

  std::string text_;
  UniqueFd listening_;
  UniqueFd over_read_, over_write_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace mcpbox::app
