// What mcpbox-init --build reads, and what it answers.
#include <cstdint>
#include <string_view>

#include "box/wire/build_spec.h"

namespace {

using namespace mcpbox::box;

template <class Message>
void decode_and_encode(std::string_view bytes) {
  auto message = wire::decode<Message>(bytes);
  if (!message) return;
  wire::Encoder encoder;
  encoder(*message);
  const std::string again = encoder.take();
  if (!encoder.ok() || again != bytes) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2 == 0) {
    decode_and_encode<wire::BuildSpec>(bytes);
  } else {
    decode_and_encode<wire::BuildReply>(bytes);
  }
  return 0;
}
