// What a verb prints: results on stdout, mcpbox's own words on stderr. Nothing here throws over a file that cannot be
// written.
//
// Belongs to the main thread. Results are collected and written in large pieces; finish() says what did not arrive.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace mcpbox::app {

void write_out(std::string_view text);
// Written at once, after the results so far, without secrets (base/secrets.h). What cannot be written is dropped: the
// exit code says the same.
void write_err(std::string_view text);

template <class... Args>
void print_out(fmt::format_string<Args...> format, Args&&... args) {
  write_out(fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void print_err(fmt::format_string<Args...> format, Args&&... args) {
  write_err(fmt::format(format, std::forward<Args>(args)...));
}

// Writes what was collected. False once something could not be written: a verb that goes on printing stops then.
bool flush_out();

// For the end of main(): writes what was collected, and says on stderr why results did not arrive entire. Returns
// `code`, but kFailed in place of kOk when they did not.
int finish(int code);

}  // namespace mcpbox::app
