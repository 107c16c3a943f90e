// While it lives, messages are said to who typed options of `mcpbox run`.
#pragma once

#include "base/setting_name.h"

namespace mcpbox::test {

struct SaidToOptions {
  SaidToOptions() { set_settings_from(SettingsFrom::kOptions); }
  ~SaidToOptions() { set_settings_from(SettingsFrom::kFile); }
  SaidToOptions(const SaidToOptions&) = delete;
  SaidToOptions& operator=(const SaidToOptions&) = delete;
};

}  // namespace mcpbox::test
