#include "gateway/answer.h"

#include <utility>

#include "base/secrets.h"
#include "json/writer.h"

namespace mcpbox::gateway {

unsigned status_of(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
      return 400;
    case Code::kUnauthenticated:
      return 401;
    case Code::kPermissionDenied:
      return 403;
    case Code::kNotFound:
      return 404;
    case Code::kAlreadyExists:
    case Code::kAborted:
    case Code::kFailedPrecondition:
      return 409;
    case Code::kResourceExhausted:
      return 429;
    case Code::kCancelled:
      return 499;
    case Code::kUnsupported:
      return 501;
    case Code::kUnavailable:
      return 503;
    case Code::kTimeout:
      return 504;
    case Code::kDataLoss:
      return 502;
    case Code::kInternal:
      return 500;
  }
  return 500;
}

Task<void> answer(net::HttpExchange& to, unsigned status, std::string json) {
  (void)co_await to.send(status, "application/json", std::move(json));
}

Task<void> refuse(net::HttpExchange& to, const Error& error) {
  return refuse(to, status_of(error.code()), error);
}

Task<void> refuse(net::HttpExchange& to, unsigned status, const Error& error) {
  json::Writer out;
  out.object()
      .object("error")
      .member("code", code_name(error.code()))
      .member("message", sentence_without_secrets(error.message()))
      .end()
      .end();
  return answer(to, status, out.take_line());
}

}  // namespace mcpbox::gateway
