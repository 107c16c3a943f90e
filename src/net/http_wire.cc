#include "net/http_wire.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/http/status.hpp>
#include <cctype>
#include <ctime>

namespace mcpbox::net {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

std::string_view text_of(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

WireError explain(const boost::system::error_code& error) {
  if (error == http::error::header_limit) return {431, "the request head is too large"};
  if (error == http::error::bad_version) return {505, "the version of HTTP is none that is spoken here"};
  return {400, fmt::format("the request cannot be read: {}", error.message())};
}

bool has_token(boost::beast::string_view list, std::string_view wanted) {
  return http::token_list(list).exists(boost::beast::string_view(wanted.data(), wanted.size()));
}

}  // namespace

struct RequestReader::Impl {
  http::request_parser<http::buffer_body> parser;
};

RequestReader::RequestReader() : impl_(std::make_unique<Impl>()) {
  impl_->parser.header_limit(kMaxHead);
  impl_->parser.body_limit(boost::none);  // the exchange counts
  auto& body = impl_->parser.get().body();
  body.data = nullptr;
  body.size = 0;
}
RequestReader::~RequestReader() = default;
RequestReader::RequestReader(RequestReader&&) noexcept = default;

WireResult<RequestReader::Step> RequestReader::read_head(std::string_view data) {
  Step step;
  boost::system::error_code error;
  while (!impl_->parser.is_header_done() && !step.more) {
    step.used += impl_->parser.put(asio::buffer(data.substr(step.used)), error);
    if (error == http::error::need_more) {
      step.more = true;
    } else if (error) {
      return std::unexpected(explain(error));
    }
  }
  return step;
}

bool RequestReader::head_done() const {
  return impl_->parser.is_header_done();
}

void RequestReader::describe(ServedRequest& request) const {
  const auto& message = impl_->parser.get();
  request.method = std::string(text_of(message.method_string()));
  for (const auto& field : message) {
    std::string name(text_of(field.name_string()));
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    request.fields.emplace_back(std::move(name), std::string(text_of(field.value())));
  }
  request.content_type = std::string(request.field("content-type"));
  if (const auto length = impl_->parser.content_length()) request.content_length = *length;
}

std::string_view RequestReader::target() const {
  return text_of(impl_->parser.get().target());
}

bool RequestReader::keep_alive() const {
  return impl_->parser.get().keep_alive();
}

bool RequestReader::http_1_0() const {
  return impl_->parser.get().version() < 11;
}

bool RequestReader::asks_for_upgrade() const {
  const auto& message = impl_->parser.get();
  return !http_1_0() && has_token(message[http::field::connection], "upgrade") &&
         message.count(http::field::upgrade) > 0;
}

bool RequestReader::asks_for_upgrade(std::string_view protocol) const {
  return asks_for_upgrade() && has_token(impl_->parser.get()[http::field::upgrade], protocol);
}

bool RequestReader::expects_continue() const {
  return !http_1_0() && boost::beast::iequals(impl_->parser.get()[http::field::expect], "100-continue");
}

WireResult<RequestReader::Step> RequestReader::read_body(std::string_view data, std::span<char> into) {
  auto& body = impl_->parser.get().body();
  body.data = into.data();
  body.size = into.size();
  body.more = true;
  Step step;
  while (!impl_->parser.is_done() && body.size > 0 && !step.more) {
    boost::system::error_code error;
    step.used += impl_->parser.put(asio::buffer(data.substr(step.used)), error);
    if (error == http::error::need_more) {
      step.more = true;
    } else if (error && error != http::error::need_buffer) {
      return std::unexpected(explain(error));
    } else if (step.used == data.size() && !impl_->parser.is_done()) {
      step.more = true;
    }
  }
  step.written = into.size() - body.size;
  body.data = nullptr;
  body.size = 0;
  return step;
}

bool RequestReader::done() const {
  return impl_->parser.is_done();
}

std::string write_head(const ReplyHead& head) {
  const auto reason = text_of(http::obsolete_reason(static_cast<http::status>(head.status)));
  std::string out = fmt::format("HTTP/1.1 {} {}\r\n", head.status, reason);
  // RFC 9110 §6.6.1, §5.6.7
  if (head.status >= 200) out += fmt::format("Date: {:%a, %d %b %Y %H:%M:%S} GMT\r\n", fmt::gmtime(std::time(nullptr)));
  if (!head.content_type.empty()) out += fmt::format("Content-Type: {}\r\n", head.content_type);
  for (const auto& [name, value] : head.fields) out += fmt::format("{}: {}\r\n", name, value);
  if (head.framing == Framing::kLength) out += fmt::format("Content-Length: {}\r\n", head.length);
  if (head.framing == Framing::kChunked) out += "Transfer-Encoding: chunked\r\n";
  if (!head.upgrade.empty()) {
    out += fmt::format("Connection: Upgrade\r\nUpgrade: {}\r\n", head.upgrade);
  } else if (!head.keep_alive) {
    out += "Connection: close\r\n";
  }
  return out + "\r\n";
}

std::string chunk_head(std::size_t size) {
  return fmt::format("{:x}\r\n", size);
}

bool is_field_value(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

}  // namespace mcpbox::net
