#include "base/secrets.h"

#include <memory>
#include <mutex>

#include "base/redact.h"

namespace mcpbox {
namespace {

struct Kept {
  std::mutex mutex;
  std::shared_ptr<Redactor> redactor = std::make_shared<Redactor>();
};

Kept& kept() {
  static Kept instance;
  return instance;
}

}  // namespace

void keep_secret(const Secret& secret) {
  const std::lock_guard lock(kept().mutex);
  // Whoever reads has a share of it, and goes on with the old one.
  if (kept().redactor.use_count() > 1) kept().redactor = std::make_shared<Redactor>(*kept().redactor);
  kept().redactor->add(secret);
}

std::string without_secrets(std::string_view text) {
  std::shared_ptr<const Redactor> redactor;
  {
    const std::lock_guard lock(kept().mutex);
    redactor = kept().redactor;
  }
  return (*redactor)(text);
}

}  // namespace mcpbox
