#include "box/init/options.h"

#include <charconv>
#include <string_view>

#include "base/sandbox_label.h"

namespace mcpbox::box::init {

std::expected<Options, std::string> parse_options(int argc, const char* const* argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--version") {
      options.version = true;
      return options;
    }
    if (name == "--build") {
      options.build = true;
      if (argc != 2) return std::unexpected("--build stands alone");
      return options;
    }
    if (name == "--ephemeral") {
      options.ephemeral = true;
      continue;
    }
    if (name == "--one-id") {
      options.one_id = true;
      continue;
    }
    if (name == "--spaces") {
      options.spaces = Spaces::kAll;
      continue;
    }
    if (name == "--spaces-without-proc") {
      options.spaces = Spaces::kWithoutProc;
      continue;
    }
    if (name != "--control" && name != "--owner" && name != "--root" && name != "--egress" && name != "--sandbox" &&
        name != "--try-spaces") {
      return std::unexpected("unknown option '" + std::string(name) + "'");
    }
    if (++i == argc) return std::unexpected("option '" + std::string(name) + "' needs a value");
    const std::string_view value = argv[i];
    if (name == "--control") {
      options.control = value;
    } else if (name == "--root") {
      options.roots.emplace_back(value);
    } else if (name == "--sandbox") {
      if (!is_sandbox_label(value)) return std::unexpected("--sandbox '" + std::string(value) + "' is no name");
      options.sandbox = value;
    } else if (name == "--egress") {
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), options.egress_port);
      const std::string_view rest(end, static_cast<std::size_t>(value.data() + value.size() - end));
      if (error != std::errc() || options.egress_port == 0 || !rest.starts_with(":/") || rest.ends_with('/')) {
        return std::unexpected("--egress '" + std::string(value) + "' is not PORT:/PATH");
      }
      options.egress_socket = rest.substr(1);
    } else {
      uid_t& uid = name == "--owner" ? options.owner : options.try_spaces;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), uid);
      if (error != std::errc() || end != value.data() + value.size()) {
        return std::unexpected(std::string(name) + " '" + std::string(value) + "' is not a uid");
      }
    }
  }
  if (options.control.empty() || options.control.front() != '/')
    return std::unexpected("--control needs an absolute path");
  return options;
}

}  // namespace mcpbox::box::init
