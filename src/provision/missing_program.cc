#include "provision/missing_program.h"

#include <fmt/format.h>

#include "base/root_fs.h"
#include "base/secrets.h"
#include "base/setting_name.h"
#include "base/text.h"

namespace mcpbox::provision {
namespace {

struct Source {
  std::string_view program, how;
};
constexpr std::string_view kNode = "install Node.js with npm (Debian, Ubuntu: apt install nodejs npm; or nvm)";
constexpr std::string_view kUv = "install uv (https://docs.astral.sh/uv/getting-started/installation)";
constexpr std::string_view kPython = "install Python 3 (Debian, Ubuntu: apt install python3)";
constexpr Source kSources[] = {{"node", kNode},
                               {"npm", kNode},
                               {"npx", kNode},
                               {"uv", kUv},
                               {"uvx", kUv},
                               {"python", kPython},
                               {"python3", kPython},
                               {"pnpm", "install pnpm (corepack enable pnpm)"},
                               {"yarn", "install Yarn (corepack enable yarn)"},
                               {"bun", "install Bun (https://bun.sh)"},
                               {"deno", "install Deno (https://deno.com)"}};

}  // namespace

std::string how_to_install(std::string_view program) {
  for (const Source& source : kSources) {
    if (source.program == program) return std::string(source.how);
  }
  return fmt::format("install it for the whole machine, below /usr, or show its folder ({})",
                     setting_name("box.mounts", "--mount"));
}

std::string missing_program_hint(std::string_view program, std::string_view image_id) {
  const std::string_view name =
      program.substr(program.rfind('/') == std::string_view::npos ? 0 : program.rfind('/') + 1);
  const RootFs root_fs = image_id.empty() ? RootFs::kHostSystem : root_fs_of(image_id);
  if (root_fs != RootFs::kHostSystem) {
    if (root_fs == RootFs::kFolder) {
      return fmt::format("the rootfs {} does not have {}: use one that has it ({})", printable(image_id, 200),
                         from_outside(name, 80), setting_name("box.image", "--rootfs"));
    }
    // A digest tells nobody which image it is.
    const std::string tag = image_id.starts_with("sha256:") ? "" : " " + printable(image_id, 200);
    return fmt::format("the image{} does not have {}: use one that has it ({})", tag, from_outside(name, 80),
                       setting_name("box.image", "--image"));
  }
  return fmt::format(
      "the engine shows this machine's own system, and {} is not in it: {}, or use a rootfs that has it "
      "({}), or a Docker-compatible engine, whose runner image has Node.js, Python and uv",
      from_outside(name, 80), how_to_install(name), setting_name("box.image", "--rootfs DIR"));
}

}  // namespace mcpbox::provision
