// `mcpbox doctor --attack`: two servers in a sandbox as the daemon would start them, of which one attacks the other
// with everything that mcpbox-probe knows.
#pragma once

#include <string>

namespace mcpbox::app {

// Prints a line for each attack, what a server is meant to be able to do, and the score. kOk when nothing got through
// and everything works; kNoEngine without an engine; kFailed otherwise.
int doctor_attack(const std::string& engine, bool as_json);

}  // namespace mcpbox::app
