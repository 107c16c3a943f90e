#include "app/compose/engine_setup.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "base/root_fs.h"
#include "base/setting_name.h"
#include "base/text.h"
#include "box/docker/runner_image.h"
#include "box/engines/locator.h"
#include "box/sandbox.h"
#include "sys/pem_file.h"
#include "sys/small_file.h"

namespace mcpbox::app {
namespace {

// The state directory below which the native engine keeps the sandboxes and volumes of this one's instance: this one,
// unless it has some in the user's already, where earlier versions put those of every instance.
std::string native_home(const std::string& state_dir) {
  std::string usual = name_paths("", "").state_dir;
  if (usual == state_dir) return state_dir;
  const std::string instance(trim(sys::read_file(state_dir + "/instance").value_or("")));
  if (instance.empty()) return state_dir;
  const std::string prefix = box::name_prefix(instance);
  for (const char* kind : {"/native/volumes", "/native/sandboxes"}) {
    std::error_code error;
    for (std::filesystem::directory_iterator at(usual + kind, error), end; !error && at != end; at.increment(error)) {
      if (at->path().filename().string().starts_with(prefix)) return usual;
    }
  }
  return state_dir;
}

// `named_by`: what named it, for people; may be empty.
std::unexpected<Error> over_the_network(const std::string& address, const std::string& named_by = "") {
  return fail(Code::kUnsupported,
              fmt::format("the engine {}{} cannot run servers: it is reached over the network, so its sandboxes can "
                          "neither show folders of this machine, mcpbox-init first of all, nor hand pipes to it. Run "
                          "mcpbox on the engine's machine, or use an engine of this one: --engine unix:///PATH, or "
                          "--engine {}, which needs none",
                          printable(address), named_by.empty() ? "" : ", which " + named_by + " names,",
                          box::kHostSystemEngine));
}

}  // namespace

workspace::Toolchains own_toolchains() {
  const auto variable = [](const char* name) {
    const char* value = ::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  return workspace::find_toolchains(variable("PATH"), variable("HOME"));
}

std::vector<std::string> describe_toolchains(const workspace::Toolchains& chains) {
  std::map<std::string, std::string> programs;  // by folder
  for (const workspace::Toolchain& chain : chains.found) {
    for (const auto& [source, target] : chain.binds) {
      std::string& names = programs[target];
      if (!names.empty()) names += ", ";
      names += chain.program;
    }
  }
  std::vector<std::string> lines;
  for (const auto& [folder, names] : programs) lines.push_back(fmt::format("{} for {}", printable(folder), names));
  return lines;
}

bool has_native_sandboxes(const std::string& state_dir) {
  std::error_code error;
  const std::filesystem::directory_iterator at(native_home(state_dir) + "/native/sandboxes", error), end;
  return !error && at != end;
}

Result<box::LocatorOptions> locator_options(std::string address, const std::string& state_dir) {
  box::LocatorOptions options;
  options.address = std::move(address);
  if (auto paths = make_paths(state_dir, "")) options.docker.spaces_note = paths->state_dir + "/engine-spaces";
  if (box::may_show_host_system(options.address)) {
    auto paths = make_paths(state_dir, "");
    if (!paths) return fail(std::move(paths).error());
    auto init = find_init();
    if (!init) return fail(std::move(init).error());
    options.host_system.state_dir = native_home(paths->state_dir);
    options.host_system.init_path = *init;
    for (const workspace::Toolchain& chain : own_toolchains().found) {
      if (std::ranges::find(options.host_system.tool_path, chain.bin) == options.host_system.tool_path.end())
        options.host_system.tool_path.push_back(chain.bin);
      for (const auto& bind : chain.binds) {
        if (std::ranges::find(options.host_system.tools, bind) == options.host_system.tools.end())
          options.host_system.tools.push_back(bind);
      }
    }
  }
  return options;
}

Result<void> check_engine(const box::EngineInfo& info) {
  const box::EngineTraits& traits = info.traits;
  if (traits.binds_host_folders && traits.passes_descriptors) return {};
  return over_the_network(info.address);
}

Task<Result<EngineSetup>> set_up_engine(boost::asio::any_io_executor executor, std::string address, std::string image,
                                        std::string ca_bundle, ProgressPrinter& progress, std::string state_dir) {
  EngineSetup setup;
  progress.step("looking for an engine");
  auto options = locator_options(std::move(address), state_dir);
  if (!options) co_return fail(std::move(options).error());
  // One that was named over the network is refused before anything is sent to it.
  const auto candidates = box::engine_candidates(*options);
  if (candidates.size() == 1) {
    if (const auto& named = candidates[0].address; named && named->unix_socket.empty())
      co_return over_the_network(named->text, candidates[0].origin);
  }
  auto located = co_await box::locate_engine(executor, std::move(*options));
  if (!located) co_return fail(std::move(located).error());
  if (auto fine = check_engine(located->info); !fine) co_return fail(std::move(fine).error());
  setup.engine = std::move(located->engine);
  setup.info = std::move(located->info);
  progress.done();
  progress.note("engine: " + setup.info.summary);

  const bool has_images = setup.info.traits.has_images;
  if (image.empty() && !has_images) image = kHostSystem;
  if (has_images && root_fs_of(image) == RootFs::kFolder) {
    co_return fail(Code::kInvalidArgument,
                   fmt::format("{}: a root file system in a folder needs {}{}; {} has images", printable(image),
                               setting_name("engine: ", "--engine "), box::kHostSystemEngine, setup.info.kind));
  }
  if (!image.empty()) {
    auto found = co_await setup.engine->image(image);
    if (!found && found.error().code() == Code::kNotFound) {
      progress.step(fmt::format("pulling image {}", image));
      auto on_line = [&progress](std::string_view line) { progress.detail(line); };
      found = co_await setup.engine->pull(image, on_line);
    }
    if (!found) co_return fail(std::move(found).error().with_context(fmt::format("image '{}'", image)));
    setup.image_reference = std::move(image);
    setup.image_id = found->id;
    progress.done();
    co_return setup;
  }
  auto dir = box::find_runner_image_dir();
  if (!dir) co_return fail(std::move(dir).error());
  auto tag = box::runner_image_tag(*dir);
  if (!tag) co_return fail(std::move(tag).error());
  setup.image_reference = *tag;
  progress.step(fmt::format("building the runner image {} (once)", *tag));
  auto on_line = [&progress](std::string_view line) { progress.detail(line); };
  auto ensured = co_await box::ensure_runner_image(*setup.engine, setup.info.address, std::move(*dir),
                                                   std::move(ca_bundle), on_line);
  if (!ensured) co_return fail(std::move(ensured).error());
  setup.image_id = ensured->id;
  progress.done();
  co_return setup;
}

std::vector<std::string> denied_places(const Paths& paths, const std::string& engine_address) {
  std::vector<std::string> places{paths.state_dir, paths.run_dir, paths.socket};
  if (std::string usual = name_paths("", "").state_dir; usual != paths.state_dir) places.push_back(std::move(usual));
  constexpr std::string_view kUnix = "unix://";
  if (engine_address.starts_with(kUnix)) places.push_back(engine_address.substr(kUnix.size()));
  return places;
}

Result<std::string> resolve_ca_bundle(const std::string& setting) {
  if (setting == "none") return std::string();
  const bool automatic = setting.empty() || setting == "system";
  const std::string path = automatic ? "/etc/ssl/certs/ca-certificates.crt" : setting;
  char* real = ::realpath(path.c_str(), nullptr);
  if (real == nullptr || ::access(real, R_OK) != 0) {
    ::free(real);
    if (setting.empty()) return std::string();
    return fail(Code::kInvalidArgument, fmt::format("the CA bundle {} cannot be read; set {} to a PEM file, or to none",
                                                    path, setting_name("box.ca_bundle", "--ca-bundle")));
  }
  std::string found(real);
  ::free(real);
  if (auto checked = sys::check_certificates(found); !checked && !automatic) {
    return fail(Code::kInvalidArgument,
                fmt::format("{}; set {} to a PEM file of certificates, or to none", checked.error().message(),
                            setting_name("box.ca_bundle", "--ca-bundle")));
  }
  return found;
}

}  // namespace mcpbox::app
