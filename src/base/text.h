// Text from outside made safe for people: terminals, logs, error messages.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mcpbox {

// Escapes everything with which untrusted text could act on a terminal or forge a log line: C0 but tab (so also CR, LF,
// ESC), DEL, C1, U+2028/2029, bidirectional controls (U+061C, 200E/F, 202A–202E, 2066–2069), zero-width characters, and
// invalid UTF-8 (as \xNN). At most `limit` bytes come out; what was cut is shown by "…".
std::string printable(std::string_view text, std::size_t limit = 2048);

// True when `text` is valid UTF-8 without overlong forms or surrogates (RFC 3629).
bool is_valid_utf8(std::string_view text);

// The candidate nearest to `word` by edit distance, for "did you mean"; empty when none is near enough (distance ≤ 2
// and less than half of the word; two letters that changed places are one).
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

// " (did you mean '…'?)" with the nearest one, or nothing.
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

std::vector<std::string_view> split(std::string_view text, char separator);
std::string join(std::span<const std::string> parts, std::string_view separator);
std::string_view trim(std::string_view text);

// "1.5 KiB", "37 MiB"; "850 ms", "3.2 s", "2 min 5 s".
std::string human_bytes(unsigned long long bytes);
std::string human_milliseconds(double milliseconds);

// 1612 as "1,612".
std::string grouped(unsigned long long number);

// An argv as a person would type it: quoted for sh where needed. For display only, never for execution.
std::string display_command(std::span<const std::string> argv);

}  // namespace mcpbox
