#include "app/verbs/pull_verb.h"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <map>

#include "app/compose/runtime.h"
#include "app/exit_code.h"
#include "app/output.h"
#include "app/verbs/daemon_client.h"
#include "app/verbs/table.h"
#include "base/text.h"
#include "base/url.h"
#include "json/value.h"
#include "json/writer.h"

namespace mcpbox::app {
namespace {

using json::Value;

// "2 files brought back, 1 deleted".
std::string done_in_words(std::map<std::string, unsigned>& counts, bool deleted) {
  const auto files = [](unsigned number, std::string_view done) {
    return fmt::format("{} file{} {}", number, number == 1 ? "" : "s", done);
  };
  const unsigned written = counts["added"] + counts["changed"] + counts["conflict"];
  if (!deleted || counts["deleted"] == 0) return files(written, "brought back");
  if (written == 0) return files(counts["deleted"], "deleted");
  return fmt::format("{}, {} deleted", files(written, "brought back"), counts["deleted"]);
}

int show_pulled(const Value& root, const PullVerb& pull) {
  std::vector<std::vector<std::string>> rows;
  std::map<std::string, unsigned> counts;
  for (const Value& item : root["items"].elements()) {
    const std::string action = item["action"].string_or();
    ++counts[action];
    const bool written = action == "added" || action == "changed";
    rows.push_back({action, item["path"].string_or(),
                    written ? human_bytes(static_cast<unsigned long long>(item["size"].integer_or(0))) : "",
                    item["note"].string_or()});
  }
  const std::string target = printable(root["target"].string_or());
  if (!rows.empty()) print_out("{}", format_table({"WHAT", "FILE", "SIZE", "NOTE"}, rows));
  const auto total = static_cast<std::size_t>(root["count"].integer_or(0));
  if (total > rows.size()) print_out("and {} more\n", total - rows.size());
  if (!root["base_known"].bool_or(true)) {
    print_err("mcpbox: what was staged from {} is not known any more, so every difference counts as a conflict\n",
              target);
  }
  const unsigned changes =
      counts["added"] + counts["changed"] + counts["conflict"] + (pull.delete_missing ? counts["deleted"] : 0);
  if (changes == 0) {
    print_out("{}: nothing to bring back\n", target);
    return kOk;
  }
  if (root["applied"].bool_or(false)) {
    print_out("{}: {}\n", target, done_in_words(counts, pull.delete_missing));
    return kOk;
  }
  if (pull.dry_run) {
    print_out("{}: nothing was written (--dry-run)\n", target);
    return kOk;
  }
  print_err(
      "mcpbox: nothing was written, because of {} conflict{}. Look at {} with `mcpbox pull {} --to DIR`, or "
      "take the server's files with "
      "--force: what is here then stays beside them as NAME.before-pull-N\n",
      counts["conflict"], counts["conflict"] == 1 ? "" : "s", counts["conflict"] == 1 ? "it" : "them", pull.server);
  return kFailed;
}

}  // namespace

int pull_changes(const ClientOptions& options, const PullVerb& pull) {
  std::string to;
  if (!pull.to.empty()) {
    std::error_code problem;
    to = std::filesystem::canonical(pull.to, problem).string();
    if (problem) {
      print_err("mcpbox: --to {}: {}; make the folder first\n", printable(pull.to), problem.message());
      return kUsage;
    }
  }
  // The folder may be gone: its name is enough to find the copy.
  std::string of;
  if (!pull.of.empty()) {
    std::error_code problem;
    of = std::filesystem::weakly_canonical(std::filesystem::absolute(pull.of, problem), problem).string();
    while (of.size() > 1 && of.ends_with('/')) of.pop_back();
  }
  return run_on_loop([&](Runtime& runtime) -> Task<int> {
    DaemonClient client(runtime.loop.get_executor(), options.socket);
    json::Writer request;
    request.object().member("of", of).member("to", to).member("dry_run", pull.dry_run).member("force", pull.force);
    request.member("delete", pull.delete_missing).end();
    auto body = co_await client.post("/v1/servers/" + percent_encode(pull.server) + "/pull", request.take(),
                                     std::chrono::seconds(360));
    const auto failed = [&](const Error& error) {
      print_err("mcpbox: {}\n", error.message());
      return client.no_daemon() ? kNoDaemon : error.code() == Code::kInvalidArgument ? kUsage : kFailed;
    };
    if (!body) co_return failed(body.error());
    if (options.json) print_out("{}", *body);
    const auto answer = Value::parse(*body);
    if (!answer) co_return failed(answer.error());
    int code = kOk;
    for (const Value& root : (*answer)["roots"].elements()) {
      if (!options.json) {
        code = std::max(code, show_pulled(root, pull));
        continue;
      }
      for (const Value& item : root["items"].elements()) {
        if (item["action"].string_or() == "conflict" && !pull.dry_run && !root["applied"].bool_or(false))
          code = kFailed;
      }
    }
    co_return code;
  });
}

}  // namespace mcpbox::app
