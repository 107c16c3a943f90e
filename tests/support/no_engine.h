// An engine that answers every question with "it is down": for what must work, or fail well, without one.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "box/engine.h"

namespace mcpbox::test {

class NoEngine : public box::Engine {
  template <class T>
  static Task<Result<T>> down() {
    co_return fail(Code::kUnavailable, "the engine is down");
  }

 public:
  Task<Result<box::EngineInfo>> probe() override { return down<box::EngineInfo>(); }
  Task<Result<box::SandboxState>> create(box::SandboxSpec) override { return down<box::SandboxState>(); }
  Task<Result<box::SandboxState>> inspect(std::string) override { return down<box::SandboxState>(); }
  Task<Result<std::vector<box::SandboxState>>> list(box::Labels) override {
    return down<std::vector<box::SandboxState>>();
  }
  Task<Result<void>> remove(std::string) override { return down<void>(); }
  Task<Result<std::unique_ptr<box::Supervisor>>> dial(box::SandboxState, std::chrono::milliseconds) override {
    return down<std::unique_ptr<box::Supervisor>>();
  }
  Task<Result<box::GroupOfServers>> group_of_servers(box::SandboxState) override { return down<box::GroupOfServers>(); }
  Task<Result<void>> ensure_volume(std::string, box::Labels) override { return down<void>(); }
  Task<Result<std::vector<std::string>>> list_volumes(box::Labels) override { return down<std::vector<std::string>>(); }
  Task<Result<void>> remove_volume(std::string) override { return down<void>(); }
  Task<Result<box::ImageInfo>> image(std::string) override { return down<box::ImageInfo>(); }
  Task<Result<std::vector<box::ImageInfo>>> images(box::Labels) override { return down<std::vector<box::ImageInfo>>(); }
  Task<Result<box::ImageInfo>> pull(std::string, box::Progress) override { return down<box::ImageInfo>(); }
};

}  // namespace mcpbox::test
