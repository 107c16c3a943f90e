// An engine with the runner image, and an instance of mcpbox for one test, of which nothing stays.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/compose/engine_setup.h"
#include "base/digest.h"
#include "box/sandbox.h"
#include "hosting/sandbox_backend.h"
#include "net/wait.h"
#include "support/run_task.h"
#include "support/temp_tree.h"

namespace mcpbox::test {

using Clock = std::chrono::steady_clock;

class RealEngine : public testing::Test {
 protected:
  boost::asio::io_context loop;
  boost::asio::thread_pool pool{2};
  TempTree tree;
  app::EngineSetup setup;
  std::string instance = random_hex(16);
  std::string init = variable("MCPBOX_BUILD_DIR") + "/bin/mcpbox-init";
  std::string run_dir = tree.dir("run");

  static std::string variable(const char* name) {
    const char* value = ::getenv(name);
    return value != nullptr ? value : "";
  }

  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    ::setenv("MCPBOX_INIT", init.c_str(), 1);
    ::setenv("MCPBOX_IMAGE_DIR", (variable("MCPBOX_SOURCE_DIR") + "/images/runner").c_str(), 1);
    // The engine resolves the paths of mounts: others must be able to walk to them.
    ::chmod(tree.root().c_str(), 0755);
    ::chmod(run_dir.c_str(), 0700);
    auto find = [this]() -> Task<std::string> {
      app::ProgressPrinter progress(false);
      auto found = co_await app::set_up_engine(loop.get_executor(), "", "", "", progress);
      if (!found) co_return found.error().message();
      setup = std::move(*found);
      co_return std::string();
    };
    const std::string problem = run_task(loop, find(), std::chrono::minutes(4));
    ASSERT_EQ(problem, "");
  }

  void TearDown() override {
    if (!setup.engine) return;
    auto clean = [this]() -> Task<bool> {
      co_return (co_await hosting::remove_everything(*setup.engine, instance, true)).has_value();
    };
    EXPECT_TRUE(run_task(loop, clean()));
    pool.join();
  }

  box::SandboxOptions session_options(std::string name) const {
    box::SandboxOptions options;
    options.instance = instance;
    options.name = std::move(name);
    options.init_path = init;
    options.run_dir = run_dir;
    options.profile.image = setup.image_id;
    return options;
  }

  // How many sandboxes this instance has on the engine, running or not.
  Task<std::size_t> sandboxes() {
    auto found = co_await setup.engine->list(box::instance_labels(instance));
    co_return found ? found->size() : 1000;
  }
  // Asks again until the number is there; the engine removes in the background.
  Task<bool> sandboxes_become(std::size_t wanted) {
    for (const auto until = Clock::now() + std::chrono::seconds(30); Clock::now() < until;) {
      if (co_await sandboxes() == wanted) co_return true;
      co_await net::sleep_for(std::chrono::milliseconds(50));
    }
    co_return false;
  }
};

}  // namespace mcpbox::test
