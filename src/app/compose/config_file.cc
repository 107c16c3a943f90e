#include "app/compose/config_file.h"

#include "box/engines/locator.h"

namespace mcpbox::app {
namespace {

struct OwnSources final : config::Sources {
  std::string engine_problem(const std::string& address) const override { return box::address_problem(address); }
};

}  // namespace

std::expected<config::Settings, std::vector<config::Problem>> load_config(const std::string& file) {
  return config::load(file, OwnSources());
}

std::expected<config::Settings, std::vector<config::Problem>> load_config_place(const std::string& file,
                                                                                config::Image image) {
  return config::load_place(file, image, OwnSources());
}

}  // namespace mcpbox::app
