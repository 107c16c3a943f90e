#include "box/docker/images.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "box/docker/containers.h"
#include "box/docker/json.h"
#include "box/docker/profile.h"
#include "box/docker/progress.h"
#include "box/sandbox_spec.h"
#include "net/wait.h"

namespace mcpbox::box {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kInUse(3);  // a removal waits as long for whoever has the volume

// "2026-11-21T09:40:18.3Z" → seconds; inspect gives text where the list gives a number.
std::int64_t unix_time(const json& created) {
  if (created.is_number_integer()) return created.get<std::int64_t>();
  if (!created.is_string()) return 0;
  std::tm parts{};
  if (std::sscanf(created.get_ref<const std::string&>().c_str(), "%4d-%2d-%2dT%2d:%2d:%2d", &parts.tm_year,
                  &parts.tm_mon, &parts.tm_mday, &parts.tm_hour, &parts.tm_min, &parts.tm_sec) != 6) {
    return 0;
  }
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  return static_cast<std::int64_t>(::timegm(&parts));
}

ImageInfo read_image(const json& image) {
  ImageInfo info;
  info.id = string_at(image, {"Id"});
  const auto& tags = member(image, {"RepoTags"});
  for (const auto& tag : tags.is_array() ? tags : json::array()) {
    if (tag.is_string()) info.tags.push_back(tag.get<std::string>());
  }
  info.size_bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(0, integer_at(image, {"Size"})));
  info.created_unix = unix_time(member(image, {"Created"}));
  return info;
}

std::unexpected<Error> bad_reference(const std::string& reference) {
  return fail(Code::kInvalidArgument, "'" + printable(reference, 200) + "' is not an image reference");
}

std::unexpected<Error> bad_volume(const std::string& name) {
  return fail(Code::kInvalidArgument, "'" + printable(name, 100) + "' is not a volume name");
}

// Whether the engine shows a container that has the volume.
Task<bool> is_shown_in_use(DockerClient& client, std::string name) {
  DockerClient::Call call;
  call.path = "/containers/json";
  call.query = {{"all", "true"}, {"filters", dump_json(json{{"volume", {name}}})}};
  auto answer = co_await client.call(std::move(call));
  if (!answer) co_return false;
  const auto parsed = parse_docker_json(*answer, "the list of containers");
  co_return parsed && parsed->is_array() && !parsed->empty();
}

// Runs a call whose answer is a progress stream, then looks the image up.
Task<Result<ImageInfo>> run_with_progress(DockerClient& client, DockerClient::Call call, std::string reference,
                                          std::string what, Progress progress) {
  DockerProgress stream(std::move(progress));
  call.idle_timeout = client.options().image_idle_timeout;
  call.on_body = [&stream](std::string_view piece) { return stream.feed(piece); };
  auto answer = co_await client.call(std::move(call));
  if (!answer) co_return fail(std::move(answer).error().with_context(what));
  if (auto finished = stream.finish(); !finished) co_return fail(std::move(finished).error().with_context(what));
  auto info = co_await docker_image(client, reference);
  if (!info) co_return fail(std::move(info).error().with_context(what));
  co_return info;
}

}  // namespace

std::pair<std::string, std::string> split_reference(std::string_view reference) {
  if (const auto at = reference.find('@'); at != reference.npos) {
    return {std::string(reference.substr(0, at)), std::string(reference.substr(at + 1))};
  }
  const auto colon = reference.rfind(':');
  const auto slash = reference.rfind('/');
  if (colon == reference.npos || (slash != reference.npos && colon < slash)) return {std::string(reference), "latest"};
  return {std::string(reference.substr(0, colon)), std::string(reference.substr(colon + 1))};
}

Task<Result<ImageInfo>> docker_image(DockerClient& client, std::string reference) {
  if (!is_image_reference(reference)) co_return bad_reference(reference);
  DockerClient::Call call;
  call.path = "/images/" + reference + "/json";
  auto answer = co_await client.call(std::move(call));
  if (!answer) co_return fail(std::move(answer).error());
  auto parsed = parse_docker_json(*answer, "an image");
  if (!parsed) co_return fail(std::move(parsed).error());
  co_return read_image(*parsed);
}

Task<Result<std::vector<ImageInfo>>> docker_images(DockerClient& client, Labels labels) {
  DockerClient::Call call;
  call.path = "/images/json";
  call.query = {{"filters", docker_filters(labels)}};
  auto answer = co_await client.call(std::move(call));
  if (!answer) co_return fail(std::move(answer).error());
  auto parsed = parse_docker_json(*answer, "the list of images");
  if (!parsed) co_return fail(std::move(parsed).error());
  if (!parsed->is_array()) co_return fail(Code::kDataLoss, "the engine's list of images is not a list");
  std::vector<ImageInfo> out;
  for (const auto& image : *parsed) out.push_back(read_image(image));
  co_return out;
}

Task<Result<ImageInfo>> docker_pull(DockerClient& client, std::string reference, Progress progress) {
  if (!is_image_reference(reference)) co_return bad_reference(reference);
  const auto [name, tag] = split_reference(reference);
  DockerClient::Call call;
  call.method = "POST";
  call.path = "/images/create";
  call.query = {{"fromImage", name}, {"tag", tag}};
  co_return co_await run_with_progress(client, std::move(call), reference, "pull image '" + reference + "'",
                                       std::move(progress));
}

Task<Result<void>> docker_ensure_volume(DockerClient& client, std::string name, Labels labels) {
  if (!is_volume_name(name)) co_return bad_volume(name);
  labels["io.mcpbox.managed"] = "1";
  DockerClient::Call call;
  call.method = "POST";
  call.path = "/volumes/create";
  call.json_body = dump_json(json{{"Name", name}, {"Driver", "local"}, {"Labels", labels}});
  call.timeout = client.options().start_timeout;
  auto made = co_await client.call(std::move(call));  // fine with an existing one of that name
  if (!made) co_return fail(std::move(made).error().with_context("volume '" + name + "'"));
  // Asked again, because an engine that was started since then answers the creation without labels and options
  // (Docker 20.10).
  DockerClient::Call look;
  look.path = "/volumes/" + name;
  auto answer = co_await client.call(std::move(look));
  if (!answer) co_return fail(std::move(answer).error().with_context("volume '" + name + "'"));
  auto parsed = parse_docker_json(*answer, "a volume");
  if (!parsed) co_return fail(std::move(parsed).error());
  // A volume that somebody else made under this name, or one with mount options, could show any host folder.
  const auto& options = member(*parsed, {"Options"});
  if (string_at(*parsed, {"Driver"}) != "local" || (options.is_object() && !options.empty()) ||
      !labels_match(labels, strings_at(*parsed, {"Labels"}))) {
    co_return fail(Code::kAlreadyExists,
                   "volume '" + name + "' exists and is not this instance's: remove it or use another name");
  }
  co_return Result<void>();
}

Task<Result<std::vector<std::string>>> docker_list_volumes(DockerClient& client, Labels labels) {
  DockerClient::Call call;
  call.path = "/volumes";
  call.query = {{"filters", docker_filters(labels)}};
  auto answer = co_await client.call(std::move(call));
  if (!answer) co_return fail(std::move(answer).error());
  auto parsed = parse_docker_json(*answer, "the list of volumes");
  if (!parsed) co_return fail(std::move(parsed).error());
  std::vector<std::string> out;
  const auto& volumes = member(*parsed, {"Volumes"});
  for (const auto& volume : volumes.is_array() ? volumes : json::array()) {
    auto name = string_at(volume, {"Name"});
    if (is_volume_name(name) && labels_match(labels, strings_at(volume, {"Labels"}))) out.push_back(std::move(name));
  }
  std::ranges::sort(out);
  co_return out;
}

Task<Result<void>> docker_remove_volume(DockerClient& client, std::string name) {
  if (!is_volume_name(name)) co_return bad_volume(name);
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + client.options().start_timeout;
  const auto judged = Clock::now() + std::min<std::chrono::milliseconds>(client.options().start_timeout / 2, kInUse);
  while (true) {
    DockerClient::Call call;
    call.method = "DELETE";
    call.path = "/volumes/" + name;
    call.timeout = client.options().start_timeout;
    auto answer = co_await client.call(std::move(call));
    if (answer || answer.error().code() == Code::kNotFound) co_return Result<void>();
    const Code code = answer.error().code();
    const bool over = Clock::now() >= deadline;
    // The engine lets go of an ended sandbox's volumes after it has stopped showing the sandbox.
    if (code == Code::kAlreadyExists && (over || (Clock::now() >= judged && co_await is_shown_in_use(client, name))))
      co_return fail(Code::kFailedPrecondition, "volume '" + name + "' is in use: " + answer.error().message());
    if (over || !removal_may_work_later(code))
      co_return fail(std::move(answer).error().with_context("volume '" + name + "'"));
    co_await net::sleep_for(std::chrono::milliseconds(50));
  }
}

}  // namespace mcpbox::box
