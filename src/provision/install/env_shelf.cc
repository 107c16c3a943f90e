#include "provision/install/env_shelf.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "net/offload.h"

namespace mcpbox::provision {
namespace {

constexpr const char* kShelf = "/cache/env";
constexpr std::int64_t kDay = 24 * 3600;

std::int64_t last_touched(const EnvEntry& entry) {
  return std::max(entry.usage.last_used, entry.record.made);
}

}  // namespace

Task<Result<std::vector<EnvEntry>>> EnvShelf::list() {
  std::vector<EnvEntry> entries;
  auto names = co_await supervisor_.list_directory(kShelf);
  if (!names) {
    if (names.error().code() == Code::kNotFound) co_return entries;
    co_return fail(std::move(names).error());
  }
  for (const std::string& name : *names) {
    if (!is_env_hash(name)) continue;
    EnvEntry entry;
    entry.record.hash = entry.record.asked_hash = name;
    auto text = co_await supervisor_.read_file(fmt::format("{}/{}/complete", kShelf, name), kEnvRecordLimit);
    if (!text && text.error().code() == Code::kUnavailable) co_return fail(std::move(text).error());
    if (text) {
      if (auto record = parse_env_record(name, *text)) {
        entry.record = std::move(*record);
        entry.complete = true;
      }
    }
    entries.push_back(std::move(entry));
  }
  auto look = [ledger = ledger_, entries = std::move(entries)]() mutable {
    for (EnvEntry& entry : entries) {
      entry.usage = ledger.usage(entry.record.hash);
      entry.in_use = !ledger.hold_alone(entry.record.hash);
    }
    return std::move(entries);
  };
  entries = co_await net::offload(pool_, std::move(look));
  std::sort(entries.begin(), entries.end(), [](const EnvEntry& a, const EnvEntry& b) {
    return last_touched(a) != last_touched(b) ? last_touched(a) > last_touched(b) : a.record.hash < b.record.hash;
  });
  co_return entries;
}

Task<Result<EnvShelf::Removed>> EnvShelf::remove(std::vector<EnvEntry> entries) {
  Removed removed;
  for (const EnvEntry& entry : entries) {
    const std::string& hash = entry.record.hash;
    struct Alone {
      std::optional<EnvHold> hold;
      Result<uid_t> owner;
    };
    auto look = [ledger = ledger_, book = uids_, hash] {
      Alone found{ledger.hold_alone(hash), uid_t{0}};
      if (found.hold) found.owner = book.owner_of_environment(hash);
      return found;
    };
    const Alone alone = co_await net::offload(pool_, std::move(look));
    if (!alone.hold) {
      removed.in_use.push_back(hash);
      continue;
    }
    if (!alone.owner) co_return fail(alone.owner.error());
    // The record goes first: half an environment must not look like a whole one.
    const std::string tree = fmt::format("{}/{}", kShelf, hash);
    for (const char* part : {"/complete", ""}) {
      auto gone = co_await supervisor_.remove_tree(tree + part, *alone.owner);
      if (!gone) co_return fail(std::move(gone).error().with_context(fmt::format("removing environment {}", hash)));
    }
    auto forget = [ledger = ledger_, book = uids_, hash] {
      ledger.forget(hash);
      return book.forget_environment(hash);
    };
    if (auto forgotten = co_await net::offload(pool_, std::move(forget)); !forgotten)
      co_return fail(std::move(forgotten).error());
    removed.hashes.push_back(hash);
    removed.bytes += entry.record.bytes;
  }
  co_return removed;
}

std::vector<EnvEntry> over_quota(const std::vector<EnvEntry>& entries, std::uint64_t quota, const std::string& keep) {
  std::uint64_t total = 0;
  for (const EnvEntry& entry : entries) total += entry.record.bytes;
  std::vector<EnvEntry> going;
  for (auto entry = entries.rbegin(); entry != entries.rend() && total > quota; ++entry) {
    if (entry->in_use || !entry->complete || entry->record.hash == keep) continue;
    total -= entry->record.bytes;
    going.push_back(*entry);
  }
  return going;
}

Task<Result<EnvShelf::Removed>> EnvShelf::enforce_quota(std::uint64_t quota, std::string keep) {
  auto entries = co_await list();
  if (!entries) co_return fail(std::move(entries).error());
  std::vector<EnvEntry> going;
  if (quota > 0) going = over_quota(*entries, quota, keep);
  const auto now = static_cast<std::int64_t>(std::time(nullptr));
  for (const EnvEntry& entry : *entries) {
    if (!entry.complete && !entry.in_use && entry.record.hash != keep && now - last_touched(entry) > kDay)
      going.push_back(entry);
  }
  co_return co_await remove(std::move(going));
}

}  // namespace mcpbox::provision
