// HttpExchange on a connection. Internal to net/.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "net/http_exchange.h"
#include "net/http_input.h"
#include "net/http_server.h"
#include "net/http_wire.h"

namespace mcpbox::net {

class ServedExchange final : public HttpExchange {
 public:
  // `unfinished` counts the bytes of all bodies that have not come to their end.
  ServedExchange(ByteStream& stream, HttpInput& input, RequestReader& reader, const HttpServerOptions& options,
                 std::uint64_t& unfinished, ServedRequest request, bool keep_alive);
  ~ServedExchange() override;

  const ServedRequest& request() const override { return request_; }
  void limit_body(std::uint64_t bytes) override { max_body_ = bytes; }
  Task<Result<std::size_t>> read_some(std::span<char> into) override;
  void set_field(std::string name, std::string value) override;
  Task<Result<void>> send(unsigned status, std::string content_type, std::string body) override;
  Task<Result<void>> send(unsigned status, std::string content_type, std::string_view before, std::string_view middle,
                          std::string_view after) override;
  Task<Result<void>> begin(unsigned status, std::string content_type) override;
  Task<Result<void>> write(std::string piece) override;
  Task<Result<void>> end() override;
  Task<Result<ByteStream*>> upgrade(std::string protocol) override;

  // The connection's side, after the handler: answers where that did not, and skips a short rest of the body. False
  // when the connection cannot go on with another request.
  Task<bool> finish();
  // No further request on this connection, which the answer says if it has not begun.
  void close_afterwards() { keep_alive_ = false; }
  bool upgraded() const { return upgraded_.has_value(); }
  // An interim answer may be sent: RFC 9110 §15.2 forbids it to HTTP/1.0.
  bool may_ask() const { return state_ == State::kOpen && !reader_.http_1_0(); }
  // When the write that runs now began: it has got stuck if that is long ago.
  std::optional<HttpInput::TimePoint> writing_since() const { return writing_since_; }
  // Since when the client has been waited for to send more of the body.
  std::optional<HttpInput::TimePoint> reading_since() const { return reading_since_; }

 private:
  enum class State { kOpen, kStreaming, kDone };
  ReplyHead head(unsigned status, std::string content_type);
  Task<Result<void>> put(std::string_view first, std::string_view second = {}, std::string_view third = {});
  Task<bool> skip_rest();
  void settle_body();

  ByteStream& stream_;
  HttpInput& input_;
  RequestReader& reader_;
  const HttpServerOptions& options_;
  std::uint64_t& unfinished_;
  ServedRequest request_;
  HttpFields fields_;
  bool keep_alive_;
  bool chunked_ = false, broken_ = false, body_failed_ = false, continued_ = false;
  State state_ = State::kOpen;
  std::uint64_t max_body_ = 0, received_ = 0;
  std::uint64_t counted_ = 0;                      // of unfinished_
  std::chrono::steady_clock::duration waited_{0};  // for the body, while the handler wanted some
  std::optional<HttpInput::TimePoint> writing_since_, reading_since_;
  std::optional<PrefixedStream> upgraded_;
};

}  // namespace mcpbox::net
