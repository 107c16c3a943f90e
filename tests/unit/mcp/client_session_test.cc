#include "mcp/client_session.h"

#include <gtest/gtest.h>

#include "json/raw.h"

namespace mcpbox::mcp {
namespace {

using std::chrono::milliseconds;

// A session and a clock that only moves when told to.
struct Fixture {
  explicit Fixture(SessionOptions options = {}) : session(std::move(options)) {}
  ClientSession session;
  Clock::time_point now{};

  void say(std::string_view line) { session.on_message(line, now); }
  void pass(milliseconds time) {
    now += time;
    session.on_time(now);
  }
  std::string sent() {
    std::string out;
    while (auto line = session.take_output()) out += *line + "\n";
    return out;
  }
  // Through initialize; the next thing sent was the first tools/list with id 2.
  void initialize(std::string_view capabilities = R"({"tools":{"listChanged":true}})") {
    session.start(now);
    sent();
    say(R"({"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","serverInfo":{"name":"s",)"
        R"("version":"1"},"capabilities":)" +
        std::string(capabilities) + "}}");
  }
  void ready(std::string_view tools = "[]") {
    initialize();
    sent();
    say(R"({"jsonrpc":"2.0","id":2,"result":{"tools":)" + std::string(tools) + "}}");
    ASSERT_EQ(session.state(), SessionState::kReady);
    sent();
  }
  CallId call(milliseconds timeout = milliseconds(0)) {
    return session.request("tools/call", *json::RawObject::parse(R"({"name":"t"})"), timeout, now);
  }
  Completion completion() {
    auto all = session.take_completions();
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? Completion{0, fail(Code::kInternal, "none")} : std::move(all.front());
  }
};

TEST(ClientSession, initializes_then_lists_tools) {
  Fixture f;
  f.session.start(f.now);
  EXPECT_EQ(f.sent(), R"({"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",)"
                      R"("capabilities":{},"clientInfo":{"name":"mcpbox","version":""}}})"
                      "\n");
  EXPECT_EQ(f.session.state(), SessionState::kInitializing);
  f.say(
      "\xEF\xBB\xBF"
      R"({"result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},)"
      R"("serverInfo":{"name":"every\"thing","version":"2"},"instructions":"hi"},"jsonrpc":"2.0","id":1})");
  EXPECT_EQ(f.sent(),
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/"
            "initialized\"}\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/list\"}\n");
  EXPECT_EQ(f.session.server().name, "every\"thing");
  EXPECT_EQ(f.session.server().instructions, "hi");
  EXPECT_EQ(f.session.server().capabilities, R"({"tools":{}})");
  EXPECT_FALSE(f.session.tools_known());
  const std::string tool = R"({"name":"a","description":"b","inputSchema":{"maximum":9007199254740993, "x":1.0}})";
  f.say(R"({"jsonrpc":"2.0","id":2,"result":{"tools":[)" + tool + "]}}");
  EXPECT_EQ(f.session.state(), SessionState::kReady);
  ASSERT_EQ(f.session.tools().size(), 1u);
  EXPECT_EQ(f.session.tools()[0].json, tool);
  EXPECT_EQ(f.session.tools()[0].description, "b");
  EXPECT_EQ(f.session.next_deadline(), std::nullopt);
}

TEST(ClientSession, follows_every_cursor_also_an_empty_one) {
  Fixture f;
  f.initialize();
  f.sent();
  f.say(R"({"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"a"}],"nextCursor":""}})");
  EXPECT_EQ(f.sent(), "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"tools/list\",\"params\":{\"cursor\":\"\"}}\n");
  f.say(R"({"jsonrpc":"2.0","id":3,"result":{"tools":[{"name":"b"},{"name":"a"},{"x":1}],"nextCursor":"\u0041"}})");
  EXPECT_EQ(f.sent(), "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"tools/list\",\"params\":{\"cursor\":\"\\u0041\"}}\n");
  f.say(R"({"jsonrpc":"2.0","id":4,"result":{"tools":[{"name":"c"}],"nextCursor":null}})");
  ASSERT_EQ(f.session.tools().size(), 3u);
  EXPECT_EQ(f.session.tools()[2].name, "c");
  EXPECT_EQ(f.session.take_log(),
            (std::vector<std::string>{"tools/list: a second tool named 'a' was left out",
                                      "tools/list: a tool without a name was left out: {\"x\":1}"}));
}

TEST(ClientSession, ends_a_list_whose_cursors_go_in_circles_or_never_end) {
  Fixture f;
  f.initialize();
  f.say(R"({"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"a"}],"nextCursor":"x"}})");
  f.say(R"({"jsonrpc":"2.0","id":3,"result":{"tools":[],"nextCursor":"x"}})");
  EXPECT_EQ(f.session.state(), SessionState::kReady);
  EXPECT_EQ(f.session.take_log().at(0), "tools/list: the server gave the cursor \"x\" twice; its list ends here");

  Fixture g({.lists = {.max_pages = 3}});
  g.initialize();
  for (int id = 2; id <= 4; ++id) {
    g.say(R"({"jsonrpc":"2.0","id":)" + std::to_string(id) + R"(,"result":{"tools":[{"name":"t)" + std::to_string(id) +
          R"("}],"nextCursor":")" + std::to_string(id) + "\"}}");
  }
  EXPECT_EQ(g.session.tools().size(), 3u);
  EXPECT_EQ(g.session.take_log().at(0), "tools/list: more than 3 pages; the rest is left out");
}

TEST(ClientSession, bounds_the_number_and_size_of_tools) {
  Fixture f({.lists = {.max_items = 2}});
  f.ready(R"([{"name":"a"},{"name":"b"},{"name":"c"}])");
  EXPECT_EQ(f.session.tools().size(), 2u);
  Fixture g({.lists = {.max_bytes = 30}});
  g.ready(R"([{"name":"a"},{"name":"b"},{"name":"c"}])");
  EXPECT_EQ(g.session.tools().size(), 2u);
}

TEST(ClientSession, says_why_initialize_failed) {
  const struct {
    const char* answer;
    Code code;
    const char* message;
  } cases[] = {
      {R"({"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2026-07-28"}})", Code::kUnsupported,
       "initialize: the server answered with protocol version '2026-07-28', mcpbox offered 2025-11-25 and speaks "
       "2024-10-07 to 2025-11-25; use another version of the server"},
      {R"({"jsonrpc":"2.0","id":1,"error":{"code":0,"message":{"a":1}}})", Code::kFailedPrecondition,
       "initialize: the server refused, error 0: {\"a\":1}; it may speak another revision of MCP: try another version "
       "of it"},
      {R"({"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}})", Code::kFailedPrecondition,
       "initialize: the server refused, error -32700: Parse error; it may speak another revision of MCP: try another "
       "version of it"},
      {R"({"jsonrpc":"2.0","id":1})", Code::kDataLoss,
       "initialize: the server sent something that cannot be used: its answer is no valid JSON-RPC message: neither "
       "method, result nor error"},
  };
  for (const auto& c : cases) {
    Fixture f;
    f.session.start(f.now);
    f.say(c.answer);
    ASSERT_EQ(f.session.state(), SessionState::kFailed) << c.answer;
    EXPECT_EQ(f.session.failure()->code(), c.code);
    EXPECT_EQ(f.session.failure()->message(), c.message);
  }
}

TEST(ClientSession, does_not_read_an_answer_to_initialize_that_has_more_than_four_mebibytes) {
  Fixture f;
  f.session.start(f.now);
  f.say(R"({"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","x":")" + std::string(4u << 20, 'x') +
        "\"}}");
  ASSERT_EQ(f.session.state(), SessionState::kFailed);
  EXPECT_EQ(f.session.failure()->message(),
            "initialize: the server's answer has 4.0 MiB, at most 4.0 MiB are allowed; use another version of the "
            "server");
}

TEST(ClientSession, gives_up_when_initialize_is_not_answered_and_does_not_cancel_it) {
  Fixture f;
  f.session.start(f.now);
  f.sent();
  EXPECT_EQ(f.session.next_deadline(), f.now + std::chrono::seconds(60));
  f.pass(milliseconds(59'999));
  EXPECT_EQ(f.session.state(), SessionState::kInitializing);
  f.pass(milliseconds(1));
  EXPECT_EQ(f.session.failure()->code(), Code::kTimeout);
  EXPECT_EQ(f.session.failure()->message().substr(0, 43), "initialize: no answer within 1 min 0 s; the");
  EXPECT_EQ(f.sent(), "");
}

TEST(ClientSession, tolerates_a_server_without_tools) {
  for (const char* capabilities : {R"({"tools":{}})", "{}"}) {
    Fixture f;
    f.initialize(capabilities);
    f.say(R"({"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"Method not found"}})");
    EXPECT_EQ(f.session.state(), SessionState::kReady);
    EXPECT_TRUE(f.session.tools_known());
  }
  Fixture silent;
  silent.initialize("{}");
  silent.pass(std::chrono::seconds(30));
  EXPECT_EQ(silent.session.state(), SessionState::kReady);
}

TEST(ClientSession, fails_when_a_declared_tool_list_does_not_come) {
  Fixture f;
  f.initialize();
  f.pass(std::chrono::seconds(30));
  EXPECT_EQ(
      f.session.failure()->message(),
      "tools/list: no answer within 30.0 s; the server answered initialize but does not list its tools: see its log");
  Fixture g;
  g.initialize();
  g.say(R"({"jsonrpc":"2.0","id":2,"result":{"tools":{}}})");
  EXPECT_EQ(g.session.failure()->message(), "tools/list: the server's answer holds no list of tools");
}

TEST(ClientSession, completes_calls_with_the_raw_result_or_error) {
  Fixture f;
  f.ready();
  const CallId first = f.call(), second = f.call();
  EXPECT_EQ(f.sent(),
            "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"tools/call\",\"params\":{\"name\":\"t\"}}\n"
            "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"tools/call\",\"params\":{\"name\":\"t\"}}\n");
  f.say(R"({"jsonrpc":"2.0","id":"4","error":{"code":-32602,"message":"no such tool","data":1.0}})");
  f.say(R"({"jsonrpc":"2.0","id":3.0,"result":{"content":[ {"type":"new"} ],"n":9007199254740993}})");
  auto all = f.session.take_completions();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].id, second);
  EXPECT_EQ(all[0].outcome->error_code, -32602);
  EXPECT_EQ(all[0].outcome->error_message, "no such tool");
  EXPECT_EQ(all[0].outcome->error, R"({"code":-32602,"message":"no such tool","data":1.0})");
  EXPECT_EQ(all[1].id, first);
  EXPECT_EQ(all[1].outcome->result, R"({"content":[ {"type":"new"} ],"n":9007199254740993})");
}

TEST(ClientSession, puts_parameters_on_one_line) {
  Fixture f;
  f.ready();
  f.session.request("tools/call", *json::RawObject::parse("{\n\"name\": \"a\\n\"\n}"), milliseconds(0), f.now);
  EXPECT_EQ(f.sent(), "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"tools/call\",\"params\":{ \"name\": \"a\\n\" }}\n");
}

TEST(ClientSession, cancels_a_call_that_takes_too_long_and_drops_its_late_answer) {
  Fixture f;
  f.ready();
  f.call(milliseconds(1500));
  f.sent();
  f.pass(milliseconds(1500));
  const Completion done = f.completion();
  EXPECT_EQ(done.outcome.error().code(), Code::kTimeout);
  EXPECT_EQ(done.outcome.error().message(), "tools/call: no answer within 1.5 s");
  EXPECT_EQ(f.sent(),
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/"
            "cancelled\",\"params\":{\"requestId\":3,\"reason\":\"timed out\"}}\n");
  f.say(R"({"jsonrpc":"2.0","id":3,"result":{}})");
  f.say(R"({"jsonrpc":"2.0","id":3,"result":{}})");
  f.say(R"({"jsonrpc":"2.0","id":99,"result":{}})");
  f.say(R"({"jsonrpc":"2.0","id":"abc","result":{}})");
  // The first came late, the others have nothing to do with what was asked.
  EXPECT_EQ(f.session.take_log(), (std::vector<std::string>{"an answer to id 3, which nobody waits for",
                                                            "an answer to id 99, which nobody waits for",
                                                            "an answer to id \"abc\", which nobody waits for"}));
  EXPECT_TRUE(f.session.take_completions().empty());
}

TEST(ClientSession, cancels_on_request_but_never_its_own_handshake) {
  Fixture f;
  f.session.start(f.now);
  f.sent();
  f.session.cancel(1, "no", f.now);
  EXPECT_EQ(f.sent(), "");
  Fixture g;
  g.ready();
  const CallId id = g.call();
  g.sent();
  g.session.cancel(id, "user went away", g.now);
  EXPECT_EQ(g.completion().outcome.error().code(), Code::kCancelled);
  EXPECT_EQ(g.sent(),
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":3,\"reason\":\"user "
            "went away\"}}\n");
}

TEST(ClientSession, answers_the_servers_requests_at_once_with_their_own_ids) {
  Fixture f;
  f.session.start(f.now);
  f.sent();
  f.say(R"({"jsonrpc":"2.0","id":"p-1","method":"ping"})");
  f.say(R"({"jsonrpc":"2.0","id":9007199254740993,"method":"roots\/list"})");
  f.say(R"({"jsonrpc":"2.0","id":"1","method":"sampling/createMessage","params":{}})");
  EXPECT_EQ(f.sent(),
            "{\"jsonrpc\":\"2.0\",\"id\":\"p-1\",\"result\":{}}\n"
            "{\"jsonrpc\":\"2.0\",\"id\":9007199254740993,\"error\":{\"code\":-32601,\"message\":\"mcpbox does not "
            "offer 'roots/list' to servers\"}}\n"
            "{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"error\":{\"code\":-32601,\"message\":\"mcpbox does not offer "
            "'sampling/createMessage' to servers\"}}\n");
  EXPECT_EQ(f.session.state(), SessionState::kInitializing);
}

TEST(ClientSession, does_not_let_a_flood_of_requests_or_noise_fill_its_memory) {
  Fixture f;
  f.ready();
  const std::string id = "\"" + std::string(1000, 'i') + "\"";
  int read = 0;
  for (; f.session.wants_input(); ++read) f.say(R"({"jsonrpc":"2.0","method":"ping","id":)" + id + "}");
  EXPECT_NEAR(read, 1013, 40);  // 1 MiB of answers
  // Not even an owner that goes on reading is filled.
  for (int i = 0; i < 10'000; ++i) f.say(R"({"jsonrpc":"2.0","method":"ping","id":)" + id + "}");
  std::size_t bytes = 0, answers = 0;
  while (const auto line = f.session.take_output()) {
    bytes += line->size();
    if (f.session.wants_input() && answers == 0) answers = bytes;
  }
  EXPECT_LT(bytes, 2'200'000u);
  EXPECT_GT(answers, 1'500'000u);  // read on when less than half a MiB waits, not at once

  for (int i = 0; i < 5000; ++i) f.say(std::string(100'000, 'x'));
  const auto log = f.session.take_log();
  EXPECT_EQ(log.size(), 1001u);
  EXPECT_EQ(log.back(), "4000 more lines were dropped");
  EXPECT_EQ(log.front().size(), 8192u);
}

TEST(ClientSession, refuses_ids_and_methods_that_are_longer_than_a_kibibyte) {
  Fixture f;
  f.ready();
  const std::string longest = std::string(1022, 'i'), longer = std::string(1023, 'i');
  f.say(R"({"jsonrpc":"2.0","method":"ping","id":")" + longest + "\"}");
  EXPECT_EQ(f.sent(), R"({"jsonrpc":"2.0","id":")" + longest + "\",\"result\":{}}\n");
  f.say(R"({"jsonrpc":"2.0","method":"ping","id":")" + longer + "\"}");
  f.say(R"({"jsonrpc":"2.0","result":{},"id":")" + longer + "\"}");
  f.say(R"({"jsonrpc":"2.0","id":1,"method":")" + std::string(1025, 'm') + "\"}");
  EXPECT_EQ(f.sent(), "");
  EXPECT_EQ(f.session.take_log(),
            (std::vector<std::string>{"a message whose id has 1.0 KiB was dropped: at most 1.0 KiB are allowed",
                                      "a message whose id has 1.0 KiB was dropped: at most 1.0 KiB are allowed",
                                      "a message whose method has 1.0 KiB was dropped: at most 1.0 KiB are allowed"}));
}

TEST(ClientSession, keeps_little_of_what_a_server_says_of_itself) {
  Fixture f;
  f.session.start(f.now);
  const std::string big(1u << 20, 'b');
  f.say(R"({"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},)"
        R"("serverInfo":{"name":")" +
        big + R"(","version":")" + big + R"("},"instructions":")" + big + "\"}}");
  EXPECT_EQ(f.session.server().name.size(), 1024u);
  EXPECT_EQ(f.session.server().version.size(), 1024u);
  EXPECT_EQ(f.session.server().instructions.size(), 256u << 10);
  Fixture g;
  g.session.start(g.now);
  g.say(R"({"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{"x":")" + big + "\"}}}");
  ASSERT_EQ(g.session.state(), SessionState::kFailed);
  EXPECT_EQ(g.session.failure()->message(),
            "initialize: the server's capabilities have 1.0 MiB, at most 64 KiB are allowed; use another version of "
            "the server");
}

TEST(ClientSession, refuses_requests_for_a_server_that_does_not_read_and_forgets_those_that_time_out_unsent) {
  Fixture f({.limits = {.max_queued = 7u << 19}});
  f.ready();
  const auto params = *json::RawObject::parse(R"({"text":")" + std::string(1u << 20, 'x') + "\"}");
  for (int i = 0; i < 3; ++i) f.session.request("tools/call", params, milliseconds(10), f.now);
  EXPECT_TRUE(f.session.take_completions().empty());
  f.session.request("tools/call", params, milliseconds(10), f.now);
  const Completion refused = f.completion();
  ASSERT_FALSE(refused.outcome);
  EXPECT_EQ(refused.outcome.error().code(), Code::kResourceExhausted);
  EXPECT_EQ(refused.outcome.error().message().substr(0, 57),
            "tools/call: the server does not read what it is sent, and");
  f.pass(milliseconds(10));
  EXPECT_EQ(f.session.take_completions().size(), 3u);
  EXPECT_EQ(f.sent(), "");  // nothing of them was sent, so there is nothing to cancel
}

TEST(ClientSession, lists_again_once_after_a_storm_of_list_changed) {
  Fixture f;
  f.ready(R"([{"name":"old"}])");
  for (int i = 0; i < 7; ++i) f.say(R"({"jsonrpc":"2.0","method":"notifications/tools/list_changed"})");
  EXPECT_EQ(f.sent(), "");
  EXPECT_EQ(f.session.next_deadline(), f.now + milliseconds(250));
  f.pass(milliseconds(250));
  EXPECT_EQ(f.sent(), "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"tools/list\"}\n");
  EXPECT_EQ(f.session.state(), SessionState::kReady);
  f.say(R"({"jsonrpc":"2.0","method":"notifications/tools/list_changed"})");
  f.say(R"({"jsonrpc":"2.0","id":3,"result":{"tools":[{"name":"new"}]}})");
  EXPECT_EQ(f.session.tools()[0].name, "new");
  f.pass(milliseconds(499));
  EXPECT_EQ(f.sent(), "");
  f.pass(milliseconds(1));
  EXPECT_EQ(f.sent(), "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"tools/list\"}\n");
}

TEST(ClientSession, keeps_its_tools_when_listing_them_again_fails) {
  Fixture f;
  f.ready(R"([{"name":"old"}])");
  f.say(R"({"jsonrpc":"2.0","method":"notifications/tools/list_changed"})");
  f.pass(milliseconds(250));
  f.say(R"({"jsonrpc":"2.0","id":3,"error":{"code":-32603,"message":"oops"}})");
  EXPECT_EQ(f.session.state(), SessionState::kReady);
  EXPECT_EQ(f.session.tools().at(0).name, "old");
  EXPECT_EQ(f.session.take_log().at(0),
            "the tools could not be listed again: tools/list: the server answered with error -32603: oops");
}

TEST(ClientSession, keeps_as_many_lists_as_it_is_asked_for) {
  Fixture f;
  SessionOptions options;
  options.catalogs = {&kToolCatalog, &kResourceCatalog, &kPromptCatalog};
  f.session = ClientSession(options);
  f.initialize(R"({"tools":{},"resources":{"listChanged":true}})");
  EXPECT_EQ(f.sent(),
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n"
            "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tools/list\"}\n"
            "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"resources/list\"}\n"
            "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"prompts/list\"}\n");
  f.say(R"({"jsonrpc":"2.0","id":3,"result":{"resources":[{"uri":"a:b"}]}})");
  EXPECT_EQ(f.session.state(), SessionState::kListing);
  f.say(R"({"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"t"}]}})");
  EXPECT_EQ(f.session.state(), SessionState::kReady);
  f.say(R"({"jsonrpc":"2.0","id":4,"error":{"code":-32603,"message":"what?"}})");
  EXPECT_EQ(f.session.state(), SessionState::kReady);
  EXPECT_EQ(f.session.tools().at(0).name, "t");
  EXPECT_EQ(f.session.catalog(kResourceCatalog)->items().at(0).name, "a:b");
  EXPECT_TRUE(f.session.catalog(kPromptCatalog)->known());
  EXPECT_EQ(f.session.catalog(kResourceTemplateCatalog), nullptr);
  const std::uint64_t before = f.session.lists_version();
  f.say(R"({"jsonrpc":"2.0","method":"notifications/resources/list_changed"})");
  f.pass(milliseconds(250));
  EXPECT_EQ(f.sent(), "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"resources/list\"}\n");
  f.say(R"({"jsonrpc":"2.0","id":5,"result":{"resources":[]}})");
  EXPECT_EQ(f.session.lists_version(), before + 1);
  EXPECT_TRUE(f.session.take_completions().empty());
}

TEST(ClientSession, reads_batches) {
  Fixture f;
  f.ready();
  f.call();
  f.call();
  f.sent();
  f.say(R"([{"jsonrpc":"2.0","id":4,"result":{"b":1}},{"jsonrpc":"2.0","id":3,"result":{"a":1}},{"jsonrpc":"2.0",)"
        R"("id":1,"method":"ping"},{}])");
  EXPECT_EQ(f.session.take_completions().size(), 2u);
  EXPECT_EQ(f.sent(), "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n");
}

TEST(ClientSession, hands_noise_to_the_log_and_goes_on) {
  Fixture f;
  f.ready();
  f.call();
  f.say("npm notice New version available");
  f.say("{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":\"\xff\"}");
  EXPECT_EQ(f.completion().outcome->result, "\"\xEF\xBF\xBD\"");
  EXPECT_EQ(f.session.take_log(),
            (std::vector<std::string>{"npm notice New version available",
                                      "the next message held invalid UTF-8, which was replaced"}));
}

TEST(ClientSession, fails_a_call_whose_answer_is_broken_or_too_long) {
  Fixture f;
  f.ready();
  f.call();
  f.say(R"({"jsonrpc":"2.0","id":3,"result":{},"error":{}})");
  EXPECT_EQ(f.completion().outcome.error().message(),
            "tools/call: the server sent something that cannot be used: its answer is no valid JSON-RPC message: both "
            "a result and an error");
  f.call();
  f.call();
  f.session.on_too_long(R"({"result":{"conte)", R"(xx"},"jsonrpc":"2.0","id":5})", 20u << 20, f.now);
  const Completion done = f.completion();
  EXPECT_EQ(done.id, 5u);
  EXPECT_EQ(done.outcome.error().code(), Code::kDataLoss);
}

TEST(ClientSession, completes_everything_with_the_reason_when_the_server_ends) {
  Fixture f;
  f.ready();
  f.call();
  f.session.on_closed(Error(Code::kUnavailable, "server 's' was killed by signal 9"));
  EXPECT_EQ(f.completion().outcome.error().message(), "server 's' was killed by signal 9");
  EXPECT_EQ(f.session.state(), SessionState::kClosed);
  f.call();
  EXPECT_EQ(f.completion().outcome.error().message(), "server 's' was killed by signal 9");
  EXPECT_EQ(f.session.next_deadline(), std::nullopt);

  Fixture g;
  g.session.start(g.now);
  g.session.on_closed(Error(Code::kUnavailable, "exit code 1"));
  EXPECT_EQ(g.session.failure()->message(), "the server ended before it answered initialize: exit code 1");
}

TEST(ClientSession, refuses_calls_before_initialize_and_over_the_limit) {
  Fixture f({.limits = {.max_in_flight = 2}});
  f.call();
  EXPECT_EQ(f.completion().outcome.error().code(), Code::kFailedPrecondition);
  Fixture g({.limits = {.max_in_flight = 2}});
  g.ready();
  g.call();
  g.call();
  g.call();
  EXPECT_EQ(g.completion().outcome.error().code(), Code::kResourceExhausted);
}

TEST(ClientSession, lists_again_also_while_callers_have_every_place) {
  Fixture f({.limits = {.max_in_flight = 2}});
  f.ready(R"([{"name":"old"}])");
  f.call();
  const CallId leaving = f.call();
  f.sent();
  f.say(R"({"jsonrpc":"2.0","method":"notifications/tools/list_changed"})");
  f.pass(milliseconds(250));
  EXPECT_EQ(f.sent(), "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"tools/list\"}\n");
  f.session.cancel(leaving, "user went away", f.now);
  EXPECT_EQ(f.session.take_completions().size(), 1u);
  f.say(R"({"jsonrpc":"2.0","id":5,"result":{"tools":[{"name":"new"}]}})");
  EXPECT_EQ(f.session.tools().at(0).name, "new");
}

TEST(ClientSession,
     a_list_for_which_the_queue_has_no_room_is_asked_for_again_and_a_caller_that_leaves_takes_no_answer_of_it) {
  Fixture f({.limits = {.max_queued = 200}});
  f.ready(R"([{"name":"old"}])");
  const CallId leaving = f.session.request(
      "tools/call", *json::RawObject::parse(R"({"name":")" + std::string(300, 'x') + R"("})"), milliseconds(0), f.now);
  f.say(R"({"jsonrpc":"2.0","method":"notifications/tools/list_changed"})");
  f.pass(milliseconds(250));  // refused: the server reads nothing
  EXPECT_EQ(f.session.next_deadline(), f.now + milliseconds(500));
  f.session.cancel(leaving, "user went away", f.now);
  EXPECT_EQ(f.session.take_completions().size(), 1u);
  f.sent();
  f.pass(milliseconds(500));
  EXPECT_NE(f.sent().find("tools/list"), std::string::npos);
}

TEST(ClientSession, a_list_that_does_not_come_in_time_is_asked_for_again_but_not_for_ever) {
  Fixture f({.lists = {.list_timeout = milliseconds(1000), .max_retries = 2}});
  f.ready(R"([{"name":"old"}])");
  f.say(R"({"jsonrpc":"2.0","method":"notifications/tools/list_changed"})");
  unsigned asked = 0;
  for (int second = 0; second < 60; ++second) {
    f.pass(milliseconds(1000));
    const std::string sent = f.sent();
    for (auto at = sent.find("tools/list"); at != std::string::npos; at = sent.find("tools/list", at + 1)) ++asked;
  }
  EXPECT_EQ(asked, 3u);
  EXPECT_EQ(f.session.tools().at(0).name, "old");
}

TEST(ClientSession, says_what_of_a_line_nobody_waited_for) {
  Fixture f;
  f.ready();
  f.call();
  f.call();
  f.call();
  f.sent();
  const auto unasked = [&](const std::string& line) {
    const Unasked of = f.session.on_message(line, f.now);
    return std::pair(of.messages, of.bytes);
  };
  const std::string answer = R"({"jsonrpc":"2.0","id":3,"result":{}})", note = R"({"jsonrpc":"2.0","method":"x"})";
  EXPECT_EQ(unasked("[" + note + "," + answer + "," + note + "]"), std::pair(2uz, 2 * note.size() + 4));
  EXPECT_EQ(unasked(answer), std::pair(1uz, answer.size()));
  EXPECT_EQ(unasked("{\"jsonrpc\":\"2.0\",\"id\":4,\"result\":\"\xff\"}"), std::pair(0uz, 0uz));
  EXPECT_EQ(unasked("noise"), std::pair(1uz, 5uz));
  EXPECT_EQ(unasked(R"({"jsonrpc":"2.0","id":5,"result":{},"error":{}})"), std::pair(0uz, 0uz));
  f.session.on_closed(Error(Code::kUnavailable, "gone"));
  EXPECT_EQ(unasked(note), std::pair(1uz, note.size()));
}

TEST(ClientSession, a_long_page_waits_for_who_reads_it) {
  Fixture f({.long_page = 60});
  f.initialize();
  f.sent();
  const std::string tail(40, 'x');
  f.say(R"({"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"a)" + tail + R"("}],"nextCursor":"n"}})");
  EXPECT_EQ(f.sent(), "");
  auto page = f.session.take_long_page();
  ASSERT_TRUE(page);
  EXPECT_FALSE(f.session.take_long_page());
  f.session.on_page_read(*page->kind, page->read(), f.now);
  EXPECT_NE(f.sent().find(R"("params":{"cursor":"n"})"), std::string::npos);
  f.say(R"({"jsonrpc":"2.0","id":3,"result":{"tools":[{"name":"b"}]}})");  // a short one is read at once
  ASSERT_EQ(f.session.state(), SessionState::kReady);
  EXPECT_EQ(f.session.tools().at(0).name, "a" + tail);
  EXPECT_EQ(f.session.tools().at(1).name, "b");

  Fixture g({.long_page = 60});
  g.initialize();
  g.say(R"({"jsonrpc":"2.0","id":2,"result":{"tools":[{"name":"a)" + tail + R"("}]}})");
  page = g.session.take_long_page();
  ASSERT_TRUE(page);
  g.session.on_closed(Error(Code::kUnavailable, "gone"));
  g.session.on_page_read(*page->kind, page->read(), g.now);
  EXPECT_EQ(g.session.state(), SessionState::kFailed);
  EXPECT_FALSE(g.session.tools_known());
}

TEST(ClientSession, reads_the_code_and_the_message_of_an_error_in_a_batch) {
  Fixture f;
  f.ready();
  f.call();
  f.say(R"([{"jsonrpc":"2.0","id":3,"error":{"message":"no\u0021","code":-7}}])");
  const Completion done = f.completion();
  EXPECT_EQ(done.outcome->error_code, -7);
  EXPECT_EQ(done.outcome->error_message, "no!");
  EXPECT_EQ(done.outcome->error, R"({"message":"no\u0021","code":-7})");
}

}  // namespace
}  // namespace mcpbox::mcp
