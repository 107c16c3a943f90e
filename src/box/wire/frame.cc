#include "box/wire/frame.h"

#include "box/wire/fields.h"

namespace mcpbox::box::wire {
namespace {

struct Header {
  std::uint32_t length = 0;
  std::uint8_t version = 0;
  std::uint8_t type = 0;
  std::uint16_t fd_count = 0;
  std::uint64_t id = 0;

  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.length), v(s.version), v(s.type), v(s.fd_count), v(s.id);
  }
};

}  // namespace

Result<std::string> encode_frame(MessageType type, std::uint64_t id, std::uint16_t fd_count, std::string_view payload) {
  if (payload.size() > kMaxFrame - kFrameHeader) {
    return fail(Code::kInvalidArgument, "message to mcpbox-init: larger than 4 MiB");
  }
  Encoder encoder;
  encoder(Header{static_cast<std::uint32_t>(kFrameHeader - sizeof(std::uint32_t) + payload.size()), kFrameVersion,
                 static_cast<std::uint8_t>(type), fd_count, id});
  std::string out = encoder.take();
  out += payload;
  return out;
}

void FrameReader::feed(std::string_view bytes) {
  if (broken_) return;
  // What next() handed out may be dropped now; doing it here and not there keeps the views valid.
  buffer_.erase(0, start_);
  start_ = 0;
  buffer_ += bytes;
}

Result<std::optional<Frame>> FrameReader::next() {
  const auto lost = [this](const char* why) {
    broken_ = true;
    buffer_ = {};
    start_ = 0;
    return fail(Code::kDataLoss, std::string("supervisor link: ") + why);
  };
  if (broken_) return lost("the stream was broken before");
  const std::string_view rest = std::string_view(buffer_).substr(start_);
  if (rest.size() < kFrameHeader) {
    // The length alone is enough to refuse, before more is buffered.
    if (rest.size() < sizeof(std::uint32_t)) return std::nullopt;
    Decoder peek(rest.substr(0, sizeof(std::uint32_t)));
    std::uint32_t length = 0;
    peek(length);
    if (length > kMaxFrame - sizeof(std::uint32_t)) return lost("a frame is longer than 4 MiB");
    return std::nullopt;
  }
  Decoder decoder(rest.substr(0, kFrameHeader));
  Header header;
  decoder(header);
  if (header.length > kMaxFrame - sizeof(std::uint32_t)) return lost("a frame is longer than 4 MiB");
  if (header.length < kFrameHeader - sizeof(std::uint32_t)) return lost("a frame is shorter than its header");
  if (header.version != kFrameVersion) return lost("a frame has an unknown version");
  if (header.fd_count > kMaxFds) return lost("a frame names too many descriptors");
  const std::size_t total = sizeof(std::uint32_t) + header.length;
  if (rest.size() < total) return std::nullopt;
  start_ += total;
  return Frame{static_cast<MessageType>(header.type), header.fd_count, header.id,
               rest.substr(kFrameHeader, total - kFrameHeader)};
}

}  // namespace mcpbox::box::wire
