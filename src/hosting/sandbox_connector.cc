#include "hosting/sandbox_connector.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "base/text.h"
#include "hosting/sandbox_connection.h"
#include "provision/server_references.h"

namespace mcpbox::hosting {
namespace {

constexpr int kPlans = 3;  // for a start whose folders change while they are sent

// Passes a report on and remembers the phase.
class Heard final : public provision::StartReport {
 public:
  explicit Heard(provision::StartReport& next) : next_(next) {}
  void phase(provision::Phase now) override {
    newest = now;
    next_.phase(now);
  }
  void progress(std::string_view line) override { next_.progress(line); }
  void note(std::string_view line) override { next_.note(line); }

  provision::Phase newest = provision::Phase::kNone;

 private:
  provision::StartReport& next_;
};

}  // namespace

SandboxConnector::SandboxConnector(SandboxContext& context, config::ServerSettings settings, Secret egress_token,
                                   provision::ServerLog& log)
    : context_(context), settings_(std::move(settings)), egress_token_(std::move(egress_token)), log_(log) {}

Task<Result<std::unique_ptr<Connection>>> SandboxConnector::connect(ConnectRequest request,
                                                                    provision::StartReport& report) {
  Heard heard(report);
  heard.phase(provision::Phase::kSessionCreate);
  auto fresh = co_await provision::with_fresh_references(context_.host.pool, settings_, log_);
  if (!fresh) co_return fail(std::move(fresh).error());
  settings_ = std::move(*fresh);
  std::optional<Error> failed;
  for (int plans = 0; !failed || (failed->code() == Code::kAborted && plans < kPlans); ++plans) {
    auto start = co_await provision::start_of(context_.host, settings_, request.id);
    if (!start) co_return fail(std::move(start).error());
    start->egress_token = egress_token_;
    start->fresh = request.fresh;
    start->tell_later = [&log = log_](std::string_view line) { log.line(provision::LogSource::kMcpbox, line); };
    auto process = co_await context_.connector.start(std::move(*start), heard);
    if (process) co_return std::make_unique<SandboxConnection>(context_.executor, std::move(*process), log_);
    failed = std::move(process).error();
  }
  Error error = std::move(*failed);
  // A program that is not there will not be there in two seconds either.
  if (heard.newest == provision::Phase::kProcessStart && error.code() == Code::kNotFound) {
    error = Error(Code::kFailedPrecondition,
                  fmt::format("check `command` of server '{}': the program must be in the image, in a staged folder, "
                              "or come from npx or uvx: {}",
                              settings_.name, error.message()));
  }
  co_return fail(std::move(error));
}

Task<Result<std::vector<provision::PullOutcome>>> SandboxConnector::pull(InstanceId id,
                                                                         provision::PullOptions options) {
  auto start = co_await provision::start_of(context_.host, settings_, std::move(id));
  if (!start) co_return fail(std::move(start).error());
  auto pulled = co_await context_.connector.pull(std::move(*start), std::move(options));
  if (!pulled) co_return fail(std::move(pulled).error().with_context(fmt::format("server '{}'", settings_.name)));
  for (const provision::PullOutcome& outcome : *pulled) {
    log_.line(provision::LogSource::kMcpbox,
              fmt::format("pulled into {}: {} entries{}", printable(outcome.target), outcome.report.items.size(),
                          outcome.report.applied ? "" : ", nothing written"));
  }
  co_return pulled;
}

}  // namespace mcpbox::hosting
