#include "config/credential_helper.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <exception>
#include <optional>
#include <utility>

#include "base/secrets.h"
#include "base/text.h"
#include "json/value.h"
#include "net/child_process.h"

namespace mcpbox::config {
namespace {

// The only words that the protocol has (docker-credential-helpers, credentials/error.go).
constexpr std::string_view kNoSuchKey = "credentials not found in native keychain";

constexpr std::size_t kMaxName = 64, kMaxKey = 1024, kMaxAnswer = 64u << 10;

bool is_helper_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxName && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._-").contains(c);
  });
}

// All of stdout, and the first line of stderr.
struct HelperOutput {
  std::string out, err;
  bool too_much = false;
};

Result<Secret> read_answer(const std::string& program, const net::ChildExit& end, HelperOutput& written) {
  if (written.too_much) return fail(Code::kDataLoss, program + " wrote more than 64 KiB");
  if (end.signal != 0) return fail(Code::kUnavailable, fmt::format("{} was ended by signal {}", program, end.signal));
  if (end.code != 0) {
    const std::string_view said = trim(written.out).empty() ? trim(written.err) : trim(written.out);
    return fail(said.starts_with(kNoSuchKey) ? Code::kNotFound : Code::kUnavailable,
                fmt::format("{} ended with exit code {}{}{}", program, end.code, said.empty() ? "" : ": ",
                            from_outside(said, 200)));
  }
  auto answer = json::Value::parse(written.out);
  const Secret text(std::move(written.out));
  if (!answer || !(*answer)["Secret"].is_string())
    return fail(Code::kDataLoss, program + " did not answer as docker-credential-helpers do ({\"Secret\": \"…\"})");
  Secret secret((*answer)["Secret"].string_or());
  if (secret.empty()) return fail(Code::kNotFound, program + " has an empty secret for this key");
  if (secret.reveal().contains('\0')) return fail(Code::kDataLoss, program + " gave a NUL byte; it is no text");
  return secret;
}

}  // namespace

Result<HelperKey> parse_helper(std::string_view text) {
  const std::size_t colon = text.find(':');
  HelperKey key;
  key.name = text.substr(0, colon);
  if (colon != std::string_view::npos) key.key = text.substr(colon + 1);
  const bool plain = std::ranges::none_of(key.key, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
  if (is_helper_name(key.name) && !key.key.empty() && key.key.size() <= kMaxKey && plain) return key;
  return fail(Code::kInvalidArgument,
              "write ${helper:NAME:KEY}, as in ${helper:secretservice:https://api.example.com}");
}

Result<std::string> find_helper(const HelperKey& key) {
  const std::string name = "docker-credential-" + key.name;
  const char* const path = std::getenv("PATH");
  for (const std::string_view folder : split(path == nullptr ? "" : path, ':')) {
    if (!folder.starts_with('/')) continue;  // whatever folder mcpbox was started in must not decide
    std::string file = fmt::format("{}/{}", folder, name);
    struct stat status{};
    if (::stat(file.c_str(), &status) == 0 && S_ISREG(status.st_mode) && ::access(file.c_str(), X_OK) == 0) return file;
  }
  return fail(Code::kNotFound, fmt::format("there is no program {} in PATH; install it, or name another helper", name));
}

Task<Result<Secret>> ask_helper(HelperKey key, std::chrono::milliseconds timeout) {
  auto program = find_helper(key);
  if (!program) co_return fail(std::move(program).error());
  net::ChildOptions options;
  options.argv = {*program, "get"};
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) options.env.emplace_back(*entry);
  options.input = key.key + "\n";
  options.timeout = timeout;
  HelperOutput written;
  options.on_stdout_line = [&](std::string_view line) {
    if (written.out.size() + line.size() > kMaxAnswer) {
      written.too_much = true;
    } else {
      (written.out += line) += '\n';
    }
  };
  options.on_stderr_line = [&](std::string_view line) {
    if (written.err.empty()) written.err = printable(line, 300);
  };
  auto end = co_await net::run_child(std::move(options));
  if (!end) co_return fail(std::move(end).error());
  co_return read_answer("docker-credential-" + key.name, *end, written);
}

Result<Secret> ask_helper_now(const HelperKey& key) {
  boost::asio::io_context loop{1};
  std::optional<Result<Secret>> answer;
  boost::asio::co_spawn(loop, ask_helper(key), [&](std::exception_ptr thrown, Result<Secret> got) {
    if (!thrown) answer = std::move(got);
  });
  loop.run();
  if (!answer) return fail(Code::kInternal, "the helper could not be asked");
  return std::move(*answer);
}

}  // namespace mcpbox::config
