// Secrets from the programs that keep them: `${helper:NAME:KEY}` asks docker-credential-NAME, of which there is one for
// libsecret (secretservice), pass, the keychains of other systems, and anybody can write one.
//
// The protocol is that of docker-credential-helpers: `docker-credential-NAME get` reads KEY (a server's URL, as a rule)
// from stdin and writes {"ServerURL", "Username", "Secret"}; exit code 1 with a sentence on stdout when it has none.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/secret.h"
#include "config/helper_key.h"
#include "net/task.h"

namespace mcpbox::config {

// Of "NAME:KEY". NAME has letters, digits, '.', '_' and '-', KEY 1 to 1024 bytes and no control characters.
// kInvalidArgument.
Result<HelperKey> parse_helper(std::string_view text);

// The program in an absolute folder of PATH. kNotFound.
Result<std::string> find_helper(const HelperKey& key);

// Runs the program in mcpbox's own environment, for at most `timeout`, and reads at most 64 KiB of what it writes. No
// message holds anything of the answer but what a helper that failed says. Errors: kNotFound when there is no such
// program or secret, kUnavailable when it failed, kTimeout, kDataLoss when the answer cannot be read.
Task<Result<Secret>> ask_helper(HelperKey key, std::chrono::milliseconds timeout = std::chrono::seconds(30));
// The same, on a loop of its own. Blocks.
Result<Secret> ask_helper_now(const HelperKey& key);

}  // namespace mcpbox::config
