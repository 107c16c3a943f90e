// mcpbox.yaml as this program reads it.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "config/load.h"

namespace mcpbox::app {

// config::load() and config::load_place(), which also know the addresses of this program's engines.
std::expected<config::Settings, std::vector<config::Problem>> load_config(const std::string& file);
std::expected<config::Settings, std::vector<config::Problem>> load_config_place(const std::string& file,
                                                                                config::Image image);

}  // namespace mcpbox::app
