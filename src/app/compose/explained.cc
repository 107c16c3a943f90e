#include "app/compose/explained.h"

#include <fmt/format.h>

#include <map>
#include <set>
#include <utility>

#include "app/output.h"
#include "base/secrets.h"
#include "base/setting_name.h"
#include "base/text.h"
#include "json/text.h"
#include "json/writer.h"
#include "provision/egress_policy.h"

namespace mcpbox::app {
namespace {

std::string network_in_words(const egress::PolicyText& policy) {
  if (policy.mode == "none") return "none while it runs";
  const std::string named = printable(join(policy.allow, ", "), 2000);
  if (policy.mode == "public") return named.empty() ? "any public address" : "any public address, and " + named;
  return named.empty() ? fmt::format("nothing yet: {} lets it talk to a host",
                                     setting_name("box.network.allow: [HOST]", "--allow HOST"))
                       : named + ", and nothing else";
}

// The hash is of this plan without the image's id, and no environment will ever have it.
std::string without_hash(const workspace::Plan& plan, std::string text) {
  if (!plan.install || plan.install->hash.empty()) return text;
  const std::string& hash = plan.install->hash;
  for (auto at = text.find(hash); at != std::string::npos; at = text.find(hash, at))
    text.replace(at, hash.size(), "HASH");
  return text;
}

// ---- limits, isolation, variables

std::string processors_in_words(double cpus) {
  return fmt::format("{} processor{}", cpus, cpus == 1 ? "" : "s");
}

std::string limits_in_words(const Explained& explained) {
  const box::ServerLimits& limits = explained.limits;
  const bool alone = !explained.why_alone.empty();
  const double cpus = limits.cpus > 0 ? limits.cpus : explained.sandbox_cpus;
  return fmt::format("{} MiB of memory, {} processes and threads, {}{}, {} MiB of disk, {} files",
                     grouped(limits.memory_bytes >> 20), grouped(limits.processes), processors_in_words(cpus),
                     alone || limits.cpus > 0 ? "" : " together with the others in its sandbox",
                     grouped(limits.disk_bytes >> 20), grouped(limits.files));
}

std::string isolation_in_words(const Explained& explained) {
  if (!explained.why_alone.empty()) return "dedicated, a sandbox to itself: " + explained.why_alone;
  return fmt::format("shared, in namespaces of its own, with {}; `isolation: dedicated` gives it a sandbox to itself",
                     explained.with.empty() ? "no other server yet" : printable(join(explained.with, ", "), 2000));
}

std::vector<std::string> names_of(const std::map<std::string, std::string>& variables) {
  std::vector<std::string> names;
  for (const auto& [name, value] : variables) names.push_back(name);
  return names;
}

std::vector<std::string> install_names(const Explained& explained) {
  if (!explained.plan.install) return {};
  std::set<std::string> names(explained.install_names.begin(), explained.install_names.end());
  std::erase_if(names, [](const std::string& name) { return provision::is_proxy_variable(name); });
  for (const workspace::InstallStep& step : explained.plan.install->steps) {
    for (const auto& [name, value] : step.env) names.insert(name);
  }
  return {names.begin(), names.end()};
}

std::string names_in_words(const std::vector<std::string>& names) {
  return names.empty() ? "none but what every server has (HOME, PATH, …)"
                       : printable(join(names, ", "), 4000) + ", beside what every server has (HOME, PATH, …)";
}

std::string limits_json(const Explained& explained) {
  const box::ServerLimits& limits = explained.limits;
  const std::string cpus = fmt::format("{}", limits.cpus > 0 ? limits.cpus : explained.sandbox_cpus);
  json::Writer out;
  out.object().member("memory_mb", limits.memory_bytes >> 20).member("pids_limit", limits.processes);
  out.member("cpus", json::Raw{cpus}).member("disk_mb", limits.disk_bytes >> 20).member("max_files", limits.files);
  return out.end().take();
}

std::string isolation_json(const Explained& explained) {
  const bool alone = !explained.why_alone.empty();
  json::Writer out;
  out.object().member("mode", alone ? "dedicated" : "shared").member("why", explained.why_alone);
  return out.member("with", explained.with).end().take();
}

std::string variables_json(const Explained& explained) {
  json::Writer out;
  out.object().member("server", names_of(explained.plan.env));
  out.member("install", install_names(explained));
  return out.end().take();
}

// What is behind the redactor: a number that is somebody's PIN as well would not be JSON any more.
std::string with_members(std::string object, const std::vector<std::pair<std::string, std::string>>& members) {
  if (!object.ends_with("\n}")) return object;
  object.resize(object.size() - 2);
  for (const auto& [key, value] : members) object += ",\n  " + json::quote(key) + ": " + value;
  return object + "\n}";
}

}  // namespace

void print_explained(const Explained& explained, bool as_json, const Redactor& redact) {
  workspace::Plan plan = explained.plan;
  // What a reference may have given. The rest are our words, and hold values only where they are known as secrets.
  for (std::string& word : plan.argv) word = redact(word);
  auto running_policy = provision::run_policy(explained.network, explained.user);
  auto installing_policy = plan.install
                               ? provision::install_policy(explained.network, plan.install->manager, explained.user)
                               : Result<egress::PolicyText>(egress::PolicyText());
  for (const auto* policy : {&running_policy, &installing_policy}) {
    if (!*policy) print_err("mcpbox: {}\n", policy->error().message());
  }
  const egress::PolicyText running = std::move(running_policy).value_or(egress::PolicyText());
  const egress::PolicyText installing = std::move(installing_policy).value_or(egress::PolicyText());
  if (as_json) {
    json::Writer out;
    out.object().member("mode", running.mode).member("allow", running.allow);
    out.member("install_allow", installing.install_allow).member("registries", installing.registries);
    out.array("publish");
    for (const config::PublishedPort& port : explained.ports)
      out.object().member("host", port.host).member("server", port.server).end();
    out.end().end();
    print_out(
        "{}\n",
        with_members(sentence_without_secrets(without_hash(plan, workspace::plan_to_json(plan, "network", out.take()))),
                     {{"limits", limits_json(explained)},
                      {"isolation", isolation_json(explained)},
                      {"variables", variables_json(explained)}}));
    return;
  }
  std::string text = fmt::format("runs      {}\n", display_command(plan.argv));
  if (!plan.cwd.empty()) text += fmt::format("in        {}\n", printable(plan.cwd));
  for (const workspace::Root& root : plan.roots) {
    text += fmt::format("{:<9} {} at {}, {}\n", root.mode == workspace::RootMode::kStage ? "copies" : "mounts",
                        printable(root.host), printable(root.mount),
                        root.access == workspace::Access::kReadWrite ? "read-write" : "read-only");
  }
  if (plan.install) {
    for (const workspace::InstallStep& step : plan.install->steps)
      text += fmt::format("installs  {}: {}\n", step.title, display_command(step.argv));
    text += fmt::format("          from {}\n", join(installing.registries, ", "));
    if (!installing.install_allow.empty())
      text += fmt::format("          and from {}\n", join(installing.install_allow, ", "));
  }
  text += fmt::format("network   {}\n", network_in_words(running));
  for (const config::PublishedPort& port : explained.ports) {
    text +=
        fmt::format("publishes 127.0.0.1:{} of this machine: whoever connects there reaches port {} of the server\n",
                    port.host, port.server);
  }
  text += fmt::format("limits    {}\n", limits_in_words(explained));
  text += fmt::format("isolation {}\n", isolation_in_words(explained));
  text += fmt::format("variables {}\n", names_in_words(names_of(plan.env)));
  if (plan.install)
    text +=
        fmt::format("          {}, while its dependencies are installed\n", names_in_words(install_names(explained)));
  for (const workspace::Refusal& refusal : plan.refused)
    text += fmt::format("REFUSES   {}: {}\n", printable(refusal.path), refusal.reason);
  for (const std::string& hint : plan.hints) text += fmt::format("hint      {}\n", hint);
  for (const std::string& why : plan.why) text += fmt::format("because   {}\n", why);
  print_out("{}", sentence_without_secrets(without_hash(plan, std::move(text))));
}

}  // namespace mcpbox::app
