// What the servers of one sandbox name as theirs has to fit into it.
#include "config/shares.h"

#include <gtest/gtest.h>

#include "config/load.h"

namespace mcpbox::config {
namespace {

std::string problems_of(const std::string& text) {
  const auto settings = parse(text, "mcpbox.yaml");
  std::string out;
  if (settings) return out;
  for (const Problem& problem : settings.error()) out += problem.text() + "\n";
  return out;
}

// `servers` are lines "NAME: {box}".
std::string with(const std::string& limits, const std::vector<std::pair<std::string, std::string>>& servers) {
  std::string text = "version: 1\nbox: {limits: {" + limits + "}}\nservers:\n";
  for (const auto& [name, box] : servers) text += "  " + name + ": {command: x, box: {" + box + "}}\n";
  return text;
}

TEST(Shares, a_sum_that_does_not_fit_is_refused_with_numbers_and_what_to_change) {
  EXPECT_EQ(
      problems_of(with("memory_mb: 1536", {{"small", ""}, {"one", "memory_mb: 1024"}, {"two", "memory_mb: 768"}})),
      "mcpbox.yaml:5:3: what these servers name as memory_mb does not fit into the sandbox that they share: 'one' "
      "1024 + 'two' 768 = 1792 MiB, and box.limits.memory_mb is 1536 MiB; raise that to 1792, lower theirs, give "
      "one of them `isolation: dedicated`, or allow it with box.limits.overcommit: 1.17\n");
}

TEST(Shares, what_the_message_proposes_is_admitted) {
  const std::vector<std::pair<std::string, std::string>> servers{{"one", "memory_mb: 1024, cpus: 1.5"},
                                                                 {"two", "memory_mb: 768, cpus: 0.5"}};
  EXPECT_EQ(problems_of(with("memory_mb: 1536, overcommit: 1.17", servers)), "");
  EXPECT_EQ(problems_of(with("memory_mb: 1792", servers)), "");
  EXPECT_NE(problems_of(with("memory_mb: 1536, overcommit: 1.16", servers)), "");
  EXPECT_NE(problems_of(with("memory_mb: 1536, overcommit: 1.16", servers)).find("times overcommit 1.16"),
            std::string::npos);
}

TEST(Shares, nobody_alone_has_more_than_the_sandbox_whatever_the_factor) {
  EXPECT_EQ(problems_of(with("memory_mb: 512, overcommit: 8", {{"one", "memory_mb: 1024"}})),
            "mcpbox.yaml:4:3: server 'one' names memory_mb: 1024, and the sandbox that it shares has 512 MiB "
            "(box.limits.memory_mb); give it `isolation: dedicated` and it has a sandbox of that size, or raise "
            "box.limits.memory_mb to 1024, or lower this one\n");
}

TEST(Shares, processes_are_added_up_too_and_processors_are_not) {
  EXPECT_NE(problems_of(with("pids_limit: 100", {{"one", "pids_limit: 60"}, {"two", "pids_limit: 60"}}))
                .find("'one' 60 + 'two' 60 = 120, and box.limits.pids_limit is 100;"),
            std::string::npos);
  EXPECT_EQ(problems_of(with("cpus: 1", {{"one", "cpus: 0.7"}, {"two", "cpus: 0.4"}})), "");
  EXPECT_NE(problems_of(with("cpus: 1", {{"one", "cpus: 1.5"}})).find("names cpus: 1.5"), std::string::npos);
}

TEST(Shares, only_those_in_one_sandbox_count) {
  const std::string most = "memory_mb: 1536";
  EXPECT_EQ(problems_of(with("", {{"one", most}, {"two", most + ", isolation: dedicated"}})), "");
  EXPECT_EQ(problems_of(with("", {{"one", most}, {"two", most + ", image: other"}})), "");
  EXPECT_EQ(problems_of(with("", {{"one", most}, {"two", most + ", read_only_rootfs: false"}})), "");
  EXPECT_EQ(problems_of(with("", {{"one", most}, {"two", most + ", mounts: [/usr]"}})), "");
  EXPECT_EQ(problems_of("version: 1\nservers:\n  a: {command: x, box: {" + most +
                        "}}\n  b: {command: x, enable: false, box: {" + most + "}}\n"),
            "");
  EXPECT_NE(problems_of(with("", {{"one", most}, {"two", most}})), "");
}

TEST(Shares, who_is_in_a_sandbox_with_whom) {
  const auto settings = parse(with("", {{"one", ""},
                                        {"two", ""},
                                        {"alone", "isolation: dedicated"},
                                        {"mounted", "mounts: [/usr]"},
                                        {"imaged", "image: other"}}) +
                                  "  off: {command: x, enable: false}\n",
                              "mcpbox.yaml");
  ASSERT_TRUE(settings) << settings.error().front().text();
  std::map<std::string, std::vector<std::string>> with_whom;
  for (const ServerSettings& server : settings->servers) with_whom[server.name] = sharing_with(*settings, server);
  EXPECT_EQ(with_whom, (std::map<std::string, std::vector<std::string>>{{"one", {"two"}},
                                                                        {"two", {"one"}},
                                                                        {"alone", {}},
                                                                        {"mounted", {}},
                                                                        {"imaged", {}},
                                                                        {"off", {"one", "two"}}}));
}

TEST(Shares, ten_servers_that_name_nothing_are_admitted) {
  std::vector<std::pair<std::string, std::string>> servers;
  for (char name = 'a'; name < 'k'; ++name) servers.emplace_back(std::string(1, name), "");
  EXPECT_EQ(problems_of(with("", servers)), "");
}

TEST(Shares, of_many_servers_the_first_are_named) {
  std::vector<std::pair<std::string, std::string>> servers;
  for (char name = 'a'; name < 'u'; ++name) servers.emplace_back(std::string(1, name), "memory_mb: 512");
  const std::string said = problems_of(with("", servers));
  EXPECT_NE(said.find("'h' 512 + 12 more = 10240 MiB"), std::string::npos) << said;
}

}  // namespace
}  // namespace mcpbox::config
