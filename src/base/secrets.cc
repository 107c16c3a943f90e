#include "base/secrets.h"

#include <memory>
#include <mutex>

#include "base/redact.h"
#include "base/text.h"

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

std::shared_ptr<const Redactor> redactor() {
  const std::lock_guard lock(kept().mutex);
  return kept().redactor;
}

constexpr std::size_t kBeyond = 4096;  // bytes behind a limit, for a secret that lies across it

}  // namespace

void keep_secret(const Secret& secret) {
  const std::lock_guard lock(kept().mutex);
  // Whoever reads has a share of it, and goes on with the old one.
  if (kept().redactor.use_count() > 1) kept().redactor = std::make_shared<Redactor>(*kept().redactor);
  kept().redactor->add(secret);
}

std::string without_secrets(std::string_view text) {
  return (*redactor())(text);
}

std::string sentence_without_secrets(std::string_view text) {
  return redactor()->sentence(text);
}

std::string from_outside(std::string_view text, std::size_t limit) {
  if (text.size() <= limit + kBeyond) return printable(without_secrets(text), limit);
  return printable(redactor()->broken_off(text.substr(0, limit + kBeyond)) + "…", limit);
}

}  // namespace mcpbox
