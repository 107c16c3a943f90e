// The first Engine: any program that speaks Docker's API 1.40 or newer (Docker, Podman), over a unix socket or TCP.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>

#include "box/docker/address.h"
#include "box/docker/client.h"
#include "box/engine.h"

namespace mcpbox::box {

// Does not connect yet. No call is repeated by itself, but a removal until it is done. create() that fails or is
// cancelled half-way removes what it made, as far as the engine lets it.
std::unique_ptr<Engine> make_docker_engine(boost::asio::any_io_executor executor, DockerAddress address,
                                           DockerOptions options = {});

}  // namespace mcpbox::box
