#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "box/link/stage_writer.h"
#include "integration/init/fixture.h"

namespace mcpbox::test {
namespace {

namespace fs = std::filesystem;

struct stat inspect(const std::string& path) {
  struct stat info{};
  EXPECT_EQ(::lstat(path.c_str(), &info), 0) << path;
  return info;
}
std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class InitFiles : public Init {
 protected:
  // Unpacks what `write` sends from a thread.
  Result<box::Supervisor::UnpackTotals> unpack(std::string path, const std::function<void(box::StageWriter&)>& write,
                                               bool existing = false, uid_t uid = kAlice,
                                               std::chrono::milliseconds limit = std::chrono::seconds(20),
                                               bool sealed = false, std::string previous = "", gid_t gid = 0) {
    if (gid == 0) gid = uid;
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    ::signal(SIGPIPE, SIG_IGN);
    std::thread sender([&write, out = ends[1]] {
      box::StageWriter writer{UniqueFd(out)};
      write(writer);
    });
    auto result = run(supervisor->unpack({std::move(path), uid, gid, existing, sealed, std::move(previous), limit},
                                         UniqueFd(ends[0])));
    sender.join();
    return result;
  }
  Result<box::Supervisor::UnpackTotals> unpack_bytes(std::string path, const std::string& bytes, bool existing = false,
                                                     std::chrono::milliseconds limit = std::chrono::seconds(20),
                                                     bool keep_open = false) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    UniqueFd out(ends[1]);
    write_text(out.get(), bytes);
    if (!keep_open) out.reset();
    return run(supervisor->unpack({std::move(path), kAlice, kAlice, existing, false, "", limit}, UniqueFd(ends[0])));
  }
  static void put(box::StageWriter& writer, const std::string& path, const std::string& text, bool executable = false) {
    std::string_view rest = text;
    ASSERT_TRUE(writer.file(path, text.size(), executable, [&](char* buffer, std::size_t room) -> Result<std::size_t> {
      const std::size_t take = std::min(room, rest.size());
      rest.copy(buffer, take);
      rest.remove_prefix(take);
      return take;
    }));
  }
  void make_process_directory(std::vector<std::string> children = {"home", "tmp"}) {
    auto made = run(make_tree("/workspace/.mcp/a", kAlice, kAlice, std::move(children)));
    ASSERT_THAT(made, succeeds());
  }
};

TEST_F(InitFiles, makes_a_tree_that_only_its_owner_can_use) {
  make_process_directory();
  for (const char* path : {"/.mcp", "/.mcp/a"}) {
    const auto info = inspect(sandbox->workspace() + path);
    EXPECT_EQ(info.st_uid, 0u) << path;
    EXPECT_EQ(info.st_mode & 07777, 0711u) << path;
  }
  for (const char* path : {"/.mcp/a/home", "/.mcp/a/tmp"}) {
    const auto info = inspect(sandbox->workspace() + path);
    EXPECT_EQ(info.st_uid, kAlice) << path;
    EXPECT_EQ(info.st_gid, kAlice) << path;
    EXPECT_EQ(info.st_mode & 07777, 0700u) << path;
  }
  make_process_directory({"home", "tmp", "more"});  // again: what is there stays
  EXPECT_EQ(inspect(sandbox->workspace() + "/.mcp/a/more").st_uid, kAlice);
  EXPECT_EQ(std::distance(fs::directory_iterator(sandbox->workspace() + "/.mcp/a"), {}), 3);  // nothing temporary
  auto foreign = run(make_tree("/workspace/.mcp/a", kBob, kBob, {"home"}));
  ASSERT_FALSE(foreign);
  EXPECT_EQ(foreign.error().code(), Code::kAlreadyExists);
  EXPECT_TRUE(run(make_tree("/workspace", kAlice, kAlice, {})));  // a root itself
}

TEST_F(InitFiles, works_beneath_its_roots_only) {
  for (const char* path :
       {"/etc/x", "/workspace2/x", "/", "relative", "/workspace/../etc/x", "/workspace//x", "/workspace/./x"}) {
    EXPECT_FALSE(run(make_tree(path, kAlice, kAlice, {}))) << path;
    EXPECT_FALSE(run(supervisor->remove_tree(path, kAlice))) << path;
    EXPECT_FALSE(run(write_file(path, "x"))) << path;
    EXPECT_FALSE(run(supervisor->read_file(path, 100))) << path;
  }
  for (const char* name : {"", ".", "..", "a/b"}) {
    EXPECT_FALSE(run(make_tree("/workspace/.mcp/a", kAlice, kAlice, {name}))) << name;
  }
  EXPECT_FALSE(run(supervisor->look("/etc", {"passwd"}, 100'000)));
  // A link that somebody planted leads nowhere.
  fs::create_symlink("/etc", sandbox->workspace() + "/link");
  EXPECT_FALSE(run(write_file("/workspace/link/passwd", "x")));
  EXPECT_FALSE(run(supervisor->read_file("/workspace/link/passwd", 10'000)));
}

TEST_F(InitFiles, unpacks_as_the_server) {
  make_process_directory();
  auto totals = unpack("/workspace/.mcp/a/workspace", [](box::StageWriter& writer) {
    ASSERT_TRUE(writer.directory("src"));
    put(writer, "src/run.sh", "#!/bin/sh\necho ran\n", true);
    put(writer, "empty", "");
    put(writer, "big", std::string(3'000'000, 'b'));
    put(writer, "sparse", std::string(8'000'000, '\0'));
    ASSERT_TRUE(writer.symlink("src/up", "../big"));
    ASSERT_FALSE(writer.symlink("src/out", "../../x"));
    ASSERT_FALSE(writer.directory("../x"));
    ASSERT_TRUE(writer.finish());
  });
  ASSERT_THAT(totals, succeeds());
  EXPECT_EQ(totals->entries, 6u);
  EXPECT_EQ(totals->bytes, 11'000'019u);
  const std::string root = sandbox->workspace() + "/.mcp/a/workspace";
  EXPECT_EQ(inspect(root).st_mode & 07777, 0700u);
  EXPECT_EQ(inspect(root).st_uid, kAlice);
  EXPECT_EQ(inspect(root + "/src/run.sh").st_mode & 07777, 0700u);
  EXPECT_EQ(inspect(root + "/big").st_mode & 07777, 0600u);
  EXPECT_EQ(inspect(root + "/big").st_uid, kAlice);
  EXPECT_EQ(text_of(root + "/big"), std::string(3'000'000, 'b'));
  EXPECT_EQ(inspect(root + "/sparse").st_size, 8'000'000);
  EXPECT_LT(inspect(root + "/sparse").st_blocks * 512, 1'000'000);
  EXPECT_EQ(fs::read_symlink(root + "/src/up"), "../big");
  auto what = spec("run", {"./run.sh"});
  what.cwd = "/workspace/.mcp/a/workspace/src";
  what.confine.read_write = {"/workspace/.mcp/a"};
  EXPECT_EQ(output_of(what).out, "ran\n");
  // A second time into the same place is refused, and what is there is not touched.
  auto again = unpack("/workspace/.mcp/a/workspace", [](box::StageWriter& writer) { (void)writer.finish(); });
  EXPECT_EQ(again.error().code(), Code::kAlreadyExists);
  EXPECT_EQ(inspect(root + "/empty").st_size, 0);
}

TEST_F(InitFiles, removes_what_a_broken_or_hostile_stream_left) {
  make_process_directory();
  using namespace box::wire;
  const std::string magic(kStageMagic);
  const std::vector<std::string> streams{
      "",
      "garbage that is no archive",
      magic,
      magic + stage_file("f", 100, false) + "short",
      magic + stage_file("../escape", 1, false) + "x" + stage_end({1, 1}),
      magic + stage_file("/etc/passwd", 1, false) + "x" + stage_end({1, 1}),
      magic + stage_link("l", "/etc") + stage_end({1, 0}),
      magic + stage_directory("d") + stage_directory("d") + stage_end({2, 0}),
      magic + stage_link("l", "d") + stage_directory("d") + stage_file("l/x", 1, false) + "x" + stage_end({3, 1}),
      magic + stage_file("no/parent", 1, false) + "x" + stage_end({1, 1}),
      magic + stage_directory("d") + stage_end({9, 0}),
      magic + stage_directory("d") + stage_end({1, 0}) + "more",
  };
  for (const std::string& stream : streams) {
    auto result = unpack_bytes("/workspace/.mcp/a/workspace", stream);
    EXPECT_FALSE(result) << stream;
    EXPECT_FALSE(fs::exists(sandbox->workspace() + "/.mcp/a/workspace")) << stream;
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(sandbox->workspace() + "/.mcp/a"), {}), 2);
}

TEST_F(InitFiles, answers_others_while_a_sender_stalls_and_gives_up_in_time) {
  make_process_directory();
  auto stalled = unpack_bytes("/workspace/.mcp/a/workspace", std::string(box::wire::kStageMagic), false,
                              std::chrono::milliseconds(300), true);
  ASSERT_FALSE(stalled);
  EXPECT_EQ(stalled.error().code(), Code::kTimeout) << stalled.error().message();
  EXPECT_FALSE(fs::exists(sandbox->workspace() + "/.mcp/a/workspace"));
}

TEST_F(InitFiles, unpacks_into_a_shared_directory) {
  ASSERT_THAT(run(make_tree("/workspace/project", kAlice, kAlice, {})), succeeds());
  ASSERT_THAT(run(supervisor->share_directory("/workspace/project", kAlice)), succeeds());
  const auto info = inspect(sandbox->workspace() + "/project");
  EXPECT_EQ(info.st_uid, 0u);
  EXPECT_EQ(info.st_gid, kAlice);
  EXPECT_EQ(info.st_mode & 07777, 0775u);
  const auto write = [](box::StageWriter& writer) {
    put(writer, "f", "x");
    (void)writer.finish();
  };
  auto totals = unpack("/workspace/project", write, true);
  ASSERT_THAT(totals, succeeds());
  EXPECT_EQ(inspect(sandbox->workspace() + "/project/f").st_uid, kAlice);
  EXPECT_EQ(unpack("/workspace/project", write, true).error().code(), Code::kFailedPrecondition);
  EXPECT_TRUE(fs::exists(sandbox->workspace() + "/project/f"));
  ASSERT_THAT(run(make_tree("/workspace/other", kAlice, kAlice, {})), succeeds());
  ASSERT_THAT(run(supervisor->share_directory("/workspace/other", kAlice)), succeeds());
  EXPECT_FALSE(
      unpack_bytes("/workspace/other", std::string(box::wire::kStageMagic) + box::wire::stage_directory("d"), true));
  EXPECT_TRUE(fs::is_empty(sandbox->workspace() + "/other"));
}

TEST_F(InitFiles, publishes_over_an_older_generation) {
  make_process_directory();
  const auto generation = [&](const std::string& name, const std::string& text) {
    auto unpacked = unpack("/workspace/.mcp/a/" + name, [&](box::StageWriter& writer) {
      put(writer, "f", text);
      (void)writer.finish();
    });
    ASSERT_THAT(unpacked, succeeds());
  };
  generation("g1", "one");
  ASSERT_THAT(run(supervisor->publish("/workspace/.mcp/a/g1", "/workspace/.mcp/a/workspace", kAlice)), succeeds());
  generation("g2", "two");
  ASSERT_THAT(run(supervisor->publish("/workspace/.mcp/a/g2", "/workspace/.mcp/a/workspace", kAlice)), succeeds());
  EXPECT_EQ(text_of(sandbox->workspace() + "/.mcp/a/workspace/f"), "two");
  EXPECT_FALSE(fs::exists(sandbox->workspace() + "/.mcp/a/g1"));
  EXPECT_FALSE(fs::exists(sandbox->workspace() + "/.mcp/a/g2"));
  // The old one goes in the background.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  const auto names = [&] { return run(supervisor->list_directory("/workspace/.mcp/a"))->size(); };
  while (names() != 3 && std::chrono::steady_clock::now() < deadline) {
  }
  EXPECT_EQ(names(), 3u);
  EXPECT_FALSE(run(supervisor->publish("/workspace/.mcp/a/none", "/workspace/.mcp/a/workspace", kAlice)));
  EXPECT_FALSE(run(supervisor->publish("/workspace/.mcp/a/home", "/workspace/.mcp/home", kAlice)));
  EXPECT_FALSE(run(supervisor->publish("/workspace/.mcp/a/home", "/workspace/.mcp/a/x", kBob)));
}

constexpr uid_t kCode = 2'100'000'001;  // owns Alice's code; she reads it through her group

TEST_F(InitFiles, keeps_files_of_the_generation_before_that_the_server_cannot_write) {
  make_process_directory();
  const std::string place = "/workspace/.mcp/a/";
  const std::string root = sandbox->workspace() + "/.mcp/a/";
  const auto limit = std::chrono::seconds(20);
  auto first = unpack(
      place + "w",
      [](box::StageWriter& writer) {
        ASSERT_TRUE(writer.directory("d"));
        put(writer, "d/run", "#!/bin/sh\necho ran\n", true);
        put(writer, "f", "old");
        ASSERT_TRUE(writer.finish());
      },
      false, kCode, limit, true, "", kAlice);
  ASSERT_THAT(first, succeeds());
  EXPECT_EQ(inspect(root + "w").st_mode & 07777, 0750u);
  EXPECT_EQ(inspect(root + "w/d").st_mode & 07777, 0750u);
  EXPECT_EQ(inspect(root + "w/d/run").st_mode & 07777, 0750u);
  EXPECT_EQ(inspect(root + "w/f").st_mode & 07777, 0640u);
  EXPECT_EQ(inspect(root + "w/f").st_uid, kCode);
  EXPECT_EQ(inspect(root + "w/f").st_gid, kAlice);
  // Not even without Landlock's help: the rules let the server write everywhere in the tree.
  auto server = spec("s", {"sh", "-c",
                           "./d/run; for c in 'echo x >>f' 'rm f' 'chmod 777 f' 'touch f' 'mv d e' 'ln f g'; do eval "
                           "$c 2>/dev/null && echo $c; done"});
  server.cwd = place + "w";
  server.confine.read_write = {"/workspace/.mcp/a"};
  EXPECT_EQ(output_of(server).out, "ran\n");

  auto second = unpack(
      place + "g",
      [](box::StageWriter& writer) {
        ASSERT_TRUE(writer.directory("d"));
        ASSERT_TRUE(writer.keep("d/run", 19, true));
        put(writer, "f", "new");
        ASSERT_TRUE(writer.finish());
      },
      false, kCode, limit, true, place + "w", kAlice);
  ASSERT_THAT(second, succeeds());
  EXPECT_EQ(second->entries, 3u);
  EXPECT_EQ(second->bytes, 3u);
  EXPECT_EQ(inspect(root + "g/d/run").st_ino, inspect(root + "w/d/run").st_ino);
  ASSERT_THAT(run(supervisor->publish(place + "g", place + "w", kCode)), succeeds());
  EXPECT_EQ(text_of(root + "w/f"), "new");
  EXPECT_EQ(output_of(server).out, "ran\n");
}

TEST_F(InitFiles, keeps_nothing_that_is_not_as_the_stream_says) {
  make_process_directory();
  const std::string place = "/workspace/.mcp/a/";
  const auto limit = std::chrono::seconds(20);
  const auto write = [](box::StageWriter& writer) {
    put(writer, "f", "12345");
    put(writer, "x", "12345", true);
    ASSERT_TRUE(writer.directory("d"));
    ASSERT_TRUE(writer.symlink("l", "f"));
    ASSERT_TRUE(writer.symlink("dl", "d"));
    put(writer, "d/f", "1");
    ASSERT_TRUE(writer.finish());
  };
  ASSERT_TRUE(unpack(place + "w", write, false, kCode, limit, true, "", kAlice));
  ASSERT_TRUE(unpack(place + "own", write, false, kAlice, limit, false, "", kAlice));
  struct Try {
    const char* path;
    std::uint64_t size;
    bool executable;
    const char* previous;
  };
  for (const Try& attempt : {Try{"f", 4, false, "w"},
                             {"f", 5, true, "w"},
                             {"x", 5, false, "w"},
                             {"l", 5, false, "w"},
                             {"l", 1, false, "w"},
                             {"d", 5, false, "w"},
                             {"none", 5, false, "w"},
                             {"dl/f", 1, false, "w"},
                             {"f", 5, false, ""},
                             {"f", 5, false, "own"},
                             {"f", 5, false, "home"}}) {
    const std::string previous = *attempt.previous == '\0' ? "" : place + attempt.previous;
    auto kept = unpack(
        place + "g",
        [&](box::StageWriter& writer) {
          if (std::string_view(attempt.path).starts_with("dl/")) (void)writer.directory("dl");
          (void)writer.keep(attempt.path, attempt.size, attempt.executable);
          (void)writer.finish();
        },
        false, kCode, limit, true, previous, kAlice);
    ASSERT_FALSE(kept) << attempt.path << " " << attempt.previous;
    EXPECT_EQ(kept.error().code(), Code::kFailedPrecondition) << kept.error().message();
    EXPECT_FALSE(fs::exists(sandbox->workspace() + "/.mcp/a/g"));
  }
  // Who cannot begin may have closed the stream before it is written.
  const auto end = [](box::StageWriter& writer) { (void)writer.finish(); };
  EXPECT_FALSE(unpack(place + "g", end, false, kCode, limit, true, place + "none", kAlice));
  EXPECT_FALSE(unpack(place + "g", end, false, kCode, limit, true, "/etc", kAlice));
  EXPECT_FALSE(fs::exists(sandbox->workspace() + "/.mcp/a/g"));
  // What was refused did not touch what is there.
  EXPECT_EQ(text_of(sandbox->workspace() + "/.mcp/a/w/f"), "12345");
  EXPECT_EQ(inspect(sandbox->workspace() + "/.mcp/a/w/f").st_nlink, 1u);
}

// What a packed tree says, as text.
struct PackedTree final : box::wire::StageSink {
  Result<void> directory(std::string_view path) override { return add(std::string(path) + "/"); }
  Result<void> file(std::string_view path, std::uint64_t, bool executable) override {
    return add(std::string(path) + (executable ? "*=" : "="));
  }
  Result<void> data(std::string_view bytes) override {
    entries.back() += bytes;
    return {};
  }
  Result<void> file_end() override { return {}; }
  Result<void> link(std::string_view path, std::string_view target) override {
    return add(std::string(path) + "->" + std::string(target));
  }
  Result<void> keep(std::string_view, std::uint64_t, bool) override { return fail(Code::kInternal, "kept"); }
  Result<void> add(std::string entry) {
    entries.push_back(std::move(entry));
    return {};
  }
  std::vector<std::string> entries;
};

TEST_F(InitFiles, packs_what_the_server_has_within_limits_and_leaves_special_files) {
  make_process_directory({"home"});
  auto fill = spec("fill", {"sh", "-c",
                            "mkdir -p a/b .git/hooks dark; echo x > a/b/f; chmod 4755 a/b/f; ln -s b/f a/in; ln -s "
                            "/etc/passwd out; mkfifo p; "
                            "echo h > .git/hooks/h; echo s > secret; chmod 0 secret dark; printf 12345 > z"});
  fill.cwd = "/workspace/.mcp/a/home";
  fill.confine.read_write = {fill.cwd};
  ASSERT_EQ(output_of(fill).exit.code, 0);
  const auto pack = [&](box::Supervisor::PackRequest request, PackedTree& tree) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    bool whole = false;
    std::thread reader([&, in = ends[0]] {
      box::wire::StageReader stage(tree);
      char buffer[4096];
      for (ssize_t got = 0; !stage.done() && (got = ::read(in, buffer, sizeof buffer)) > 0;) {
        EXPECT_TRUE(stage.feed(std::string_view(buffer, static_cast<std::size_t>(got))));
      }
      whole = stage.done();
      ::close(in);
    });
    auto result = run(supervisor->pack(std::move(request), UniqueFd(ends[1])));
    reader.join();
    EXPECT_EQ(result.has_value(), whole);
    return result;
  };
  const box::Supervisor::PackRequest all{"/workspace/.mcp/a/home", kAlice, kAlice, {".git"}, 5, 7, 5,
                                         std::chrono::seconds(20)};
  PackedTree tree;
  auto packed = pack(all, tree);
  ASSERT_THAT(packed, succeeds());
  EXPECT_EQ(tree.entries, (std::vector<std::string>{"a/", "a/b/", "a/b/f*=x\n", "a/in->b/f", "z=12345"}));
  EXPECT_EQ(packed->entries, 5u);
  EXPECT_EQ(packed->bytes, 7u);
  EXPECT_EQ(packed->skipped, 5u);  // .git, dark, out, p, secret
  for (auto change : {+[](box::Supervisor::PackRequest& request) { request.entries = 4; },
                      +[](box::Supervisor::PackRequest& request) { request.bytes = 6; },
                      +[](box::Supervisor::PackRequest& request) { request.file_bytes = 4; }}) {
    auto limited = all;
    change(limited);
    PackedTree part;
    auto refused = pack(limited, part);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Code::kResourceExhausted) << refused.error().message();
  }
  auto foreign = all;
  foreign.uid = foreign.gid = kBob;
  PackedTree none;
  EXPECT_EQ(pack(foreign, none).error().code(), Code::kPermissionDenied);
  auto outside = all;
  outside.path = "/etc";
  EXPECT_FALSE(pack(outside, none));
  EXPECT_TRUE(none.entries.empty());
}

TEST_F(InitFiles, seals_a_tree_for_everybody_to_read) {
  ASSERT_THAT(run(make_tree("/cache/env/h", kAlice, kAlice, {"env"})), succeeds());
  auto fill =
      spec("fill", {"sh", "-c",
                    "mkdir -p a/b dark; echo x > a/b/f; echo y > dark/g; printf '#!/bin/sh\\necho tool\\n' > t; "
                    "chmod 4777 t; chmod 0 a/b/f; chmod 0 dark; ln -s a l"});
  fill.cwd = "/cache/env/h/env";
  fill.confine.read_write = {fill.cwd};
  ASSERT_EQ(output_of(fill).exit.code, 0);
  auto sealed = run(supervisor->seal("/cache/env/h/env", kAlice));
  ASSERT_THAT(sealed, succeeds());
  const std::string root = sandbox->cache() + "/env/h/env";
  for (const char* path : {"", "/a", "/a/b", "/dark"}) EXPECT_EQ(inspect(root + path).st_mode & 07777, 0555u) << path;
  EXPECT_EQ(inspect(root + "/t").st_mode & 07777, 0555u);
  EXPECT_EQ(inspect(root + "/a/b/f").st_mode & 07777, 0444u);
  auto other = spec(
      "other", {"sh", "-c", "/cache/env/h/env/t; cat /cache/env/h/env/dark/g; echo z > /cache/env/h/env/new"}, kBob);
  other.confine.read_only = {"/cache/env/h/env"};
  EXPECT_EQ(output_of(other).out, "tool\ny\n");
  EXPECT_FALSE(fs::exists(root + "/new"));
  ASSERT_THAT(run(supervisor->remove_tree("/cache/env/h", kAlice)), succeeds());
  EXPECT_FALSE(fs::exists(sandbox->cache() + "/env/h"));
  EXPECT_TRUE(run(supervisor->remove_tree("/cache/env/h", kAlice)));  // not being there is success
}

TEST_F(InitFiles, removes_deep_dark_and_large_trees) {
  make_process_directory();
  auto fill = spec("fill", {"/opt/tests/test_make_mess"});
  fill.cwd = "/workspace/.mcp/a/home";
  fill.confine.read_write = {fill.cwd};
  const auto made = output_of(fill);
  ASSERT_EQ(made.exit.code, 0) << made.err;
  EXPECT_FALSE(run(supervisor->remove_tree("/workspace/.mcp/a", kBob)));  // not his
  auto removed = run(supervisor->remove_tree("/workspace/.mcp/a", kAlice));
  ASSERT_THAT(removed, succeeds());
  EXPECT_FALSE(fs::exists(sandbox->workspace() + "/.mcp/a"));
}

TEST_F(InitFiles, reads_and_writes_small_files) {
  make_process_directory();
  ASSERT_THAT(run(write_file("/workspace/.mcp/a/marker", "one")), succeeds());
  ASSERT_THAT(run(write_file("/workspace/.mcp/a/marker", "two")), succeeds());
  EXPECT_EQ(inspect(sandbox->workspace() + "/.mcp/a/marker").st_mode & 07777, 0444u);
  EXPECT_EQ(run(supervisor->read_file("/workspace/.mcp/a/marker", 100)).value(), "two");
  auto seen = run(supervisor->look("/workspace/.mcp/a", {"marker", "other"}, 100));
  ASSERT_THAT(seen, succeeds());
  EXPECT_THAT(seen->names, testing::UnorderedElementsAre("home", "marker", "tmp"));
  EXPECT_EQ(seen->contents, (std::vector<std::optional<std::string>>{"two", std::nullopt}));
  EXPECT_THAT(run(supervisor->look("/workspace/.mcp/a", {"marker"}, 2)), fails(Code::kResourceExhausted));
  EXPECT_THAT(run(supervisor->look("/workspace/.mcp/a", {"home"}, 100)), fails(Code::kPermissionDenied));
  EXPECT_THAT(run(supervisor->look("/workspace/.mcp/a", {"../a/marker"}, 100)), fails(Code::kInvalidArgument));
  // Not into a directory of a server: the names there are the server's.
  EXPECT_EQ(run(write_file("/workspace/.mcp/a/home/x", "x")).error().code(), Code::kPermissionDenied);
  auto fill =
      spec("fill", {"sh", "-c", "echo mine > f; mkfifo p; ln -s /etc/passwd l; mkdir d; head -c 2000 /dev/zero > big"});
  fill.cwd = "/workspace/.mcp/a/home";
  fill.confine.read_write = {fill.cwd};
  ASSERT_EQ(output_of(fill).exit.code, 0);
  EXPECT_EQ(run(supervisor->read_file("/workspace/.mcp/a/home/f", 100)).value(), "mine\n");
  EXPECT_FALSE(run(supervisor->read_file("/workspace/.mcp/a/home/p", 100)));
  EXPECT_FALSE(run(supervisor->read_file("/workspace/.mcp/a/home/l", 100)));
  EXPECT_FALSE(run(supervisor->read_file("/workspace/.mcp/a/home/d", 100)));
  EXPECT_EQ(run(supervisor->read_file("/workspace/.mcp/a/home/big", 1999)).error().code(), Code::kResourceExhausted);
  EXPECT_EQ(run(supervisor->read_file("/workspace/.mcp/a/home/big", 2000))->size(), 2000u);
  EXPECT_EQ(run(supervisor->read_file("/workspace/.mcp/a/home/none", 10)).error().code(), Code::kNotFound);
  EXPECT_EQ(run(supervisor->list_directory("/workspace/.mcp/a/home"))->size(), 5u);
}

}  // namespace
}  // namespace mcpbox::test
