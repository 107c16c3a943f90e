#include "egress/rules/registry.h"

#include <algorithm>

#include "base/digest.h"

namespace mcpbox::egress {
namespace {

bool equal_in_constant_time(std::string_view one, std::string_view other) {
  if (one.size() != other.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < one.size(); ++i) difference |= static_cast<unsigned>(one[i] ^ other[i]);
  return difference == 0;
}

bool is_digest(std::string_view text) {
  return text.size() == 64 &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

Result<void> Registry::add(Registration registration) {
  if (registration.process.empty() || registration.process.size() > 128 || registration.process.contains(':')) {
    return fail(Code::kInvalidArgument, "a process id has 1 to 128 characters and no colon");
  }
  if (!is_digest(registration.token_sha256))
    return fail(Code::kInvalidArgument, "token_sha256 is no SHA-256 in hexadecimal");
  remove(registration.process);
  if (clients_.size() >= kMaxRegistrations) return fail(Code::kResourceExhausted, "too many processes are registered");
  auto client = std::make_shared<Client>();
  client->registration = std::move(registration);
  clients_[client->registration.process] = std::move(client);
  return {};
}

bool Registry::remove(std::string_view process) {
  const auto found = clients_.find(process);
  if (found == clients_.end()) return false;
  const auto client = found->second;
  clients_.erase(found);
  client->gone = true;
  if (on_gone_) on_gone_(client);
  return true;
}

std::shared_ptr<Client> Registry::authenticate(const std::string& proxy_authorization, uid_t uid,
                                               std::string_view sandbox) const {
  const auto credential = parse_credential(proxy_authorization);
  if (!credential) return nullptr;
  const auto found = clients_.find(credential->process);
  if (found == clients_.end()) return nullptr;
  const Registration& known = found->second->registration;
  const bool token = equal_in_constant_time(sha256_hex(credential->token), known.token_sha256);
  return token && known.uid == uid && known.sandbox == sandbox ? found->second : nullptr;
}

}  // namespace mcpbox::egress
