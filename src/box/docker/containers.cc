#include "box/docker/containers.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/log.h"
#include "base/setting_name.h"
#include "base/text.h"
#include "base/url.h"
#include "box/docker/json.h"
#include "box/docker/profile.h"
#include "net/uninterrupted.h"
#include "net/wait.h"

namespace mcpbox::box {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

// Between two tries of what an ending sandbox stands in the way of.
constexpr std::chrono::milliseconds kShortestPause(10);
constexpr std::chrono::milliseconds kLongestPause(200);
// How long what nobody answered for may take to appear.
constexpr std::chrono::seconds kUnanswered(10);

Labels our_labels(const json& object, std::initializer_list<const char*> path) {
  Labels out;
  for (auto& [name, value] : strings_at(object, path)) {
    if (name.starts_with(kLabelPrefix)) out.emplace(name, value);
  }
  return out;
}

SandboxState read_state(const json& container) {
  SandboxState state;
  state.id = string_at(container, {"Id"});
  state.name = string_at(container, {"Name"});
  if (state.name.starts_with('/')) state.name.erase(0, 1);
  state.labels = our_labels(container, {"Config", "Labels"});
  state.running = bool_at(container, {"State", "Running"});
  const auto status = string_at(container, {"State", "Status"});
  if (!state.running && status != "created" && status != "initialized" && status != "configured") {
    state.exit_code = static_cast<int>(integer_at(container, {"State", "ExitCode"}, -1));
    state.killed_for_memory = bool_at(container, {"State", "OOMKilled"});
  }
  return state;
}

Task<Result<std::string>> describe(DockerClient& client, std::string id_or_name) {
  DockerClient::Call call;
  call.path = "/containers/" + percent_encode(id_or_name) + "/json";
  co_return co_await client.call(std::move(call));
}

Task<Result<std::string>> make(DockerClient& client, std::string name, std::string body) {
  DockerClient::Call call;
  call.method = "POST";
  call.path = "/containers/create";
  call.query = {{"name", std::move(name)}};
  call.json_body = std::move(body);
  call.timeout = client.options().start_timeout;
  auto answer = co_await client.call(std::move(call));
  if (!answer) co_return fail(std::move(answer).error().with_context("the engine could not create the sandbox"));
  auto parsed = parse_docker_json(*answer, "a created container");
  if (!parsed) co_return fail(std::move(parsed).error());
  auto id = string_at(*parsed, {"Id"});
  if (!is_docker_id(id)) co_return fail(Code::kDataLoss, "the engine created a container without a valid id");
  co_return id;
}

// Runtimes tell of a limit that the engine's own is below by its number (runc) or name (crun).
Error explain_start(Error error) {
  const bool processes =
      error.message().contains("setting rlimit type 6:") || error.message().contains("`RLIMIT_NPROC`");
  Error told = std::move(error).with_context("the engine could not start the sandbox");
  if (!processes) return told;
  return Error(told.code(), fmt::format("{}; it may have fewer processes itself than {} asks for: ask for at most "
                                        "what `LimitNPROC` of the engine's service (or `ulimit -Hu` of who started "
                                        "it) allows, or raise that",
                                        told.message(), setting_name("box.limits.pids_limit", "--pids")));
}

Task<Result<void>> start(DockerClient& client, std::string id) {
  DockerClient::Call call;
  call.method = "POST";
  call.path = "/containers/" + id + "/start";
  call.timeout = client.options().start_timeout;
  auto answer = co_await client.call(std::move(call));
  if (!answer) co_return fail(explain_start(std::move(answer).error()));
  co_return Result<void>();
}

// True while the engine is removing what had the name, or is about to: its PID 1 has ended and AutoRemove is set.
Task<bool> name_becomes_free(DockerClient& client, std::string name) {
  auto description = co_await describe(client, std::move(name));
  if (!description) co_return description.error().code() == Code::kNotFound;
  auto parsed = parse_docker_json(*description, "the container's description");
  if (!parsed) co_return false;
  const auto status = string_at(*parsed, {"State", "Status"});
  co_return status == "removing" || status == "dead" ||
      (status == "exited" && bool_at(*parsed, {"HostConfig", "AutoRemove"}));
}

// A name stays taken for a moment after its sandbox ended.
Task<Result<std::string>> make_when_free(DockerClient& client, std::string name, std::string body) {
  const auto deadline = Clock::now() + client.options().start_timeout;
  auto pause = kShortestPause;
  while (true) {
    auto made = co_await make(client, name, body);
    if (made || made.error().code() != Code::kAlreadyExists || Clock::now() + pause >= deadline) co_return made;
    if (!co_await name_becomes_free(client, name)) co_return made;
    co_await net::sleep_for(pause);
    pause = std::min(pause * 2, kLongestPause);
  }
}

// What a creation has done so far.
struct Begun {
  bool asked = false;  // the engine may have made something
  std::string id;      // of what it made
};

// Makes, compares and starts; `begun` is filled in as soon as there may be something to remove.
Task<Result<SandboxState>> create_steps(DockerClient& client, const SandboxSpec& spec, DockerSpaces spaces,
                                        std::string nonce, Begun& begun) {
  auto facts = co_await client.facts();
  if (!facts) co_return fail(std::move(facts).error());
  DockerClient::Call ask_image;
  ask_image.path = "/images/" + spec.profile.image + "/json";
  auto image_json = co_await client.call(std::move(ask_image));
  if (!image_json) co_return fail(std::move(image_json).error().with_context("image '" + spec.profile.image + "'"));
  auto image = read_docker_image(*image_json);
  if (!image) co_return fail(std::move(image).error().with_context("image '" + spec.profile.image + "'"));

  const std::string body = docker_create_body(spec, *facts, *image, nonce, spaces);
  begun.asked = true;
  auto made = co_await make_when_free(client, spec.name, body);
  if (!made) co_return fail(std::move(made).error());
  const std::string id = begun.id = std::move(*made);
  // Before it starts: a container that is not what was asked for never runs.
  auto description = co_await describe(client, id);
  if (!description) co_return fail(std::move(description).error());
  if (auto same = check_docker_container(body, *description, *facts); !same) co_return fail(std::move(same).error());
  auto parsed = parse_docker_json(*description, "the container's description");
  if (!parsed) co_return fail(std::move(parsed).error());
  auto state = read_state(*parsed);
  if (auto started = co_await start(client, id); !started) co_return fail(std::move(started).error());
  state.running = true;
  co_return state;
}

// Finds by name what a create call made whose answer did not arrive. The nonce proves that it is that one. An engine
// goes on with a request whose client is gone, and is as slow with it as it was before.
Task<std::string> find_unanswered(DockerClient& client, std::string name, std::string nonce) {
  const auto deadline = Clock::now() + std::min<std::chrono::milliseconds>(kUnanswered, client.options().start_timeout);
  auto pause = kShortestPause;
  while (true) {
    auto description = co_await describe(client, name);
    if (!description) {
      const Code code = description.error().code();
      if (code != Code::kNotFound && code != Code::kUnavailable && code != Code::kTimeout) co_return std::string();
      if (Clock::now() + pause >= deadline) co_return std::string();
      co_await net::sleep_for(pause);
      pause = std::min(pause * 2, kLongestPause);
      continue;
    }
    auto parsed = parse_docker_json(*description, "the container's description");
    if (!parsed || string_at(*parsed, {"Config", "Labels", kCreateLabel.data()}) != nonce) co_return std::string();
    auto id = string_at(*parsed, {"Id"});
    co_return is_docker_id(id) ? id : std::string();
  }
}

bool answer_lost(const Error& error) {
  return error.code() == Code::kTimeout || error.code() == Code::kCancelled || error.code() == Code::kUnavailable ||
         error.code() == Code::kDataLoss;
}

}  // namespace

Task<Result<SandboxState>> docker_create(DockerClient& client, SandboxSpec spec, DockerSpaces spaces) {
  if (auto checked = check_sandbox_spec(spec); !checked) co_return fail(std::move(checked).error());
  const std::string nonce = random_hex(16);
  Begun begun;
  const auto undo = [&](const Error& why) -> Task<void> {
    std::string id = begun.id;
    if (id.empty() && begun.asked && answer_lost(why)) id = co_await find_unanswered(client, spec.name, nonce);
    if (id.empty()) co_return;
    if (auto removed = co_await docker_remove(client, id); !removed) {
      log::warning("engine", "the unfinished sandbox {} could not be removed: {}", spec.name,
                   removed.error().message());
    }
  };
  co_return co_await net::undone_unless_done(create_steps(client, spec, spaces, nonce, begun), undo);
}

Task<Result<SandboxState>> docker_inspect(DockerClient& client, std::string id) {
  if (!is_docker_id(id)) co_return fail(Code::kInvalidArgument, "'" + printable(id, 80) + "' is not a sandbox id");
  auto description = co_await describe(client, id);
  if (!description) co_return fail(std::move(description).error());
  auto parsed = parse_docker_json(*description, "the container's description");
  if (!parsed) co_return fail(std::move(parsed).error());
  auto state = read_state(*parsed);
  if (state.id != id) co_return fail(Code::kDataLoss, "the engine described another container than " + id);
  co_return state;
}

Task<Result<DockerProcess>> docker_first_process(DockerClient& client, std::string id) {
  if (!is_docker_id(id)) co_return fail(Code::kInvalidArgument, "'" + printable(id, 80) + "' is not a sandbox id");
  auto description = co_await describe(client, id);
  if (!description) co_return fail(std::move(description).error());
  auto parsed = parse_docker_json(*description, "the container's description");
  if (!parsed) co_return fail(std::move(parsed).error());
  const std::int64_t pid = integer_at(*parsed, {"State", "Pid"});
  if (string_at(*parsed, {"Id"}) != id || pid <= 0 || pid > std::numeric_limits<pid_t>::max())
    co_return fail(Code::kDataLoss, "the engine does not say which process is the first of container " + id);
  co_return DockerProcess{std::move(id), static_cast<pid_t>(pid)};
}

Task<Result<std::vector<SandboxState>>> docker_list(DockerClient& client, Labels labels) {
  DockerClient::Call call;
  call.path = "/containers/json";
  call.query = {{"all", "true"}, {"filters", docker_filters(labels)}};
  auto answer = co_await client.call(std::move(call));
  if (!answer) co_return fail(std::move(answer).error());
  auto parsed = parse_docker_json(*answer, "the list of containers");
  if (!parsed) co_return fail(std::move(parsed).error());
  if (!parsed->is_array()) co_return fail(Code::kDataLoss, "the engine's list of containers is not a list");
  std::vector<SandboxState> out;
  for (const auto& container : *parsed) {
    SandboxState state;
    state.id = string_at(container, {"Id"});
    state.labels = our_labels(container, {"Labels"});
    if (!is_docker_id(state.id) || !labels_match(labels, state.labels)) continue;
    state.running = string_at(container, {"State"}) == "running";
    const auto& names = member(container, {"Names"});
    if (names.is_array() && !names.empty() && names[0].is_string()) state.name = names[0].get<std::string>();
    if (state.name.starts_with('/')) state.name.erase(0, 1);
    if (!state.running) {  // the list does not say how it ended
      auto details = co_await docker_inspect(client, state.id);
      if (!details && details.error().code() == Code::kNotFound) continue;  // removed meanwhile
      if (!details) co_return fail(std::move(details).error());
      state = std::move(*details);
    }
    out.push_back(std::move(state));
  }
  co_return out;
}

Task<Result<void>> docker_remove(DockerClient& client, std::string id) {
  if (!is_docker_id(id)) co_return fail(Code::kInvalidArgument, "'" + printable(id, 80) + "' is not a sandbox id");
  const auto deadline = Clock::now() + client.options().start_timeout;
  auto pause = kShortestPause;
  while (true) {
    DockerClient::Call call;
    call.method = "DELETE";
    call.path = "/containers/" + id;
    call.query = {{"force", "true"}, {"v", "true"}};
    call.timeout = client.options().start_timeout;
    auto answer = co_await client.call(std::move(call));
    if (answer || answer.error().code() == Code::kNotFound) co_return Result<void>();
    // Gone is what the caller waits for. An engine answers 409 while a removal is under way (its own, with
    // remove_on_exit), 500 when PID 1 ended between its look and its kill, 502 to 504 or nothing while it restarts.
    if (!removal_may_work_later(answer.error().code()) || Clock::now() + pause >= deadline) {
      co_return fail(std::move(answer).error().with_context("remove the sandbox " + id.substr(0, 12)));
    }
    co_await net::sleep_for(pause);
    pause = std::min(pause * 2, kLongestPause);
  }
}

bool removal_may_work_later(Code code) {
  return code == Code::kAlreadyExists || code == Code::kFailedPrecondition || code == Code::kUnavailable ||
         code == Code::kResourceExhausted || code == Code::kInternal;
}

std::string docker_filters(const Labels& labels) {
  json filters = json::object();
  for (const auto& [name, value] : labels) filters["label"].push_back(name + "=" + value);
  return dump_json(filters);
}

}  // namespace mcpbox::box
