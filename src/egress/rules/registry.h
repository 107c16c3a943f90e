// Who may use the proxy: the processes that mcpbox registered, with what proves their identity and what they may reach.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "egress/rules/http_head.h"
#include "egress/rules/policy.h"

namespace mcpbox::egress {

struct Registration {
  std::string process;       // the user name of the credential
  std::string server;        // for the audit and messages
  uid_t uid = 0;             // as mcpbox-init reports the peer,
  std::string sandbox;       // and the sandbox that it is in; "" = none
  std::string token_sha256;  // lower-case hexadecimal; the token itself is not kept
  Phase phase = Phase::kRun;
  Policy policy;
};

// One registered process and its open connections. Shared by them; `gone` when it was unregistered or registered anew.
struct Client {
  Registration registration;
  std::size_t tunnels = 0;
  bool gone = false;
};

inline constexpr std::size_t kMaxRegistrations = 4096;

class Registry {
 public:
  // Replaces a registration of the same process. kInvalidArgument when a field is unusable.
  Result<void> add(Registration registration);
  // False when it was not registered.
  bool remove(std::string_view process);
  // The process whose credential, uid and sandbox all fit: the owner of mounted folders is a user in several sandboxes,
  // and with a single id everybody is root there. Null for any other case, without telling which part was wrong.
  std::shared_ptr<Client> authenticate(const std::string& proxy_authorization, uid_t uid,
                                       std::string_view sandbox = {}) const;
  std::size_t size() const { return clients_.size(); }
  // Called with each client that is gone, to end its connections.
  void on_gone(std::function<void(const std::shared_ptr<Client>&)> callback) { on_gone_ = std::move(callback); }

 private:
  std::map<std::string, std::shared_ptr<Client>, std::less<>> clients_;
  std::function<void(const std::shared_ptr<Client>&)> on_gone_;
};

}  // namespace mcpbox::egress
