#include "workspace/secret_names.h"

#include <algorithm>
#include <array>
#include <string>

namespace mcpbox::workspace {
namespace {

constexpr std::array<std::string_view, 29> kNames{".npmrc",
                                                  ".yarnrc",
                                                  ".envrc",
                                                  ".htpasswd",
                                                  ".dockercfg",
                                                  ".s3cfg",
                                                  ".boto",
                                                  ".my.cnf",
                                                  ".vault-token",
                                                  ".terraformrc",
                                                  ".pip.conf",
                                                  "token",
                                                  ".token",
                                                  "token.txt",
                                                  "token.json",
                                                  "token.pickle",
                                                  "credentials",
                                                  "credentials.json",
                                                  ".credentials",
                                                  "secret.key",
                                                  "secrets.json",
                                                  "secrets.toml",
                                                  "secrets.yaml",
                                                  "secrets.yml",
                                                  "client_secret.json",
                                                  "client_secrets.json",
                                                  "application_default_credentials.json",
                                                  "service_account.json",
                                                  "service-account.json"};
constexpr std::array<std::string_view, 17> kEndings{".pem",   ".key",   ".p12",      ".pfx",  ".pkcs12", ".p8",
                                                    ".jks",   ".ppk",   ".keystore", ".kdbx", ".ovpn",   ".token",
                                                    "_token", "-token", ".secret",   "_rsa",  "_ed25519"};
constexpr std::array<std::string_view, 4> kKeys{"id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"};
constexpr std::array<std::string_view, 5> kExamples{".example", ".sample", ".template", ".dist", ".defaults"};

}  // namespace

bool is_secret_name(std::string_view name) {
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  const auto ends = [&](std::string_view ending) { return lower.size() > ending.size() && lower.ends_with(ending); };
  if (ends(".pub") || std::ranges::any_of(kExamples, ends)) return false;
  return std::ranges::find(kNames, lower) != kNames.end() || std::ranges::any_of(kEndings, ends) ||
         std::ranges::any_of(kKeys, [&](std::string_view key) { return lower.starts_with(key); }) ||
         lower.starts_with(".env.") || lower.starts_with("client_secret_");
}

}  // namespace mcpbox::workspace
