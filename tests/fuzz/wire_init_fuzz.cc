// What a controller sends to mcpbox-init: frames, every request's decoder, and the checks before a fork.
#include <cstdint>

#include "box/init/spawn.h"
#include "box/wire/messages.h"

namespace {

using namespace mcpbox::box;

template <class... Messages>
void decode_if_type(const wire::Frame& frame) {
  (
      [&] {
        if (frame.type != Messages::kType) return;
        auto message = wire::decode<Messages>(frame.payload);
        if (!message) return;
        auto again = wire::encode(*message);
        if (!again || *again != frame.payload) __builtin_trap();
      }(),
      ...);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t step = data[0] + 1u;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  wire::FrameReader reader;
  while (!bytes.empty()) {
    reader.feed(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
    while (true) {
      auto frame = reader.next();
      if (!frame) return 0;
      if (!*frame) break;
      decode_if_type<wire::Hello, wire::Spawn, wire::CloseStdin, wire::Signal, wire::KillUid, wire::List, wire::Forget,
                     wire::Prepare, wire::ShareDirectory, wire::Unpack, wire::Publish, wire::Seal, wire::RemoveTree,
                     wire::ReadFile, wire::ListDirectory, wire::Shutdown>(**frame);
      if ((*frame)->type == wire::MessageType::kSpawn) {
        if (auto spawn = wire::decode<wire::Spawn>((*frame)->payload)) {
          if (init::check_spawn(*spawn, (*frame)->fd_count) && (spawn->uid == 0 || spawn->gid == 0)) __builtin_trap();
        }
      }
    }
  }
  return 0;
}
