#include "sys/pem_file.h"

#include <string_view>

#include "base/text.h"
#include "sys/small_file.h"

namespace mcpbox::sys {

Result<void> check_certificates(const std::string& path) {
  const auto text = read_file(path, 16u << 20, Links::kFollow);
  if (!text) return fail(Code::kInvalidArgument, text.error().message());
  // "TRUSTED" is OpenSSL's own form, "X509" an old name of the usual one.
  for (const std::string_view kind : {"", "TRUSTED ", "X509 "}) {
    const std::string name = std::string(kind) + "CERTIFICATE-----";
    const std::size_t begin = text->find("-----BEGIN " + name);
    if (begin != std::string::npos && text->find("-----END " + name, begin) != std::string::npos) return {};
  }
  return fail(Code::kInvalidArgument, "'" + printable(path, 300) + "' holds no PEM certificate");
}

}  // namespace mcpbox::sys
