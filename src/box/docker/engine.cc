#include "box/docker/engine.h"

#include "box/bind_equipment.h"
#include "box/docker/containers.h"
#include "box/docker/images.h"
#include "box/docker/server_group.h"
#include "box/docker/spaces.h"

namespace mcpbox::box {
namespace {

class DockerEngine final : public Engine {
 public:
  DockerEngine(boost::asio::any_io_executor executor, DockerAddress address, DockerOptions options)
      : executor_(executor),
        client_(std::move(executor), std::move(address), options),
        spaces_(client_, options.spaces_note) {}

  Task<Result<EngineInfo>> probe() override {
    client_.forget_facts();
    auto facts = co_await client_.facts();
    if (!facts) co_return fail(std::move(facts).error());
    co_return facts->info;
  }
  Task<Result<SandboxState>> create(SandboxSpec spec) override {
    auto control = equipment_.prepare(spec);
    if (!control) co_return fail(std::move(control).error());
    auto made = co_await spaces_.create(std::move(spec), control->socket());
    if (made) equipment_.made(std::move(*control), made->id);
    co_return made;
  }
  Task<Result<SandboxState>> inspect(std::string id) override { return docker_inspect(client_, std::move(id)); }
  Task<Result<std::vector<SandboxState>>> list(Labels labels) override {
    return docker_list(client_, std::move(labels));
  }
  Task<Result<void>> remove(std::string id) override {
    // The engine is asked for what another controller made, while it still knows.
    if (!equipment_.knows(id)) {
      if (const auto state = co_await docker_inspect(client_, id)) equipment_.learn(*state);
    }
    auto removed = co_await docker_remove(client_, id);
    if (removed) equipment_.removed(id), forget_server_groups({});
    co_return removed;
  }
  Task<Result<std::unique_ptr<Supervisor>>> dial(SandboxState state, std::chrono::milliseconds timeout) override {
    return equipment_.dial(executor_, std::move(state), timeout);
  }
  Task<Result<GroupOfServers>> group_of_servers(SandboxState state) override {
    if (client_.address().unix_socket.empty())
      co_return fail(Code::kUnsupported, "the engine is not on this machine, as far as its address says");
    auto pid = co_await docker_first_process(client_, std::move(state.id));
    if (!pid) co_return fail(std::move(pid).error());
    co_return open_server_group({}, pid->pid, pid->container);
  }
  Task<Result<void>> ensure_volume(std::string name, Labels labels) override {
    return docker_ensure_volume(client_, std::move(name), std::move(labels));
  }
  Task<Result<std::vector<std::string>>> list_volumes(Labels labels) override {
    return docker_list_volumes(client_, std::move(labels));
  }
  Task<Result<void>> remove_volume(std::string name) override { return docker_remove_volume(client_, std::move(name)); }
  Task<Result<ImageInfo>> image(std::string reference) override { return docker_image(client_, std::move(reference)); }
  Task<Result<std::vector<ImageInfo>>> images(Labels labels) override {
    return docker_images(client_, std::move(labels));
  }
  Task<Result<ImageInfo>> pull(std::string reference, Progress progress) override {
    return docker_pull(client_, std::move(reference), std::move(progress));
  }

 private:
  boost::asio::any_io_executor executor_;
  DockerClient client_;
  DockerSpacesFinder spaces_;
  BindEquipment equipment_;
};

}  // namespace

std::unique_ptr<Engine> make_docker_engine(boost::asio::any_io_executor executor, DockerAddress address,
                                           DockerOptions options) {
  return std::make_unique<DockerEngine>(std::move(executor), std::move(address), options);
}

}  // namespace mcpbox::box
