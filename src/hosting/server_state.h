// The life-cycle states of a hosted server, with the names that users and LangBot see.
#pragma once

#include <string_view>

#include "provision/phase.h"

namespace mcpbox::hosting {

enum class ServerState { kStopped, kPreparing, kConnecting, kConnected, kReconnecting, kError };

constexpr std::string_view name_of(ServerState state) {
  switch (state) {
    case ServerState::kStopped:
      return "stopped";
    case ServerState::kPreparing:
      return "preparing";
    case ServerState::kConnecting:
      return "connecting";
    case ServerState::kConnected:
      return "connected";
    case ServerState::kReconnecting:
      return "reconnecting";
    case ServerState::kError:
      return "error";
  }
  return "error";
}

}  // namespace mcpbox::hosting
