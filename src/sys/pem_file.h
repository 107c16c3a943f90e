// Files of trusted certificates.
#pragma once

#include <string>

#include "base/result.h"

namespace mcpbox::sys {

// Whether the file holds a certificate in PEM (RFC 7468): a program that is given another one trusts nobody, and says
// so only when it connects. kInvalidArgument names the file. Reads at most 16 MiB.
Result<void> check_certificates(const std::string& path);

}  // namespace mcpbox::sys
