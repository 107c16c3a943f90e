#include "egress/proxy/audit_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>

#include "base/errno_error.h"
#include "base/log.h"
#include "base/secrets.h"
#include "base/text.h"
#include "json/writer.h"

namespace mcpbox::egress {
namespace {

std::string timestamp(std::int64_t unix_milliseconds) {
  const time_t seconds = static_cast<time_t>(unix_milliseconds / 1000);
  tm parts{};
  ::gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, unix_milliseconds % 1000);
}

std::string field(std::string_view text) {
  return printable(text, 512);
}

// What the process chose. The rest is the operator's, or our words about it.
std::string chosen(std::string_view text) {
  return field(without_secrets(text));
}

// Which may name the host again.
std::string reason(const AuditRecord& r) {
  const bool host_tells = without_secrets(r.host) != r.host;
  return field(host_tells ? without_secrets(r.reason) : sentence_without_secrets(r.reason));
}

}  // namespace

std::string audit_line(const AuditRecord& r, std::int64_t unix_milliseconds) {
  json::Writer out;
  out.object().member("time", timestamp(unix_milliseconds)).member("event", field(r.event));
  out.member("verdict", r.event == "refuse" ? "refused" : "allowed").member("server", field(r.server));
  out.member("process", field(r.process)).member("phase", field(r.phase)).member("host", chosen(r.host));
  out.member("port", r.port).member("address", field(r.address)).member("rule", field(r.rule));
  out.member("reason", reason(r)).member("bytes_up", r.bytes_up).member("bytes_down", r.bytes_down);
  out.member("ms", r.milliseconds).member("count", r.count).end();
  return out.take_line();
}

Result<AuditLog> AuditLog::open(AuditOptions options) {
  AuditLog log(std::move(options));
  const std::string& path = log.options_.directory;
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return fail(errno_error(errno, fmt::format("make the audit directory '{}'", path)));
  log.directory_.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!log.directory_) return fail(errno_error(errno, fmt::format("open the audit directory '{}'", path)));
  if (!log.open_file())
    return fail(errno_error(errno, fmt::format("open the audit log '{}/{}'", path, log.options_.name)));
  return log;
}

bool AuditLog::open_file() {
  file_.reset(
      ::openat(directory_.get(), options_.name.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  struct stat status{};
  if (!file_ || ::fstat(file_.get(), &status) != 0) return false;
  size_ = static_cast<std::uint64_t>(status.st_size);
  return true;
}

void AuditLog::rotate() {
  // The next file first: where there is none to be had, this one goes on, and the older ones stay.
  const std::string next = options_.name + ".new";
  UniqueFd file(
      ::openat(directory_.get(), next.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return;
  for (unsigned i = options_.keep; i > 1; --i) {
    const std::string from = fmt::format("{}.{}", options_.name, i - 1), to = fmt::format("{}.{}", options_.name, i);
    ::renameat(directory_.get(), from.c_str(), directory_.get(), to.c_str());
  }
  if (options_.keep > 0)
    ::renameat(directory_.get(), options_.name.c_str(), directory_.get(), (options_.name + ".1").c_str());
  else
    ::unlinkat(directory_.get(), options_.name.c_str(), 0);
  if (::renameat(directory_.get(), next.c_str(), directory_.get(), options_.name.c_str()) != 0) {
    open_file();
  } else {
    file_ = std::move(file);
    size_ = 0;
  }
  budget_.rotated();
}

void AuditLog::write(const AuditRecord& record) {
  if (budget_.admit(record, std::chrono::steady_clock::now())) append(record);
}

void AuditLog::write_counted(bool all) {
  for (const AuditRecord& record : budget_.due(std::chrono::steady_clock::now(), all)) append(record);
}

void AuditLog::write_counted_of(const std::string& server, const std::string& process) {
  for (const AuditRecord& record : budget_.ended(server, process, std::chrono::steady_clock::now())) append(record);
}

void AuditLog::append(const AuditRecord& record) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const std::string line = audit_line(record, static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000);
  if (size_ > 0 && size_ + line.size() > options_.max_bytes) rotate();
  // One write for a whole line: O_APPEND keeps lines of several writers apart.
  const ssize_t written = ::write(file_.get(), line.data(), line.size());
  if (written > 0) {
    size_ += static_cast<std::uint64_t>(written);
    budget_.wrote(record, static_cast<std::uint64_t>(written));
  }
  if (written != static_cast<ssize_t>(line.size()) && !complained_) {
    complained_ = true;
    log::error("egress", "the audit log in {} cannot be written: {}", options_.directory, std::strerror(errno));
  }
}

}  // namespace mcpbox::egress
