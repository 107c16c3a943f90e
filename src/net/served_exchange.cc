#include "net/served_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/http_text.h"
#include "base/log.h"
#include "base/text.h"

namespace mcpbox::net {
namespace {

using Clock = std::chrono::steady_clock;

// A rest of the body that is skipped so that the connection can go on; above, it is closed.
constexpr std::uint64_t kMaxSkipped = 64u << 10;
constexpr std::chrono::seconds kSkipTime{1};
// Below it a body comes too slowly, once HttpServerOptions::body_timeout is used up.
constexpr std::uint64_t kSlowest = 16u << 10;  // bytes a second

bool bodiless(unsigned status) {
  return status < 200 || status == 204 || status == 304;  // RFC 9110 §6.4.1
}

}  // namespace

ServedExchange::ServedExchange(ByteStream& stream, HttpInput& input, RequestReader& reader,
                               const HttpServerOptions& options, std::uint64_t& unfinished, ServedRequest request,
                               bool keep_alive)
    : stream_(stream),
      input_(input),
      reader_(reader),
      options_(options),
      unfinished_(unfinished),
      request_(std::move(request)),
      keep_alive_(keep_alive),
      max_body_(options.max_body) {}

ServedExchange::~ServedExchange() {
  settle_body();
}

// What came of the body is whole, or nobody's any more.
void ServedExchange::settle_body() {
  unfinished_ -= std::exchange(counted_, 0);
}

Task<Result<std::size_t>> ServedExchange::read_some(std::span<char> into) {
  const auto failed = [this](Code code, std::string text) {
    settle_body();
    body_failed_ = true;
    keep_alive_ = false;
    return fail(code, std::move(text));
  };
  const auto too_long = [&] { return failed(Code::kResourceExhausted, "the request body is too large"); };
  if (reader_.done() || into.empty()) co_return std::size_t{0};
  if (body_failed_) co_return fail(Code::kFailedPrecondition, "reading the request body failed before");
  if (request_.content_length.value_or(0) > max_body_) co_return too_long();
  if (reader_.expects_continue() && !std::exchange(continued_, true) && state_ == State::kOpen) {
    if (auto sent = co_await put("HTTP/1.1 100 Continue\r\n\r\n"); !sent) co_return fail(std::move(sent).error());
  }
  for (;;) {
    const auto step = reader_.read_body(input_.data(), into);
    if (!step) co_return failed(Code::kInvalidArgument, step.error().text);
    input_.consume(step->used);
    received_ += step->written;
    if (received_ > max_body_) co_return too_long();
    counted_ += step->written;
    unfinished_ += step->written;
    if (reader_.done()) settle_body();
    if (unfinished_ > options_.max_unfinished)
      co_return failed(Code::kAborted, "too much of other requests is on its way; try again when it has come");
    // From here on reading is to notice the client's end; see HttpConnection::serve_one() for the exception.
    if (reader_.done() && !reader_.asks_for_upgrade()) input_.watch(true);
    if (step->written > 0) co_return step->written;
    if (reader_.done()) co_return std::size_t{0};
    const auto allowed = options_.body_timeout + std::chrono::seconds(received_ / kSlowest);
    const auto began = Clock::now();
    reading_since_ = began;
    const bool came = co_await input_.more(began + std::min<Clock::duration>(allowed - waited_, options_.body_timeout));
    reading_since_.reset();
    waited_ += Clock::now() - began;
    if (came) continue;
    if (input_.ended()) co_return failed(Code::kUnavailable, "the client went away within its request body");
    if (input_.full()) co_return failed(Code::kInvalidArgument, "the request body cannot be read");
    co_return failed(Code::kTimeout, "the request body comes too slowly");
  }
}

void ServedExchange::set_field(std::string name, std::string value) {
  if (is_http_token(name) && is_field_value(value)) {
    fields_.emplace_back(std::move(name), std::move(value));
  } else {
    log::error("http", "the field '{}' cannot stand in an answer and is left out", printable(name, 80));
  }
}

ReplyHead ServedExchange::head(unsigned status, std::string content_type) {
  // Who waits for "100 Continue" and gets another answer sends its body or not: nobody knows (RFC 9110 §10.1.1).
  if (body_failed_ || (reader_.expects_continue() && !continued_ && !reader_.done())) keep_alive_ = false;
  ReplyHead head;
  head.status = status;
  head.content_type = is_field_value(content_type) ? std::move(content_type) : std::string();
  head.fields = std::move(fields_);
  head.keep_alive = keep_alive_;
  return head;
}

Task<Result<void>> ServedExchange::put(std::string_view first, std::string_view second, std::string_view third) {
  if (broken_) co_return fail(Code::kUnavailable, "the client went away");
  writing_since_ = Clock::now();
  auto written = co_await stream_.write(first, second, third);
  writing_since_.reset();
  broken_ = broken_ || !written;
  co_return written;
}

Task<Result<void>> ServedExchange::send(unsigned status, std::string content_type, std::string body) {
  co_return co_await send(status, std::move(content_type), body, {}, {});
}

Task<Result<void>> ServedExchange::send(unsigned status, std::string content_type, std::string_view before,
                                        std::string_view middle, std::string_view after) {
  if (state_ != State::kOpen) co_return fail(Code::kFailedPrecondition, "the request was answered before");
  state_ = State::kDone;
  ReplyHead reply = head(status, std::move(content_type));
  reply.framing = bodiless(status) ? Framing::kNone : Framing::kLength;
  reply.length = before.size() + middle.size() + after.size();
  std::string text = write_head(reply);
  if (bodiless(status) || request_.method == "HEAD") co_return co_await put(text);
  if (middle.empty() && after.empty()) co_return co_await put(text, before);
  text += before;
  co_return co_await put(text, middle, after);
}

Task<Result<void>> ServedExchange::begin(unsigned status, std::string content_type) {
  if (state_ != State::kOpen) co_return fail(Code::kFailedPrecondition, "the request was answered before");
  state_ = State::kStreaming;
  chunked_ = !reader_.http_1_0();
  if (!chunked_) keep_alive_ = false;
  ReplyHead reply = head(status, std::move(content_type));
  reply.framing = chunked_ ? Framing::kChunked : Framing::kClose;
  const std::string text = write_head(reply);
  co_return co_await put(text);
}

Task<Result<void>> ServedExchange::write(std::string piece) {
  if (state_ != State::kStreaming) co_return fail(Code::kFailedPrecondition, "no streamed answer was begun");
  if (piece.empty() || request_.method == "HEAD") co_return Result<void>{};
  if (!chunked_) co_return co_await put(piece);
  const std::string size = chunk_head(piece.size());
  co_return co_await put(size, piece, "\r\n");
}

Task<Result<void>> ServedExchange::end() {
  if (state_ != State::kStreaming) co_return fail(Code::kFailedPrecondition, "no streamed answer was begun");
  state_ = State::kDone;
  if (!chunked_ || request_.method == "HEAD") co_return Result<void>{};
  co_return co_await put(kLastChunk);
}

Task<Result<ByteStream*>> ServedExchange::upgrade(std::string protocol) {
  if (state_ != State::kOpen || !reader_.done() || !reader_.asks_for_upgrade(protocol) || !is_http_token(protocol))
    co_return fail(Code::kFailedPrecondition, fmt::format("the client did not ask for '{}'", printable(protocol, 80)));
  state_ = State::kDone;
  keep_alive_ = false;
  ReplyHead reply = head(101, "");
  reply.framing = Framing::kNone;
  reply.upgrade = std::move(protocol);
  const std::string text = write_head(reply);
  // Before anything is awaited: from here on a client that closes is the handler's to notice.
  upgraded_.emplace(std::string(input_.data()), stream_);
  input_.consume(input_.data().size());
  if (auto sent = co_await put(text); !sent) co_return fail(std::move(sent).error());
  co_return &*upgraded_;
}

Task<bool> ServedExchange::skip_rest() {
  if (reader_.done()) co_return true;
  const auto until = Clock::now() + kSkipTime;
  char piece[4096];
  std::uint64_t skipped = 0;
  while (!reader_.done()) {
    const auto step = reader_.read_body(input_.data(), piece);
    if (!step) co_return false;
    input_.consume(step->used);
    skipped += step->used;
    if (skipped > kMaxSkipped) co_return false;
    if (step->more && !reader_.done() && !co_await input_.more(until)) co_return false;
  }
  co_return true;
}

Task<bool> ServedExchange::finish() {
  if (upgraded_) co_return false;
  if (state_ == State::kOpen) (void)co_await send(500, "text/plain", "no answer was made\n");
  // A streamed answer without its end says to the client that it is cut short.
  if (broken_ || state_ == State::kStreaming || !keep_alive_) co_return false;
  co_return co_await skip_rest();
}

}  // namespace mcpbox::net
