#include "workspace/secret_names.h"

#include <gtest/gtest.h>

namespace mcpbox::workspace {
namespace {

TEST(SecretNames, are_those_of_keys_and_credentials) {
  for (const char* name : {"id_rsa",
                           "id_rsa.old",
                           "id_ed25519",
                           "id_ed25519_work",
                           "deploy_rsa",
                           "server.pem",
                           "SERVER.PEM",
                           "tls.key",
                           "a.p12",
                           "a.pfx",
                           "a.jks",
                           ".npmrc",
                           ".envrc",
                           ".env.local",
                           ".env.production",
                           ".htpasswd",
                           "token",
                           ".token",
                           "github.token",
                           "github_token",
                           "api-token",
                           "token.json",
                           "credentials",
                           "credentials.json",
                           "secrets.toml",
                           "client_secret_1234.apps.json",
                           "service-account.json"})
    EXPECT_TRUE(is_secret_name(name)) << name;
  for (const char* name :
       {".env", ".env.example", ".env.sample", "id_rsa.pub", "server.py", "token.py", "tokens.json", "tokenizer.json",
        "credentials.py", "keys.py", "key", "pem", ".pem", "environment.env.md", "package.json", "Makefile"})
    EXPECT_FALSE(is_secret_name(name)) << name;
}

}  // namespace
}  // namespace mcpbox::workspace
