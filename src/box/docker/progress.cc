#include "box/docker/progress.h"

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "box/docker/client.h"
#include "box/docker/json.h"

namespace mcpbox::box {
namespace {

constexpr std::size_t kMaxLayers = 1000;

}  // namespace

Result<void> DockerProgress::feed(std::string_view piece) {
  return lines_.feed(piece, [this](std::string_view line) { return take_line(line); });
}

Result<void> DockerProgress::finish() {
  return take_line(lines_.rest());
}

void DockerProgress::say(std::string_view text) {
  text = trim(text);
  if (progress_ && !text.empty()) progress_(printable(text, 500));
}

Result<void> DockerProgress::take_line(std::string_view line) {
  line = trim(line);
  if (line.empty()) return {};
  auto parsed = parse_docker_json(line, "its progress");
  if (!parsed) return fail(std::move(parsed).error());
  std::string problem = string_at(*parsed, {"errorDetail", "message"});
  if (problem.empty()) problem = string_at(*parsed, {"error"});
  if (!problem.empty()) return fail(docker_error(0, problem));
  if (const auto text = string_at(*parsed, {"stream"}); !text.empty()) {
    for (const auto part : split(text, '\n')) say(part);
    return {};
  }
  const auto status = string_at(*parsed, {"status"});
  const auto layer = string_at(*parsed, {"id"});
  if (layer.empty()) {
    say(status);
    return {};
  }
  if (layer_status_.size() >= kMaxLayers && !layer_status_.contains(layer)) return {};
  auto& last = layer_status_[layer];
  if (last == status) return {};
  last = status;
  say(layer + ": " + status);
  return {};
}

}  // namespace mcpbox::box
