// TLS greetings: more bytes never change an answer that was given, and the name is part of the input.
#include <cstdint>
#include <cstdlib>

#include "egress/rules/client_hello.h"

using namespace mcpbox::egress;

static void must(bool condition) {
  if (!condition) std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const ClientHello whole = parse_client_hello(bytes);
  for (const std::size_t cut : {size / 4, size / 2, size - size / 4}) {
    const ClientHello part = parse_client_hello(bytes.substr(0, cut));
    if (part.state == ClientHello::State::kNeedMore) continue;
    must(part.state == whole.state && part.server_name == whole.server_name);
  }
  must(whole.server_name.size() <= kMaxClientHello);
  must(whole.state == ClientHello::State::kComplete || whole.server_name.empty());
  if (size >= kMaxClientHello) must(whole.state != ClientHello::State::kNeedMore);
  return 0;
}
