// Files by whose names alone we take them for keys or credentials. They stay behind when a folder is staged, unless its
// .mcpboxignore brings them back. What is never staged, whatever anybody writes, is in denied.h.
#pragma once

#include <string_view>

namespace mcpbox::workspace {

// Of a file's name without its folder, in any case of letters: private keys and key stores (id_rsa, *.pem, *.key, *.p12
// …), settings with passwords (.npmrc, .env.production, .htpasswd …), tokens and client secrets (token, *.token,
// credentials.json …). Not ".env", which projects start with, public keys, and examples (.env.example).
bool is_secret_name(std::string_view name);

}  // namespace mcpbox::workspace
