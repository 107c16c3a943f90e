#include "app/compose/daemon_engine.h"

#include <fmt/format.h>

#include <chrono>

#include "base/text.h"
#include "box/engines/locator.h"
#include "json/value.h"
#include "sys/small_file.h"

namespace mcpbox::app {
namespace {

std::string note_of(const std::string& state_dir) {
  return state_dir + "/daemon.engine";
}

}  // namespace

Result<void> note_daemon_engine(const std::string& state_dir, const std::string& address) {
  return sys::replace_file(note_of(state_dir), address + "\n");
}

std::string daemon_engine(const std::string& state_dir) {
  std::string address(trim(sys::read_file(note_of(state_dir)).value_or("")));
  return address == box::kHostSystemEngine || address.starts_with("unix:///") ? address : "";
}

Task<std::string> running_engine(DaemonClient& client, std::string noted) {
  if (noted.empty()) co_return noted;
  const auto status = co_await client.get("/v1/status", std::chrono::seconds(5));
  const auto parsed = json::Value::parse(status.value_or(""));
  const bool its = parsed && (*parsed)["engine"]["address"].string_or() == noted;
  co_return its ? noted : "";
}

ChosenEngine choose_engine(const EngineHints& hints, const std::string& state_dir) {
  const auto names = [](const std::string& address) { return !address.empty() && address != "auto"; };
  if (names(hints.given)) return {hints.given, ""};
  if (names(hints.running)) return noted_engine(hints.running, state_dir);
  if (names(hints.configured)) return {hints.configured, ""};
  if (names(hints.noted)) return noted_engine(hints.noted, state_dir);
  return {"auto", ""};
}

ChosenEngine noted_engine(std::string noted, const std::string& state_dir) {
  return {std::move(noted), fmt::format("the newest daemon's note {}", printable(note_of(state_dir)))};
}

}  // namespace mcpbox::app
