// The outer format of the link between mcpbox and mcpbox-init: length-prefixed, versioned frames on a byte stream.
//
//   u32 length    of everything after this field
//   u8  version   of this layout, 1
//   u8  type      MessageType
//   u16 fd_count  descriptors that belong to the frame; on a unix socket they come with its first byte (SCM_RIGHTS)
//   u64 id        chosen by the controller; a reply repeats it; 0 in events
//   payload       fields.h
//
// All numbers are little endian. No I/O here: the reader is fed with whatever arrived.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mcpbox::box::wire {

constexpr std::uint8_t kFrameVersion = 1;
constexpr std::size_t kMaxFrame = 4u << 20;  // the whole frame with its length field
constexpr std::size_t kFrameHeader = 16;
constexpr std::uint16_t kMaxFds = 131;  // pipes and ways in of a process

enum class MessageType : std::uint8_t {
  kHello = 1,
  kSpawn = 2,
  kCloseStdin = 4,
  kSignal = 5,
  kKillUid = 6,
  kList = 7,
  kForget = 8,
  kPrepare = 9,
  kShareDirectory = 10,
  kUnpack = 11,
  kPublish = 12,
  kSeal = 13,
  kRemoveTree = 14,
  kReadFile = 16,
  kListDirectory = 17,
  kShutdown = 18,
  kPack = 24,
  kIdentify = 25,
  kTakeGroup = 26,
  // From mcpbox-init.
  kReply = 64,       // success; the payload's form follows from the request
  kErrorReply = 65,  // ErrorReply
  kExited = 128,     // event: Exited
  kPresses = 129,    // event: Presses
};

struct Frame {
  MessageType type{};
  std::uint16_t fd_count = 0;
  std::uint64_t id = 0;
  std::string_view payload;  // into the reader; valid until the next feed()
};

// The bytes of one frame; kInvalidArgument when it would be larger than kMaxFrame.
Result<std::string> encode_frame(MessageType type, std::uint64_t id, std::uint16_t fd_count, std::string_view payload);

// Cuts a stream into frames. After an error (kDataLoss) the stream is lost; every later call fails the same way.
class FrameReader {
 public:
  // Keeps the bytes. Drain next() after every feed: then at most one frame and what was fed last are held.
  void feed(std::string_view bytes);
  // The next whole frame, or nothing when more bytes are needed.
  Result<std::optional<Frame>> next();

 private:
  std::string buffer_;
  std::size_t start_ = 0;
  bool broken_ = false;
};

}  // namespace mcpbox::box::wire
