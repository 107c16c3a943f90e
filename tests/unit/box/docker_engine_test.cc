#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "box/docker/engine.h"
#include "support/fake_engine.h"
#include "support/result_matcher.h"
#include "support/run_task.h"

namespace mcpbox::box {
namespace {

using nlohmann::json;
using test::fails;
using test::FakeEngine;
using test::succeeds;
using Then = FakeEngine::Reply::Then;
using std::chrono::milliseconds;

const std::string kId(64, 'b');
const std::string kImageJson =
    R"({"Id":"sha256:)" + std::string(64, 'a') + R"(","RepoTags":["r:1"],"Size":5,"Created":"2026-11-21T00:00:01Z"})";

DockerOptions quick() {
  DockerOptions options;
  options.call_timeout = milliseconds(400);
  options.start_timeout = milliseconds(400);
  options.image_idle_timeout = milliseconds(300);
  options.max_answer_bytes = 1 << 20;
  return options;
}

struct DockerEngineTest : testing::Test {
  boost::asio::io_context loop;

  std::unique_ptr<Engine> connect(const FakeEngine& server, DockerOptions options = quick()) {
    return make_docker_engine(loop.get_executor(), *parse_docker_address(server.socket_path()), options);
  }
  template <class T>
  T run(Task<T> task) {
    return test::run_task(loop, std::move(task));
  }
  static SandboxSpec spec() {
    SandboxSpec out;
    out.name = "test";
    out.profile.image = "r:1";
    out.init_argv = {"/.box/mcpbox-init"};
    out.labels = {{"io.mcpbox.instance", "one"}};
    return out;
  }
};

// An engine that makes what it is asked for; `change` spoils the description of the container.
struct HonestEngine {
  std::mutex mutex;
  json created;
  std::function<void(json&)> change;
  int start_status = 204;
  std::string start_says = "OCI runtime create failed";

  FakeEngine::Handler handler() {
    return FakeEngine::docker([this](const FakeEngine::Request& request) {
      std::lock_guard lock(mutex);
      if (request.is("GET", "/images/")) return FakeEngine::json(200, kImageJson);
      if (request.is("POST", "/containers/create")) {
        created = json::parse(request.body);
        return FakeEngine::json(201, R"({"Id":")" + kId + R"(","Warnings":[]})");
      }
      if (request.is("POST", "/start")) {
        return start_status == 204 ? FakeEngine::raw("HTTP/1.1 204 No Content\r\n\r\n", Then::kKeep)
                                   : FakeEngine::json(start_status, json{{"message", start_says}}.dump());
      }
      if (request.is("DELETE", kId)) return FakeEngine::raw("HTTP/1.1 204 No Content\r\n\r\n", Then::kKeep);
      if (request.is("GET", "/containers/")) return FakeEngine::json(200, description().dump());
      return FakeEngine::json(404, R"({"message":"page not found"})");
    });
  }
  json description() {
    json made{{"Id", kId},
              {"Name", "/test"},
              {"Image", created["Image"]},
              {"State", {{"Status", "created"}, {"Running", false}}}};
    made["Config"] = created;
    made["HostConfig"] = created["HostConfig"];
    made["Mounts"] = json::array();
    if (change) change(made);
    return made;
  }
};

template <class T>
std::string text_of(const Result<T>& result) {
  return result ? "no error" : result.error().message();
}
template <class T>
Code code_of(const Result<T>& result) {
  return result ? Code::kInternal : result.error().code();
}

TEST_F(DockerEngineTest, probe_reports_who_answers) {
  FakeEngine server(FakeEngine::docker([](const auto&) { return FakeEngine::json(404, "{}"); }));
  auto info = run(connect(server)->probe());
  ASSERT_TRUE(info) << text_of(info);
  EXPECT_EQ(info->kind, "docker");
  EXPECT_EQ(info->version, "20.10.24");
  EXPECT_EQ(info->api_version, "1.41");
  EXPECT_EQ(info->cgroup_version, 2);
  EXPECT_TRUE(info->warnings.empty());
}

TEST_F(DockerEngineTest, a_newer_engine_is_spoken_to_in_the_newest_version_we_know) {
  FakeEngine server(FakeEngine::docker([](const auto&) { return FakeEngine::json(404, "{}"); }, "1.99"));
  auto info = run(connect(server)->probe());
  ASSERT_TRUE(info);
  EXPECT_EQ(info->api_version, "1.47");
}

TEST_F(DockerEngineTest, an_old_engine_is_refused_in_words) {
  FakeEngine server(FakeEngine::docker([](const auto&) { return FakeEngine::json(404, "{}"); }, "1.39"));
  auto info = run(connect(server)->probe());
  EXPECT_EQ(code_of(info), Code::kUnsupported);
  EXPECT_NE(text_of(info).find("1.40 or newer"), std::string::npos) << text_of(info);
}

TEST_F(DockerEngineTest, something_else_on_the_socket_is_refused) {
  FakeEngine server([](const auto&) { return FakeEngine::raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"); });
  EXPECT_EQ(code_of(run(connect(server)->probe())), Code::kUnsupported);
}

TEST_F(DockerEngineTest, the_error_is_what_the_engine_said_and_printable) {
  FakeEngine server(FakeEngine::docker(
      [](const auto&) { return FakeEngine::json(500, R"({"message":"driver failed\u001b[31m: no such thing"})"); }));
  auto answer = run(connect(server)->inspect(kId));
  EXPECT_EQ(code_of(answer), Code::kFailedPrecondition);
  EXPECT_NE(text_of(answer).find("no such thing"), std::string::npos);
  EXPECT_EQ(text_of(answer).find('\x1b'), std::string::npos);
}

TEST_F(DockerEngineTest, maps_status_to_code) {
  std::atomic<int> status = 0;
  FakeEngine server(FakeEngine::docker([&](const auto&) { return FakeEngine::json(status, R"({"message":"m"})"); }));
  auto engine = connect(server);
  for (const auto& [number, code] : std::vector<std::pair<int, Code>>{{400, Code::kInvalidArgument},
                                                                      {401, Code::kUnauthenticated},
                                                                      {403, Code::kPermissionDenied},
                                                                      {404, Code::kNotFound},
                                                                      {503, Code::kUnavailable},
                                                                      {500, Code::kFailedPrecondition},
                                                                      {302, Code::kFailedPrecondition}}) {
    status = number;
    EXPECT_EQ(code_of(run(engine->image("r:1"))), code) << number;
  }
}

TEST_F(DockerEngineTest, truncated_json_is_data_loss) {
  FakeEngine server(FakeEngine::docker([](const auto&) { return FakeEngine::json(200, R"({"Id":"sha256:)"); }));
  EXPECT_EQ(code_of(run(connect(server)->image("r:1"))), Code::kDataLoss);
}

TEST_F(DockerEngineTest, deep_json_is_data_loss) {
  FakeEngine server(FakeEngine::docker([](const auto&) { return FakeEngine::json(200, std::string(200000, '[')); }));
  EXPECT_EQ(code_of(run(connect(server)->image("r:1"))), Code::kDataLoss);
}

TEST_F(DockerEngineTest, a_huge_answer_stops_at_the_limit) {
  FakeEngine server(FakeEngine::docker([](const auto&) {
    auto reply = FakeEngine::raw("HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n", Then::kFlood);
    reply.more = std::string(65536, ' ');
    return reply;
  }));
  EXPECT_EQ(code_of(run(connect(server)->image("r:1"))), Code::kResourceExhausted);
}

TEST_F(DockerEngineTest, a_wrong_content_length_is_data_loss) {
  FakeEngine server(FakeEngine::docker(
      [](const auto&) { return FakeEngine::raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}"); }));
  EXPECT_EQ(code_of(run(connect(server)->image("r:1"))), Code::kDataLoss);
}

TEST_F(DockerEngineTest, a_slow_loris_ends_at_the_timeout) {
  FakeEngine server(FakeEngine::docker([](const auto&) {
    auto reply = FakeEngine::raw("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", Then::kDrip);
    reply.more = std::string(100000, ' ');
    return reply;
  }));
  EXPECT_EQ(code_of(run(connect(server)->image("r:1"))), Code::kTimeout);
}

TEST_F(DockerEngineTest, create_makes_compares_and_starts) {
  HonestEngine honest;
  FakeEngine server(honest.handler());
  auto state = run(connect(server)->create(spec()));
  ASSERT_TRUE(state) << text_of(state);
  EXPECT_EQ(state->id, kId);
  EXPECT_EQ(state->name, "test");
  EXPECT_TRUE(state->running);
  EXPECT_EQ(state->labels.at("io.mcpbox.profile"), spec().hash());
  EXPECT_EQ(server.count("DELETE", kId), 0u);
  EXPECT_EQ(honest.created["Image"], "sha256:" + std::string(64, 'a'));  // the id, not the tag
}

TEST_F(DockerEngineTest, a_container_that_differs_is_removed_and_never_started) {
  HonestEngine honest;
  honest.change = [](json& made) { made["HostConfig"]["Privileged"] = true; };
  FakeEngine server(honest.handler());
  auto state = run(connect(server)->create(spec()));
  EXPECT_EQ(code_of(state), Code::kFailedPrecondition);
  EXPECT_NE(text_of(state).find("HostConfig.Privileged"), std::string::npos) << text_of(state);
  EXPECT_EQ(server.count("POST", "/start"), 0u);
  EXPECT_EQ(server.count("DELETE", kId + "?force=true&v=true"), 1u);
}

TEST_F(DockerEngineTest, a_container_that_does_not_start_is_removed) {
  HonestEngine honest;
  honest.start_status = 400;
  FakeEngine server(honest.handler());
  auto state = run(connect(server)->create(spec()));
  EXPECT_NE(text_of(state).find("OCI runtime create failed"), std::string::npos) << text_of(state);
  EXPECT_EQ(server.count("DELETE", kId), 1u);
}

TEST_F(DockerEngineTest, more_processes_than_the_engine_may_have_itself_are_said_with_the_setting) {
  HonestEngine honest;
  honest.start_status = 400;
  FakeEngine server(honest.handler());
  honest.start_says = "OCI runtime create failed: error setting rlimit type 7: operation not permitted";
  EXPECT_FALSE(text_of(run(connect(server)->create(spec()))).contains("pids_limit"));
  honest.start_says = "OCI runtime create failed: error setting rlimit type 6: operation not permitted";
  const std::string text = text_of(run(connect(server)->create(spec())));
  for (const char* part : {"rlimit type 6", "box.limits.pids_limit", "LimitNPROC"})
    EXPECT_TRUE(text.contains(part)) << part << ": " << text;
}

TEST_F(DockerEngineTest, a_container_whose_start_hangs_is_removed_on_cancellation) {
  HonestEngine honest;
  FakeEngine server([handle = honest.handler()](const FakeEngine::Request& request) {
    if (request.is("POST", "/start")) return FakeEngine::raw("", Then::kHang);
    return handle(request);
  });
  auto options = quick();
  options.start_timeout = std::chrono::seconds(30);
  auto engine = connect(server, options);
  auto state = test::run_cancelled(loop, engine->create(spec()), [&] { return server.count("POST", "/start") == 1; });
  ASSERT_TRUE(state.has_value());
  EXPECT_EQ(code_of(*state), Code::kCancelled);
  EXPECT_EQ(server.count("DELETE", kId), 1u);
}

TEST_F(DockerEngineTest, a_creation_that_is_cancelled_at_any_time_ends_and_leaves_nothing) {
  for (unsigned after = 0; after < 40; ++after) {
    SCOPED_TRACE(after);
    HonestEngine honest;
    std::atomic<bool> created = false;
    FakeEngine server([&created, handle = honest.handler()](const FakeEngine::Request& request) {
      if (request.is("GET", "/containers/") && !created) return FakeEngine::json(404, R"({"message":"no such thing"})");
      auto reply = handle(request);
      if (request.is("POST", "/containers/create")) created = true;
      return reply;
    });
    auto engine = connect(server);
    bool begun = false;
    auto create = [&]() -> Task<Result<SandboxState>> {
      begun = true;
      co_return co_await engine->create(spec());
    };
    unsigned handled = 0;
    const auto state =
        test::run_cancelled(loop, create(), [&] { return begun && handled++ >= after; }, std::chrono::seconds(10));
    if (state && *state) continue;
    if (state) EXPECT_EQ(code_of(*state), Code::kCancelled);
    EXPECT_GE(server.count("DELETE", kId), server.count("POST", "/containers/create"));
  }
}

TEST_F(DockerEngineTest, a_container_whose_creation_was_not_answered_is_found_by_its_nonce_and_removed) {
  HonestEngine honest;
  FakeEngine server([&, handle = honest.handler()](const FakeEngine::Request& request) {
    auto reply = handle(request);
    if (request.is("POST", "/containers/create")) return FakeEngine::raw("", Then::kHang);
    return reply;
  });
  EXPECT_EQ(code_of(run(connect(server)->create(spec()))), Code::kTimeout);
  EXPECT_EQ(server.count("DELETE", kId), 1u);
}

// As slow as it was with the answer.
TEST_F(DockerEngineTest, a_container_that_appears_after_its_creation_was_given_up_is_removed) {
  HonestEngine honest;
  std::atomic<int> looked = 0;
  FakeEngine server([&, handle = honest.handler()](const FakeEngine::Request& request) {
    if (request.is("GET", "/containers/test/json") && ++looked < 6)
      return FakeEngine::json(404, R"({"message":"no such container"})");
    auto reply = handle(request);
    if (request.is("POST", "/containers/create")) return FakeEngine::raw("", Then::kHang);
    return reply;
  });
  auto options = quick();
  options.start_timeout = std::chrono::seconds(2);
  EXPECT_EQ(code_of(run(connect(server, options)->create(spec()))), Code::kTimeout);
  EXPECT_EQ(server.count("DELETE", kId), 1u);
}

TEST_F(DockerEngineTest, what_was_never_asked_for_is_not_looked_for) {
  FakeEngine server(FakeEngine::docker([](const auto&) { return FakeEngine::json(503, R"({"message":"starting"})"); }));
  EXPECT_EQ(code_of(run(connect(server)->create(spec()))), Code::kUnavailable);
  EXPECT_EQ(server.count("GET", "/containers/"), 0u);
}

TEST_F(DockerEngineTest, somebody_elses_container_of_that_name_is_left_alone) {
  HonestEngine honest;
  honest.change = [](json& made) { made["Config"]["Labels"]["io.mcpbox.create"] = "another"; };
  FakeEngine server([&, handle = honest.handler()](const FakeEngine::Request& request) {
    auto reply = handle(request);
    if (request.is("POST", "/containers/create")) return FakeEngine::raw("", Then::kHang);
    return reply;
  });
  EXPECT_EQ(code_of(run(connect(server)->create(spec()))), Code::kTimeout);
  EXPECT_EQ(server.count("DELETE", kId), 0u);
}

TEST_F(DockerEngineTest, a_name_conflict_removes_nothing) {
  HonestEngine honest;
  FakeEngine server([&, handle = honest.handler()](const FakeEngine::Request& request) {
    if (request.is("POST", "/containers/create"))
      return FakeEngine::json(409, R"({"message":"Conflict. The name is in use"})");
    return handle(request);
  });
  EXPECT_EQ(code_of(run(connect(server)->create(spec()))), Code::kAlreadyExists);
  EXPECT_EQ(server.count("DELETE", ""), 0u);
}

TEST_F(DockerEngineTest, nothing_that_changes_the_engine_is_sent_twice) {
  HonestEngine honest;
  FakeEngine server([&, handle = honest.handler()](const FakeEngine::Request& request) {
    if (request.is("POST", "/containers/create")) return FakeEngine::raw("");
    return handle(request);
  });
  EXPECT_FALSE(run(connect(server)->create(spec())));
  EXPECT_EQ(server.count("POST", "/containers/create"), 1u);
}

TEST_F(DockerEngineTest, removing_what_is_gone_is_success) {
  FakeEngine server(
      FakeEngine::docker([](const auto&) { return FakeEngine::json(404, R"({"message":"No such container"})"); }));
  EXPECT_TRUE(run(connect(server)->remove(kId)));
  EXPECT_TRUE(run(connect(server)->remove_volume("v")));
}

TEST_F(DockerEngineTest, removing_waits_for_a_removal_under_way) {
  std::atomic<int> asked = 0;
  FakeEngine server(FakeEngine::docker([&](const auto&) {
    return ++asked < 3 ? FakeEngine::json(409, R"({"message":"removal is already in progress"})")
                       : FakeEngine::json(404, R"({"message":"No such container"})");
  }));
  EXPECT_TRUE(run(connect(server)->remove(kId)));
  EXPECT_EQ(asked, 3);
}

// What Docker 20.10 says when PID 1 ends while a forced removal kills it.
TEST_F(DockerEngineTest, removing_goes_on_when_pid_1_ends_meanwhile) {
  std::atomic<int> asked = 0;
  FakeEngine server(FakeEngine::docker([&](const FakeEngine::Request& request) {
    if (!request.is("DELETE", kId)) return FakeEngine::json(404, R"({"message":"page not found"})");
    return ++asked < 3 ? FakeEngine::json(500, R"({"message":"Could not kill running container )" + kId +
                                                   R"(, cannot remove - Container )" + kId + R"( is not running"})")
                       : FakeEngine::raw("HTTP/1.1 204 No Content\r\n\r\n", Then::kKeep);
  }));
  EXPECT_THAT(run(connect(server)->remove(kId)), succeeds());
  EXPECT_EQ(asked, 3);
}

TEST_F(DockerEngineTest, what_cannot_be_removed_is_said_in_the_engines_words_at_the_deadline) {
  FakeEngine server(FakeEngine::docker([](const auto&) {
    return FakeEngine::json(500, R"({"message":"driver \"overlay2\" failed to remove root filesystem"})");
  }));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(run(connect(server)->remove(kId)), fails(Code::kFailedPrecondition, "root filesystem"));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, quick().start_timeout / 2);
  EXPECT_GT(server.count("DELETE", kId), 1u);
}

TEST_F(DockerEngineTest, a_removal_that_is_forbidden_is_not_asked_for_twice) {
  FakeEngine server(FakeEngine::docker([](const auto&) { return FakeEngine::json(403, R"({"message":"denied"})"); }));
  EXPECT_THAT(run(connect(server)->remove(kId)), fails(Code::kPermissionDenied));
  EXPECT_EQ(server.count("DELETE", kId), 1u);
}

// The engine lets go of the volumes after it has stopped showing the container.
TEST_F(DockerEngineTest, removing_a_volume_waits_for_the_end_of_its_sandbox) {
  std::atomic<int> asked = 0;
  FakeEngine server(FakeEngine::docker([&](const FakeEngine::Request&) {
    return ++asked < 3 ? FakeEngine::json(409, R"({"message":"remove v: volume is in use - [)" + kId + R"(]"})")
                       : FakeEngine::raw("HTTP/1.1 204 No Content\r\n\r\n", Then::kKeep);
  }));
  EXPECT_THAT(run(connect(server)->remove_volume("v")), succeeds());
  EXPECT_EQ(asked, 3);
}

TEST_F(DockerEngineTest, removing_a_volume_goes_on_while_the_engine_restarts) {
  std::atomic<int> asked = 0;
  FakeEngine server(FakeEngine::docker([&](const FakeEngine::Request&) {
    return ++asked < 3 ? FakeEngine::json(503, R"({"message":"the engine is shutting down"})")
                       : FakeEngine::raw("HTTP/1.1 204 No Content\r\n\r\n", Then::kKeep);
  }));
  EXPECT_THAT(run(connect(server)->remove_volume("v")), succeeds());
  EXPECT_EQ(asked, 3);
}

// A container that ended on a slow disk is shown no more, and its volumes are still held.
TEST_F(DockerEngineTest, a_volume_that_nobody_is_shown_to_use_is_waited_for_longer) {
  std::atomic<int> asked = 0;
  FakeEngine server(FakeEngine::docker([&](const FakeEngine::Request& request) {
    if (request.is("GET", "/containers/json")) return FakeEngine::json(200, "[]");
    return ++asked < 70 ? FakeEngine::json(409, R"({"message":"remove v: volume is in use"})")  // 50 ms each
                        : FakeEngine::raw("HTTP/1.1 204 No Content\r\n\r\n", Then::kKeep);
  }));
  auto options = quick();
  options.start_timeout = std::chrono::seconds(60);
  EXPECT_THAT(run(connect(server, options)->remove_volume("v")), succeeds());
}

TEST_F(DockerEngineTest, a_volume_that_a_container_has_is_in_use) {
  FakeEngine server(FakeEngine::docker([&](const FakeEngine::Request& request) {
    if (request.is("GET", "/containers/json")) return FakeEngine::json(200, R"([{"Id":")" + kId + R"("}])");
    return FakeEngine::json(409, R"({"message":"remove v: volume is in use"})");
  }));
  auto options = quick();
  options.start_timeout = std::chrono::seconds(60);
  EXPECT_THAT(run(connect(server, options)->remove_volume("v")), fails(Code::kFailedPrecondition, "is in use"));
}

TEST_F(DockerEngineTest, a_volume_that_stays_in_use_is_not_removed) {
  FakeEngine server(FakeEngine::docker([](const auto&) {
    return FakeEngine::json(409, R"({"message":"remove v: volume is in use - [)" + kId + R"(]"})");
  }));
  EXPECT_THAT(run(connect(server)->remove_volume("v")), fails(Code::kFailedPrecondition, "is in use"));
}

// A name stays taken for a moment after PID 1 ended: until the engine has removed what it was.
TEST_F(DockerEngineTest, a_name_that_is_just_becoming_free_is_waited_for) {
  HonestEngine honest;
  std::atomic<int> asked = 0, looked = 0;
  FakeEngine server([&, handle = honest.handler()](const FakeEngine::Request& request) {
    if (request.is("POST", "/containers/create") && ++asked < 4) {
      return FakeEngine::json(409, R"({"message":"Conflict. The container name \"/test\" is already in use"})");
    }
    if (request.is("GET", "/containers/test/json")) {
      switch (++looked) {
        case 1:
          return FakeEngine::json(200, R"({"State":{"Status":"exited"},"HostConfig":{"AutoRemove":true}})");
        case 2:
          return FakeEngine::json(200, R"({"State":{"Status":"removing"}})");
        default:
          return FakeEngine::json(404, R"({"message":"No such container"})");
      }
    }
    return handle(request);
  });
  EXPECT_THAT(run(connect(server)->create(spec())), succeeds());
  EXPECT_EQ(asked, 4);
}

TEST_F(DockerEngineTest, a_name_that_lives_on_is_taken) {
  for (const char* state : {R"("running"},"HostConfig":{"AutoRemove":true)", R"("created")", R"("exited")"}) {
    HonestEngine honest;
    FakeEngine server([&, handle = honest.handler()](const FakeEngine::Request& request) {
      if (request.is("POST", "/containers/create")) return FakeEngine::json(409, R"({"message":"Conflict."})");
      if (request.is("GET", "/containers/test/json"))
        return FakeEngine::json(200, std::string(R"({"State":{"Status":)") + state + "}}");
      return handle(request);
    });
    EXPECT_THAT(run(connect(server)->create(spec())), fails(Code::kAlreadyExists)) << state;
    EXPECT_EQ(server.count("POST", "/containers/create"), 1u) << state;
  }
}

TEST_F(DockerEngineTest, an_id_that_is_none_never_reaches_the_engine) {
  FakeEngine server(FakeEngine::docker([](const auto&) { return FakeEngine::json(200, "{}"); }));
  auto engine = connect(server);
  for (const std::string id : {"", "abc", "../images/x", "ABCDEF"}) {
    EXPECT_EQ(code_of(run(engine->inspect(id))), Code::kInvalidArgument);
    EXPECT_EQ(code_of(run(engine->remove(id))), Code::kInvalidArgument);
  }
  EXPECT_EQ(code_of(run(engine->remove_volume("a/b"))), Code::kInvalidArgument);
  EXPECT_EQ(code_of(run(engine->image("a b"))), Code::kInvalidArgument);
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(DockerEngineTest, list_drops_what_does_not_carry_the_labels) {
  FakeEngine server(FakeEngine::docker([](const FakeEngine::Request& request) {
    EXPECT_NE(request.target.find("filters=%7B%22label%22%3A%5B%22io.mcpbox.instance%3Done%22%5D%7D"),
              std::string::npos)
        << request.target;
    return FakeEngine::json(
        200, R"([{"Id":")" + kId + R"(","Names":["/a"],"State":"running","Labels":{"io.mcpbox.instance":"one","x":"y"}},
      {"Id":")" + std::string(64, 'c') +
                 R"(","Names":["/b"],"State":"running","Labels":{"io.mcpbox.instance":"two"}},
      {"Id":"bad","State":"running","Labels":{"io.mcpbox.instance":"one"}}])");
  }));
  auto found = run(connect(server)->list({{"io.mcpbox.instance", "one"}}));
  ASSERT_TRUE(found) << text_of(found);
  ASSERT_EQ(found->size(), 1u);
  EXPECT_EQ(found->at(0).name, "a");
  EXPECT_TRUE(found->at(0).running);
  EXPECT_EQ(found->at(0).labels, (Labels{{"io.mcpbox.instance", "one"}}));
}

TEST_F(DockerEngineTest, a_foreign_volume_of_the_same_name_is_refused) {
  std::string answer;
  FakeEngine server(FakeEngine::docker([&](const auto&) { return FakeEngine::json(201, answer); }));
  auto engine = connect(server);
  const Labels labels{{"io.mcpbox.instance", "one"}};
  answer =
      R"({"Name":"v","Driver":"local","Labels":{"io.mcpbox.instance":"one","io.mcpbox.managed":"1"},"Options":null})";
  EXPECT_TRUE(run(engine->ensure_volume("v", labels)));
  answer = R"({"Name":"v","Driver":"local","Labels":{"io.mcpbox.instance":"two","io.mcpbox.managed":"1"}})";
  EXPECT_EQ(code_of(run(engine->ensure_volume("v", labels))), Code::kAlreadyExists);
  answer = R"({"Name":"v","Driver":"local","Labels":{"io.mcpbox.instance":"one","io.mcpbox.managed":"1"},)"
           R"("Options":{"device":"/","o":"bind"}})";
  EXPECT_EQ(code_of(run(engine->ensure_volume("v", labels))), Code::kAlreadyExists);
}

TEST_F(DockerEngineTest, pull_reports_progress_and_then_the_image) {
  FakeEngine server(FakeEngine::docker([](const FakeEngine::Request& request) {
    if (request.is("POST", "/images/create?fromImage=registry%2Fr&tag=1")) {
      return FakeEngine::json(200,
                              "{\"status\":\"Pulling from "
                              "r\"}\n{\"status\":\"Downloading\",\"id\":\"l1\",\"progressDetail\":{\"current\":1}}\n"
                              "{\"status\":\"Downloading\",\"id\":\"l1\",\"progressDetail\":{\"current\":2}}\n{"
                              "\"status\":\"Pull complete\",\"id\":\"l1\"}\n");
    }
    return FakeEngine::json(200, kImageJson);
  }));
  std::vector<std::string> lines;
  auto image = run(connect(server)->pull("registry/r:1", [&](std::string_view line) { lines.emplace_back(line); }));
  ASSERT_TRUE(image) << text_of(image);
  EXPECT_EQ(image->size_bytes, 5u);
  EXPECT_EQ(image->created_unix, 1795219201);
  EXPECT_EQ(lines, (std::vector<std::string>{"Pulling from r", "l1: Downloading", "l1: Pull complete"}));
}

TEST_F(DockerEngineTest, an_error_within_the_progress_is_the_result) {
  FakeEngine server(FakeEngine::docker([](const auto&) {
    return FakeEngine::json(
        200,
        "{\"status\":\"x\"}\n{\"errorDetail\":{\"message\":\"manifest unknown\"},\"error\":\"manifest unknown\"}\n");
  }));
  auto image = run(connect(server)->pull("r:1", {}));
  EXPECT_NE(text_of(image).find("manifest unknown"), std::string::npos);
  EXPECT_NE(text_of(image).find("r:1"), std::string::npos);
}

TEST_F(DockerEngineTest, a_full_disk_is_said_in_words) {
  FakeEngine server(FakeEngine::docker(
      [](const auto&) { return FakeEngine::json(200, "{\"error\":\"write /layer.tar: no space left on device\"}"); }));
  auto image = run(connect(server)->pull("r:1", {}));
  EXPECT_EQ(code_of(image), Code::kResourceExhausted);
  EXPECT_NE(text_of(image).find("no space left on the engine's disk"), std::string::npos);
}

TEST_F(DockerEngineTest, a_pull_that_falls_silent_ends) {
  FakeEngine server(FakeEngine::docker([](const auto&) {
    return FakeEngine::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"status\":\"x\"}\r\n\r\n",
                           Then::kHang);
  }));
  EXPECT_EQ(code_of(run(connect(server)->pull("r:1", {}))), Code::kTimeout);
}

TEST_F(DockerEngineTest, an_endless_progress_line_ends) {
  FakeEngine server(FakeEngine::docker([](const auto&) {
    auto reply = FakeEngine::raw("HTTP/1.1 200 OK\r\n\r\n", Then::kFlood);
    reply.more = std::string(65536, 'x');
    return reply;
  }));
  EXPECT_EQ(code_of(run(connect(server)->pull("r:1", {}))), Code::kDataLoss);
}

TEST_F(DockerEngineTest, a_dead_engine_is_unavailable) {
  std::string path;
  {
    FakeEngine server(FakeEngine::docker([](const auto&) { return FakeEngine::json(200, kImageJson); }));
    path = server.socket_path();
    auto engine = connect(server);
    ASSERT_TRUE(run(engine->image("r:1")));
  }
  auto engine = make_docker_engine(loop.get_executor(), *parse_docker_address(path), quick());
  EXPECT_EQ(code_of(run(engine->image("r:1"))), Code::kUnavailable);
}

// Docker 20.10 that was restarted answers a creation for a volume that exists with neither labels nor options.
TEST_F(DockerEngineTest, judges_a_volume_by_its_description_not_by_the_answer_to_its_creation) {
  json described{{"Name", "v"},
                 {"Driver", "local"},
                 {"Labels", {{"io.mcpbox.managed", "1"}, {"io.mcpbox.instance", "one"}}},
                 {"Options", nullptr}};
  std::mutex mutex;
  FakeEngine server(FakeEngine::docker([&](const FakeEngine::Request& request) {
    std::lock_guard lock(mutex);
    if (request.is("POST", "/volumes/create")) {
      return FakeEngine::json(201, R"({"Name":"v","Driver":"local","Labels":null,"Options":null})");
    }
    if (request.is("GET", "/volumes/v")) return FakeEngine::json(200, described.dump());
    return FakeEngine::json(404, R"({"message":"page not found"})");
  }));
  auto engine = connect(server);
  const Labels ours{{"io.mcpbox.instance", "one"}};
  EXPECT_EQ(text_of(run(engine->ensure_volume("v", ours))), "no error");
  for (const auto& [key, value] :
       {std::pair<std::string, json>{"Labels", {{"io.mcpbox.managed", "1"}, {"io.mcpbox.instance", "two"}}},
        {"Options", {{"type", "none"}, {"o", "bind"}, {"device", "/etc"}}},
        {"Driver", "nfs"}}) {
    std::unique_lock lock(mutex);
    const json before = described;
    described[key] = value;
    lock.unlock();
    EXPECT_EQ(code_of(run(engine->ensure_volume("v", ours))), Code::kAlreadyExists) << key;
    lock.lock();
    described = before;
  }
}

}  // namespace
}  // namespace mcpbox::box
