#include "base/secret.h"

#include <string.h>

namespace mcpbox {

void Secret::wipe() {
  // Small strings live inside the object, so the capacity is always ours to overwrite.
  explicit_bzero(value_.data(), value_.size());
  value_.clear();
}

}  // namespace mcpbox
