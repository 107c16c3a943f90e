// How the control API answers: JSON, and errors as {"error": {"code", "message"}} with the status that fits.
#pragma once

#include <string>

#include "base/result.h"
#include "net/http_exchange.h"

namespace mcpbox::gateway {

unsigned status_of(Code code);

// Messages of errors go out without secrets (base/secrets.h). Errors of writing are the client's going away, and nobody
// is left to be told.
Task<void> answer(net::HttpExchange& to, unsigned status, std::string json);
Task<void> refuse(net::HttpExchange& to, const Error& error);
Task<void> refuse(net::HttpExchange& to, unsigned status, const Error& error);

}  // namespace mcpbox::gateway
