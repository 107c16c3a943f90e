// What mcpbox-init sends to mcpbox: the link and every reply's decoder.
#include <cstdint>

#include "box/link/supervisor_link.h"

namespace {

using namespace mcpbox::box;

template <class... Messages>
void decode_all(std::string_view payload) {
  (
      [&] {
        auto message = wire::decode<Messages>(payload);
        if (!message) return;
        // What was decoded can be encoded again, to the same bytes.
        auto again = wire::encode(*message);
        if (!again || *again != payload) __builtin_trap();
      }(),
      ...);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t step = data[0] + 1u;  // the first byte decides how the stream is cut
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  SupervisorLink link;
  while (!bytes.empty()) {
    if (!link.feed(bytes.substr(0, step), {})) return 0;
    bytes.remove_prefix(std::min(step, bytes.size()));
    while (auto event = link.next()) {
      const auto* reply = std::get_if<SupervisorLink::Reply>(&*event);
      if (reply == nullptr || !reply->payload) continue;
      decode_all<wire::HelloReply, wire::SpawnReply, wire::KillUidReply, wire::ListReply, wire::UnpackReply,
                 wire::ReadFileReply, wire::ListDirectoryReply, wire::Done>(*reply->payload);
    }
  }
  return 0;
}
