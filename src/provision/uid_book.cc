#include "provision/uid_book.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <mutex>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/errno_error.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "provision/identity.h"
#include "provision/install/env_ledger.h"
#include "sys/small_file.h"

namespace mcpbox::provision {
namespace {

constexpr std::string_view kHead = "mcpbox user ids 1\n";
constexpr std::string_view kServer = "server";
constexpr std::string_view kCode = "code";
constexpr std::string_view kEnvironment = "environment";
constexpr std::size_t kMaxBook = 64u << 20;

// The file is the run's alone while it is locked; the lock ends with the process, the name with this object.
class RunFile final : public UidHold {
 public:
  RunFile(std::string path, UniqueFd lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  ~RunFile() override { ::unlink(path_.c_str()); }

 private:
  std::string path_;
  UniqueFd lock_;
};

class RunHold final : public UidHold {
 public:
  RunHold(std::unique_ptr<UidHold> server, std::unique_ptr<UidHold> code)
      : server_(std::move(server)), code_(std::move(code)) {}

 private:
  std::unique_ptr<UidHold> server_, code_;
};

}  // namespace

struct UidBook::Entry {
  uid_t uid = 0;
  std::string kind, name;
};

struct UidBook::Memory {
  std::recursive_mutex mutex;  // a hold that a failed draw gives back asks for it again
  std::vector<Entry> entries;
  std::unordered_set<uid_t> runs;
};

// The book while it is locked.
class UidBook::Open {
 public:
  Open(const UidBook& book, UniqueFd lock) : book_(&book), lock_(std::move(lock)) {
    if (book.memory_) {
      guard_ = std::unique_lock(book.memory_->mutex);
      entries_ = book.memory_->entries;
    }
  }

  Result<void> load() {
    if (book_->memory_) {
      for (const Entry& entry : entries_) taken_.insert(entry.uid);
      taken_.insert(book_->memory_->runs.begin(), book_->memory_->runs.end());
      return {};
    }
    if (auto read = read_book(); !read) return read;
    for (const Entry& entry : entries_) taken_.insert(entry.uid);
    return read_runs();
  }

  const Entry* find(std::string_view kind, std::string_view name, const UidPart& part) const {
    for (const Entry& entry : entries_) {
      if (entry.kind == kind && entry.name == name && part.contains(entry.uid)) return &entry;
    }
    return nullptr;
  }

  // The entry's uid; a new entry where there is none, as near behind `preferred` as one is free.
  Result<uid_t> take(std::string_view kind, std::string_view name, const UidPart& part, uid_t preferred) {
    if (const Entry* known = find(kind, name, part)) return known->uid;
    const auto uid = free_from(part, preferred);
    if (!uid) return exhausted(part, kind == kServer);
    entries_.push_back({*uid, std::string(kind), std::string(name)});
    taken_.insert(*uid);
    changed_ = true;
    return *uid;
  }

  void drop(std::string_view kind, std::string_view name) {
    changed_ |= std::erase_if(entries_, [&](const Entry& e) { return e.kind == kind && e.name == name; }) > 0;
  }

  Result<std::pair<uid_t, std::unique_ptr<UidHold>>> draw(const UidPart& part, bool server) {
    const auto uid =
        part.count == 0 ? std::nullopt : free_from(part, part.first + static_cast<uid_t>(random_below(part.count)));
    if (!uid) return exhausted(part, server);
    taken_.insert(*uid);
    if (book_->memory_) {
      struct Listed final : UidHold {
        std::shared_ptr<Memory> memory;
        uid_t uid = 0;
        ~Listed() override {
          const std::lock_guard guard(memory->mutex);
          memory->runs.erase(uid);
        }
      };
      auto listed = std::make_unique<Listed>();
      listed->memory = book_->memory_;
      listed->uid = *uid;
      book_->memory_->runs.insert(*uid);
      return std::pair<uid_t, std::unique_ptr<UidHold>>(*uid, std::move(listed));
    }
    const std::string path = book_->file(fmt::format("run-{}", *uid));
    UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file || ::flock(file.get(), LOCK_EX | LOCK_NB) != 0)
      return fail(errno_error(errno, fmt::format("note a user id in {}", path)));
    return std::pair<uid_t, std::unique_ptr<UidHold>>(*uid, std::make_unique<RunFile>(path, std::move(file)));
  }

  Result<void> save() {
    if (!changed_) return {};
    if (book_->memory_) {
      book_->memory_->entries = entries_;
      return {};
    }
    std::string text(kHead);
    for (const Entry& entry : entries_) text += fmt::format("{} {} {}\n", entry.uid, entry.kind, entry.name);
    text += fmt::format("sha256 {}\n", sha256_hex(text));
    auto written = sys::replace_file(book_->file("book"), text, sys::Durable::kYes);
    if (!written) return fail(std::move(written).error().with_context("cannot note a user id"));
    // From now on a book that is not there was lost.
    if (::ftruncate(lock_.get(), 1) != 0) return fail(errno_error(errno, book_->file("lock")));
    return {};
  }

  void clear() {
    if (book_->memory_) {
      book_->memory_->entries.clear();
      return;
    }
    ::unlink(book_->file("book").c_str());
    (void)!::ftruncate(lock_.get(), 0);
  }

 private:
  Result<void> read_book() {
    const std::string path = book_->file("book");
    UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file && errno != ENOENT) return fail(errno_error(errno, path));
    struct stat lock{};
    const bool was_there = ::fstat(lock_.get(), &lock) == 0 && lock.st_size > 0;
    if (!file && was_there) return damaged("is gone");
    if (!file) {
      // What was installed before there was a book keeps its owner.
      for (const std::string& hash : EnvLedger(book_->state_dir_, book_->engine_).known()) {
        const uid_t uid = preferred_installer_uid(hash, book_->range_);
        if (taken_.insert(uid).second) entries_.push_back({uid, std::string(kEnvironment), hash});
      }
      changed_ = !entries_.empty();
      return {};
    }
    auto text = sys::read_all(file.get(), kMaxBook);
    if (!text) return fail(std::move(text).error().with_context(path));
    const std::size_t sum = text->rfind("sha256 ");
    const bool whole = text->starts_with(kHead) && sum != std::string::npos &&
                       text->substr(sum) == fmt::format("sha256 {}\n", sha256_hex(text->substr(0, sum)));
    if (!whole) return damaged("is damaged");
    for (const std::string_view line : split(std::string_view(*text).substr(0, sum).substr(kHead.size()), '\n')) {
      if (line.empty()) continue;
      Entry entry;
      const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), entry.uid);
      const std::string_view rest = line.substr(static_cast<std::size_t>(end - line.data()));
      const std::size_t space = rest.find(' ', 1);
      if (error != std::errc() || rest.size() < 4 || space == std::string_view::npos) return damaged("is damaged");
      entry.kind = rest.substr(1, space - 1);
      entry.name = rest.substr(space + 1);
      entries_.push_back(std::move(entry));
    }
    return {};
  }

  // Runs that live keep their uids; the files of those that were killed go.
  Result<void> read_runs() {
    const std::string prefix = book_->engine_ + ".run-";
    const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(book_->dir_.c_str()), ::closedir);
    if (!open) return fail(errno_error(errno, "cannot read " + book_->dir_));
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(open.get());
      if (entry == nullptr && errno != 0) return fail(errno_error(errno, "cannot read " + book_->dir_));
      if (entry == nullptr) return {};
      const std::string_view name = entry->d_name;
      uid_t uid = 0;
      if (!name.starts_with(prefix) ||
          std::from_chars(name.data() + prefix.size(), name.data() + name.size(), uid).ec != std::errc())
        continue;
      const std::string path = fmt::format("{}/{}", book_->dir_, name);
      const UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
      if (!file && errno == ENOENT) continue;
      if (!file) return fail(errno_error(errno, path));
      if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) {
        ::unlink(path.c_str());
      } else {
        taken_.insert(uid);
      }
    }
  }

  std::optional<uid_t> free_from(const UidPart& part, uid_t preferred) const {
    for (uid_t i = 0; i < part.count; ++i) {
      const uid_t uid = part.first + (preferred - part.first + i) % part.count;
      if (!taken_.contains(uid)) return uid;
    }
    return std::nullopt;
  }

  std::unexpected<Error> damaged(std::string_view how) const {
    return fail(Code::kDataLoss,
                fmt::format("{} {}; it says which user id each server has. Bring it back from a backup, or run "
                            "`mcpbox down --volumes`, which removes the servers' copies, the environments and it",
                            book_->file("book"), how));
  }

  static std::unexpected<Error> exhausted(const UidPart& part, bool server) {
    return fail(Code::kResourceExhausted,
                fmt::format("all {} user ids that {} can have ({} to {}) are taken: {}; a larger range in /etc/subuid "
                            "and /etc/subgid lasts longer",
                            part.count, server ? "servers" : "installed environments and servers' code", part.first,
                            part.first + part.count - 1,
                            server ? "`mcpbox down --volumes` gives back those of servers that are not configured any "
                                     "more, with all copies"
                                   : "`mcpbox env prune` gives back those of environments that are not used"));
  }

  const UidBook* book_;
  UniqueFd lock_;
  std::unique_lock<std::recursive_mutex> guard_;
  std::vector<Entry> entries_;
  std::unordered_set<uid_t> taken_;
  bool changed_ = false;
};

UidBook::UidBook(const std::string& state_dir, std::string instance, std::string engine, box::UidRange range)
    : state_dir_(state_dir), instance_(std::move(instance)), range_(range) {
  for (const char c : engine) engine_ += (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-';
  if (engine_.empty()) engine_ = "engine";
  if (state_dir.empty()) {
    memory_ = std::make_shared<Memory>();
  } else {
    dir_ = state_dir + "/uids";
  }
}

std::string UidBook::file(std::string_view kind) const {
  return fmt::format("{}/{}.{}", dir_, engine_, kind);
}

Result<UidBook::Open> UidBook::open() const {
  UniqueFd lock;
  if (!memory_) {
    if (::mkdir(dir_.c_str(), 0700) != 0 && errno != EEXIST) return fail(errno_error(errno, "cannot make " + dir_));
    lock = UniqueFd(::open(file("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!lock) return fail(errno_error(errno, "cannot open " + file("lock")));
    while (::flock(lock.get(), LOCK_EX) != 0) {
      if (errno != EINTR) return fail(errno_error(errno, "cannot lock " + file("lock")));
    }
  }
  Open opened(*this, std::move(lock));
  if (auto loaded = opened.load(); !loaded) return fail(std::move(loaded).error());
  return opened;
}

Result<ServerUids> UidBook::server(std::string_view name) const {
  if (name.empty() || name.find_first_of(std::string_view("\n\0", 2)) != std::string_view::npos)
    return fail(Code::kInvalidArgument, fmt::format("'{}' is no name for a server", printable(name, 100)));
  auto book = open();
  if (!book) return fail(std::move(book).error());
  const UidPart servers = server_part(range_);
  const UidPart others = installer_part(range_);
  ServerUids uids;
  uids.server_before = preferred_server_uid(instance_, name, range_);
  uids.code_before = preferred_code_uid(instance_, name, range_);
  auto own = book->take(kServer, name, servers, uids.server_before);
  if (!own) return fail(std::move(own).error());
  auto code = book->take(kCode, name, others, uids.code_before);
  if (!code) return fail(std::move(code).error());
  if (auto saved = book->save(); !saved) return fail(std::move(saved).error());
  uids.server = *own;
  uids.code = *code;
  return uids;
}

Result<uid_t> UidBook::environment(std::string_view hash) const {
  auto book = open();
  if (!book) return fail(std::move(book).error());
  auto uid = book->take(kEnvironment, hash, installer_part(range_), preferred_installer_uid(hash, range_));
  if (!uid) return uid;
  if (auto saved = book->save(); !saved) return fail(std::move(saved).error());
  return uid;
}

Result<uid_t> UidBook::owner_of_environment(std::string_view hash) const {
  auto book = open();
  if (!book) return fail(std::move(book).error());
  const Entry* known = book->find(kEnvironment, hash, installer_part(range_));
  return known != nullptr ? known->uid : preferred_installer_uid(hash, range_);
}

Result<void> UidBook::forget_environment(std::string_view hash) const {
  auto book = open();
  if (!book) return fail(std::move(book).error());
  book->drop(kEnvironment, hash);
  return book->save();
}

Result<RunUids> UidBook::run() const {
  auto book = open();
  if (!book) return fail(std::move(book).error());
  auto server = book->draw(server_part(range_), true);
  if (!server) return fail(std::move(server).error());
  auto code = book->draw(installer_part(range_), false);
  if (!code) return fail(std::move(code).error());
  if (auto saved = book->save(); !saved) return fail(std::move(saved).error());
  RunUids run;
  run.uids = {server->first, code->first, server->first, code->first};
  run.hold = std::make_shared<RunHold>(std::move(server->second), std::move(code->second));
  return run;
}

void UidBook::clear() const {
  if (memory_) {
    Open(*this, UniqueFd()).clear();
    return;
  }
  UniqueFd lock(::open(file("lock").c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (lock && ::flock(lock.get(), LOCK_EX) == 0) Open(*this, std::move(lock)).clear();
}

}  // namespace mcpbox::provision
