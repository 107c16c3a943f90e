// The other end of every measurement: writes back what it reads. `echo sink` only reads.
#include <unistd.h>

#include <cstdio>
#include <cstring>

int main(int argc, char** argv) {
  static char buffer[1 << 18];
  const bool sink = argc > 1 && std::strcmp(argv[1], "sink") == 0;
  const bool source = argc > 1 && std::strcmp(argv[1], "source") == 0;
  if (argc > 1 && !sink && !source) {
    const bool help = std::strcmp(argv[1], "--help") == 0;
    std::fputs("usage: bench_echo [sink | source]\n         writes back what it reads; only reads; only writes\n",
               help ? stdout : stderr);
    return help ? 0 : 2;
  }
  if (source) {
    // JSON-RPC notifications of 1,000 bytes, until the pipe breaks.
    std::memset(buffer, 'x', sizeof buffer);
    const char head[] = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"data\":\"";
    const char tail[] = "\"}}\n";
    for (int i = 0; i + 1000 <= static_cast<int>(sizeof buffer); i += 1000) {
      std::memcpy(buffer + i, head, sizeof head - 1);
      std::memcpy(buffer + i + 1000 - (sizeof tail - 1), tail, sizeof tail - 1);
    }
    const size_t whole = sizeof buffer / 1000 * 1000;
    for (;;) {
      for (size_t sent = 0; sent < whole;) {
        const ssize_t size = write(1, buffer + sent, whole - sent);
        if (size <= 0) return 0;
        sent += static_cast<size_t>(size);
      }
    }
  }
  for (;;) {
    const ssize_t size = read(0, buffer, sizeof buffer);
    if (size <= 0) return 0;
    if (sink) continue;
    for (ssize_t sent = 0; sent < size;) {
      const ssize_t written = write(1, buffer + sent, static_cast<size_t>(size - sent));
      if (written <= 0) return 0;
      sent += written;
    }
  }
}
