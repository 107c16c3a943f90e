// Who gets which user id, over restarts, crashes and several processes.
#include "provision/uid_book.h"

#include <gmock/gmock.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <thread>
#include <vector>

#include "base/digest.h"
#include "provision/identity.h"
#include "provision/install/env_ledger.h"
#include "support/no_descriptors.h"
#include "support/temp_tree.h"

namespace mcpbox::provision {
namespace {

using testing::HasSubstr;

constexpr box::UidRange kSmall{1'900'000'000, 1000};

struct UidBookTest : testing::Test {
  test::TempTree tree;
  UidBook book(box::UidRange range = kSmall) const { return UidBook(tree.root(), "0123", "docker", range); }
  std::string file() const { return tree.path("uids/docker.book"); }
  static std::string hash(int number) { return sha256_hex(std::to_string(number)).substr(0, 32); }
};

TEST_F(UidBookTest, fifty_servers_and_their_environments_have_uids_of_their_own) {
  for (const box::UidRange& range : {kSmall, box::UidRange{1'900'000'000, 65535}, box::UidRange{}}) {
    test::TempTree other;
    const UidBook book(other.root(), "0123", "docker", range);
    std::set<uid_t> uids;
    for (int i = 0; i < 50; ++i) {
      const auto server = book.server("server" + std::to_string(i));
      ASSERT_TRUE(server) << server.error().message();
      EXPECT_TRUE(server_part(range).contains(server->server));
      EXPECT_TRUE(installer_part(range).contains(server->code));
      uids.insert({server->server, server->code, book.environment(hash(i)).value()});
    }
    EXPECT_EQ(uids.size(), 150u);
  }
}

TEST_F(UidBookTest, hands_out_nothing_while_it_cannot_see_what_runs_have) {
  ASSERT_TRUE(book().environment(hash(1)));
  const uid_t wanted = preferred_server_uid("0123", "notes", kSmall);
  tree.file("uids/docker.run-" + std::to_string(wanted));
  const UniqueFd held(::open(tree.path("uids/docker.run-" + std::to_string(wanted)).c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::flock(held.get(), LOCK_EX | LOCK_NB), 0);
  {
    const test::NoDescriptors two(2);  // for the book's lock, and its folder
    const auto uids = book().server("notes");
    ASSERT_FALSE(uids) << uids->server;
    EXPECT_EQ(uids.error().code(), Code::kResourceExhausted);
  }
  const auto uids = book().server("notes");
  ASSERT_TRUE(uids) << uids.error().message();
  EXPECT_NE(uids->server, wanted);
}

TEST_F(UidBookTest, the_same_name_has_the_same_uid_in_every_process) {
  const auto first = book().server("notes").value();
  const auto again = book().server("notes").value();
  EXPECT_EQ(first.server, again.server);
  EXPECT_EQ(first.code, again.code);
  EXPECT_EQ(book().environment(hash(1)).value(), book().environment(hash(1)).value());
}

TEST_F(UidBookTest, what_was_made_before_there_was_a_book_keeps_its_uid) {
  EnvLedger(tree.root()).note_use(hash(1), hash(1), "notes");
  const auto uids = book().server("notes").value();
  EXPECT_EQ(uids.server, preferred_server_uid("0123", "notes", kSmall));
  EXPECT_EQ(uids.server_before, uids.server);
  EXPECT_EQ(uids.code, preferred_code_uid("0123", "notes", kSmall));
  EXPECT_EQ(book().environment(hash(1)).value(), preferred_installer_uid(hash(1), kSmall));
  // Also where somebody who came later would have preferred it.
  for (int i = 0; i < 300; ++i) {
    EXPECT_NE(book().server("later" + std::to_string(i)).value().code, preferred_installer_uid(hash(1), kSmall));
  }
}

TEST_F(UidBookTest, what_another_engine_has_takes_no_uid_here) {
  EnvLedger(tree.root(), "native").note_use(hash(1), hash(1), "notes");
  ASSERT_TRUE(book().server("notes"));
  std::ifstream in(file());
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  EXPECT_EQ(text.find(hash(1)), std::string::npos) << text;
}

TEST_F(UidBookTest, a_second_server_that_prefers_the_same_uid_gets_another_and_is_told_of_the_first) {
  std::set<uid_t> seen;
  for (int i = 0;; ++i) {
    const auto uids = book().server("s" + std::to_string(i)).value();
    EXPECT_EQ(uids.server_before, preferred_server_uid("0123", "s" + std::to_string(i), kSmall));
    if (uids.server == uids.server_before) continue;
    EXPECT_TRUE(server_part(kSmall).contains(uids.server));
    break;
  }
}

TEST_F(UidBookTest, an_environments_uid_is_free_when_it_is_gone_and_not_before) {
  const uid_t uid = book().environment(hash(1)).value();
  EXPECT_EQ(book().owner_of_environment(hash(1)).value(), uid);
  std::set<uid_t> others;
  // As many as there are; each other one is somebody else's.
  for (int i = 2;; ++i) {
    auto next = book().environment(hash(i));
    if (!next) {
      EXPECT_EQ(next.error().code(), Code::kResourceExhausted);
      EXPECT_THAT(next.error().message(), HasSubstr("mcpbox env prune"));
      EXPECT_EQ(next.error().message().find('\n'), std::string::npos);
      break;
    }
    EXPECT_NE(*next, uid);
    EXPECT_TRUE(others.insert(*next).second);
  }
  EXPECT_EQ(others.size() + 1, installer_part(kSmall).count);
  ASSERT_TRUE(book().forget_environment(hash(1)));
  EXPECT_EQ(book().environment("0123456789abcdef0123456789abcdef").value(), uid);
}

TEST_F(UidBookTest, servers_that_are_too_many_are_told_what_to_do) {
  const box::UidRange tiny{1'900'000'000, 10};
  for (unsigned i = 0; i < server_part(tiny).count; ++i) {
    // The other part is smaller; it ends first, so its share is asked for one by one.
    auto taken = book(tiny).server("s" + std::to_string(i));
    if (!taken) EXPECT_THAT(taken.error().message(), HasSubstr("user ids"));
  }
  const auto more = book(tiny).server("one-more");
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code(), Code::kResourceExhausted);
  EXPECT_THAT(more.error().message(), HasSubstr("/etc/subuid"));
  const auto run = book(tiny).run();
  EXPECT_FALSE(run);
}

TEST_F(UidBookTest, a_run_has_uids_that_nobody_else_has_until_it_ends) {
  const box::UidRange range{1'900'000'000, 20};
  std::vector<RunUids> runs;
  std::set<uid_t> taken{book(range).server("s").value().server};
  for (;;) {
    auto run = book(range).run();
    if (!run) break;
    EXPECT_TRUE(taken.insert(run->uids.server).second);
    EXPECT_TRUE(taken.insert(run->uids.code).second);
    runs.push_back(std::move(*run));
  }
  EXPECT_GT(runs.size(), 5u);
  EXPECT_FALSE(book(range).server("another")) << "the code's part is used up by runs";
  runs.clear();
  EXPECT_TRUE(book(range).server("another"));
  EXPECT_TRUE(book(range).run());
  unsigned files = 0;
  for (const auto& left : std::filesystem::directory_iterator(tree.path("uids")))
    files += left.path().string().find(".run-") != std::string::npos;
  EXPECT_EQ(files, 0u);
}

TEST_F(UidBookTest, the_uids_of_a_run_that_was_killed_are_free) {
  const box::UidRange range{1'900'000'000, 4};  // two and two
  const pid_t child = ::fork();
  if (child == 0) {
    auto run = UidBook(tree.root(), "0123", "docker", range).run();
    auto second = UidBook(tree.root(), "0123", "docker", range).run();
    ::_exit(run && second ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  auto one = book(range).run();
  auto two = book(range).run();
  EXPECT_TRUE(one && two);
  EXPECT_FALSE(book(range).run());
}

TEST_F(UidBookTest, processes_that_ask_at_once_never_get_the_same) {
  std::vector<pid_t> children;
  for (int number = 0; number < 4; ++number) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    const UidBook mine(tree.root(), "0123", "docker", kSmall);
    for (int i = 0; i < 25; ++i) {
      if (!mine.server("s" + std::to_string(number) + "-" + std::to_string(i))) ::_exit(1);
    }
    ::_exit(0);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  std::set<uid_t> uids;
  for (int number = 0; number < 4; ++number) {
    for (int i = 0; i < 25; ++i) {
      const auto found = book().server("s" + std::to_string(number) + "-" + std::to_string(i)).value();
      uids.insert({found.server, found.code});
    }
  }
  EXPECT_EQ(uids.size(), 200u);
}

TEST_F(UidBookTest, a_damaged_book_hands_out_nothing_and_says_what_to_do) {
  const uid_t notes = book().server("notes").value().server;
  std::string whole;
  {
    std::ifstream in(file());
    whole = std::string(std::istreambuf_iterator<char>(in), {});
  }
  const auto with = [&](std::string text) {
    std::ofstream(file(), std::ios::trunc | std::ios::binary) << text;
    return book().server("other");
  };
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    const auto refused = with(whole.substr(0, cut));
    ASSERT_FALSE(refused) << cut;
    EXPECT_EQ(refused.error().code(), Code::kDataLoss);
    EXPECT_THAT(refused.error().message(), HasSubstr("mcpbox down --volumes"));
  }
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string wrong = whole;
    wrong[at] ^= 1;
    EXPECT_FALSE(with(wrong)) << at;
  }
  std::filesystem::remove(file());
  EXPECT_FALSE(book().server("notes")) << "it was lost";
  EXPECT_FALSE(book().run());
  EXPECT_FALSE(book().environment(hash(1)));
  EXPECT_TRUE(with(whole));
  EXPECT_EQ(book().server("notes").value().server, notes);
  std::filesystem::remove(file());
  book().clear();
  EXPECT_TRUE(book().server("notes"));
}

TEST_F(UidBookTest, a_write_that_was_cut_short_leaves_the_book_as_it_was) {
  const auto before = book().server("notes").value();
  std::ofstream(file() + ".0badcafe") << "half a bo";
  EXPECT_EQ(book().server("notes").value().server, before.server);
}

TEST_F(UidBookTest, a_book_that_cannot_be_written_hands_out_nothing) {
  std::ofstream(tree.path("uids")) << "no directory";
  EXPECT_FALSE(book().server("notes"));
}

TEST_F(UidBookTest, every_engine_has_a_book_of_its_own_and_another_range_gives_another_uid) {
  const auto docker = book({}).server("notes").value();
  const auto small = book().server("notes").value();
  EXPECT_TRUE(server_part(kSmall).contains(small.server));
  EXPECT_EQ(book({}).server("notes").value().server, docker.server);
  UidBook(tree.root(), "0123", "native", kSmall).clear();
  EXPECT_EQ(book().server("notes").value().server, small.server);
}

TEST_F(UidBookTest, a_name_that_would_break_a_line_is_refused) {
  for (const std::string& name : {std::string(), std::string("a\nb"), std::string("a\0b", 3)})
    EXPECT_FALSE(book().server(name));
  EXPECT_TRUE(book().server("with spaces 1"));
  EXPECT_EQ(book().server("with spaces 1").value().server, book().server("with spaces 1").value().server);
}

TEST(UidBook, without_a_state_directory_it_is_kept_in_memory) {
  const UidBook book("", "0123", "docker", {1'900'000'000, 20});
  const UidBook copy = book;
  std::set<uid_t> uids{book.server("a").value().server, copy.server("b").value().server};
  EXPECT_EQ(uids.size(), 2u);
  EXPECT_EQ(book.server("b").value().server, copy.server("b").value().server);
  {
    auto run = book.run();
    ASSERT_TRUE(run);
    EXPECT_FALSE(uids.contains(run->uids.server));
  }
  std::vector<RunUids> runs;
  while (auto run = copy.run()) runs.push_back(std::move(*run));
  EXPECT_GE(runs.size(), 5u);
}

}  // namespace
}  // namespace mcpbox::provision
