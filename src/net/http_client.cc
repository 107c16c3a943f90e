#include "net/http_client.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cctype>
#include <cstring>
#include <optional>

#include "base/errno_error.h"
#include "base/http_text.h"
#include "base/secrets.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "base/url.h"
#include "net/curl_driver.h"
#include "sys/socket_owner.h"

namespace mcpbox::net {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kMaxHeadBytes = 64 << 10;
constexpr std::size_t kMaxUnixPath = 107;  // unix(7): sun_path holds 108 with its terminator

bool has_line_break(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != text.npos;
}

std::optional<Error> check(const HttpRequest& request) {
  if (!is_http_token(request.method))
    return Error(Code::kInvalidArgument, "not an HTTP method: " + printable(request.method, 40));
  if (has_line_break(request.url)) return Error(Code::kInvalidArgument, "the URL contains a line break");
  // The message repeats nothing of the URL: a path or a query can hold a secret.
  const auto url = parse_url(request.url);
  if (!url) return Error(Code::kInvalidArgument, "the URL cannot be read: " + url.error().message());
  if ((url->scheme != "http" && url->scheme != "https") || url->host.empty())
    return Error(Code::kInvalidArgument, "only http and https URLs with a host are supported");
  for (const auto& [name, value] : request.headers) {
    if (!is_http_token(name) || has_line_break(value)) {
      return Error(Code::kInvalidArgument, "not a valid HTTP header: " + printable(name, 80));
    }
  }
  if (request.unix_socket.size() > kMaxUnixPath) {
    return Error(Code::kInvalidArgument,
                 "the socket path is longer than 107 bytes: " + printable(request.unix_socket, 300));
  }
  if (request.max_body_bytes == 0 && !request.on_body) {
    return Error(Code::kInvalidArgument, "an unlimited answer needs on_body");
  }
  return std::nullopt;
}

// One request on its way. Lives in fetch()'s frame; libcurl's callbacks get its address.
class Transfer {
 public:
  Transfer(HttpRequest request, std::shared_ptr<HttpClient::Driver> driver)
      : request_(std::move(request)), driver_(std::move(driver)), wake_(driver_->executor()) {}
  ~Transfer() {
    if (easy_ != nullptr) {
      driver_->remove(easy_);
      curl().easy_cleanup(easy_);
    }
    if (header_list_ != nullptr) curl().slist_free_all(header_list_);
  }
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  Result<void> prepare();
  Task<Result<HttpResponse>> run();

 private:
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_write(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_read(char* data, std::size_t size, std::size_t count, void* self);
  static int on_seek(void* self, curl_off_t offset, int origin);
  static curl_socket_t on_socket(void* self, curlsocktype, curl_sockaddr* address);
  static int on_connected(void* self, char*, char*, int, int);

  Result<void> prepare_body();
  void take_header_line(std::string_view line);
  Error explain(CURLcode code) const;
  std::string peer() const;

  const CurlLibrary& curl() const { return *driver_->curl(); }

  template <class T>
  void set(CURLoption option, T value) {
    if (curl().easy_setopt(easy_, option, value) != CURLE_OK) option_failed_ = true;
  }

  HttpRequest request_;
  std::shared_ptr<HttpClient::Driver> driver_;
  asio::steady_timer wake_;  // cancelled to wake the coroutine up
  CURL* easy_ = nullptr;
  curl_slist* header_list_ = nullptr;
  std::array<char, CURL_ERROR_SIZE> curl_error_{};
  UniqueFd file_;
  std::uint64_t file_offset_ = 0;
  HttpResponse response_;
  std::size_t head_bytes_ = 0;
  std::uint64_t body_bytes_ = 0;
  Clock::time_point last_activity_;
  std::optional<Error> own_error_;  // why a callback stopped the transfer
  std::optional<CURLcode> ended_;
  curl_socket_t socket_ = CURL_SOCKET_BAD;  // libcurl's own; what it opened last
  bool head_done_ = false;
  bool option_failed_ = false;
};

Result<void> Transfer::prepare() {
  if (auto problem = check(request_)) return fail(std::move(*problem));
  if (driver_->curl() == nullptr)
    return fail(Code::kUnavailable, "libcurl.so.4 cannot be loaded: install it (Debian: apt install libcurl4)");
  if (!driver_->ready() || (easy_ = curl().easy_init()) == nullptr) {
    return fail(Code::kResourceExhausted, "libcurl could not be initialised (out of memory or file descriptors)");
  }
  set(CURLOPT_URL, request_.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_ERRORBUFFER, curl_error_.data());
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request_.connect_timeout.count()));
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  if (!request_.unix_socket.empty()) set(CURLOPT_UNIX_SOCKET_PATH, request_.unix_socket.c_str());
  if (request_.own_unix_socket) {
    set(CURLOPT_OPENSOCKETFUNCTION, &Transfer::on_socket);
    set(CURLOPT_OPENSOCKETDATA, this);
    set(CURLOPT_PREREQFUNCTION, &Transfer::on_connected);
    set(CURLOPT_PREREQDATA, this);
  }
  if (!request_.unix_socket.empty() || !request_.proxy_from_environment) set(CURLOPT_PROXY, "");
  if (request_.own_connection || request_.own_unix_socket) {
    set(CURLOPT_FRESH_CONNECT, 1L);
    set(CURLOPT_FORBID_REUSE, 1L);
  }
  if (!request_.tls.ca_bundle.empty()) {
    set(CURLOPT_CAINFO, request_.tls.ca_bundle.c_str());
    set(CURLOPT_CAPATH, static_cast<char*>(nullptr));
  }
  if (!request_.tls.client_cert.empty()) set(CURLOPT_SSLCERT, request_.tls.client_cert.c_str());
  if (!request_.tls.client_key.empty()) set(CURLOPT_SSLKEY, request_.tls.client_key.c_str());

  set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(CURLOPT_HEADERDATA, this);
  set(CURLOPT_WRITEFUNCTION, &Transfer::on_write);
  set(CURLOPT_WRITEDATA, this);
  if (auto body = prepare_body(); !body) return body;

  // libcurl would add these by itself: an unasked round trip, and a type that the caller did not give.
  curl_slist* list = curl().slist_append(nullptr, "Expect:");
  bool typed = false;
  for (const auto& [name, value] : request_.headers) {
    std::string line = name + (value.empty() ? ";" : ": " + value);  // "Name;" is libcurl's form of an empty value
    list = curl().slist_append(list, line.c_str());
    typed = typed || (name.size() == 12 && ::strcasecmp(name.c_str(), "content-type") == 0);
  }
  if (!typed) list = curl().slist_append(list, "Content-Type:");
  header_list_ = list;
  set(CURLOPT_HTTPHEADER, list);
  if (option_failed_) return fail(Code::kInternal, "libcurl refused an option of the request");
  return {};
}

Result<void> Transfer::prepare_body() {
  if (!request_.body_file.empty()) {
    file_.reset(::open(request_.body_file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    struct stat info{};
    if (!file_ || ::fstat(file_.get(), &info) != 0)
      return fail(errno_error(errno, "open " + printable(request_.body_file)));
    if (!S_ISREG(info.st_mode))
      return fail(Code::kInvalidArgument, printable(request_.body_file) + " is not a regular file");
    set(CURLOPT_UPLOAD, 1L);
    set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(info.st_size));
    set(CURLOPT_READFUNCTION, &Transfer::on_read);
    set(CURLOPT_READDATA, this);
    set(CURLOPT_SEEKFUNCTION, &Transfer::on_seek);
    set(CURLOPT_SEEKDATA, this);
  } else if (!request_.body.empty() || request_.method == "POST" || request_.method == "PUT" ||
             request_.method == "PATCH") {
    set(CURLOPT_POST, 1L);
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
    set(CURLOPT_POSTFIELDS, request_.body.c_str());
  } else if (request_.method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
  }
  set(CURLOPT_CUSTOMREQUEST, request_.method.c_str());
  return {};
}

Task<Result<HttpResponse>> Transfer::run() {
  const auto start = Clock::now();
  const auto never = Clock::time_point::max();
  const auto deadline = request_.total_timeout.count() > 0 ? start + request_.total_timeout : never;
  last_activity_ = start;
  driver_->add(easy_, [this](CURLcode code) {
    ended_ = code;
    wake_.cancel();
  });
  while (!ended_) {
    const auto idle = request_.idle_timeout.count() > 0 ? last_activity_ + request_.idle_timeout : never;
    wake_.expires_at(std::min(deadline, idle));
    co_await wake_.async_wait(asio::as_tuple(asio::use_awaitable));
    if (ended_) break;
    if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none) {
      co_return fail(Code::kCancelled, "the request to " + peer() + " was cancelled");
    }
    const auto now = Clock::now();
    if (now >= deadline) {
      co_return fail(Code::kTimeout, peer() + " gave no complete answer to " + request_.method + " within " +
                                         human_milliseconds(static_cast<double>(request_.total_timeout.count())));
    }
    if (request_.idle_timeout.count() > 0 && now >= last_activity_ + request_.idle_timeout) {
      co_return fail(Code::kTimeout, peer() + " sent nothing for " +
                                         human_milliseconds(static_cast<double>(request_.idle_timeout.count())));
    }
  }
  if (own_error_) co_return fail(std::move(*own_error_));
  if (*ended_ != CURLE_OK) co_return fail(explain(*ended_));
  co_return std::move(response_);
}

std::string Transfer::peer() const {
  if (!request_.unix_socket.empty()) return printable(request_.unix_socket, 200);
  // Host and port only: the rest can hold a secret.
  const auto url = parse_url(request_.url);
  return url ? printable(url->authority(), 200) : "the peer";
}

Error Transfer::explain(CURLcode code) const {
  std::string text = peer() + ": ";
  text += curl_error_[0] != '\0' ? from_outside(curl_error_.data(), 400) : curl().easy_strerror(code);
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return Error(Code::kTimeout, std::move(text));
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return Error(Code::kInvalidArgument, std::move(text));
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
      return Error(Code::kUnauthenticated, std::move(text));
    case CURLE_PARTIAL_FILE:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_GOT_NOTHING:
      return Error(Code::kDataLoss, std::move(text));
    case CURLE_OUT_OF_MEMORY:
      return Error(Code::kResourceExhausted, std::move(text));
    default:
      break;
  }
  return Error(Code::kUnavailable, std::move(text));
}

curl_socket_t Transfer::on_socket(void* self, curlsocktype, curl_sockaddr* address) {
  auto* transfer = static_cast<Transfer*>(self);
  transfer->socket_ = ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  return transfer->socket_;
}

// Before the request is sent.
int Transfer::on_connected(void* self, char*, char*, int, int) {
  auto* transfer = static_cast<Transfer*>(self);
  auto ours = sys::check_socket_peer(transfer->socket_);
  if (ours) return CURL_PREREQFUNC_OK;
  transfer->own_error_ = std::move(ours).error().with_context(transfer->peer());
  return CURL_PREREQFUNC_ABORT;
}

std::size_t Transfer::on_header(char* data, std::size_t size, std::size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  const std::size_t length = size * count;
  transfer->last_activity_ = Clock::now();
  transfer->head_bytes_ += length;
  if (transfer->head_bytes_ > kMaxHeadBytes) {
    transfer->own_error_ = Error(Code::kResourceExhausted, transfer->peer() + ": the answer's head exceeds 64 KiB");
    return 0;
  }
  transfer->take_header_line(trim(std::string_view(data, length)));
  return length;
}

void Transfer::take_header_line(std::string_view line) {
  if (!head_done_ && line.starts_with("HTTP/")) {  // a later head replaces an interim one
    response_ = {};
    long status = 0;
    curl().easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
    response_.status = static_cast<int>(status);
    return;
  }
  if (line.empty()) {
    if (response_.status < 200 || head_done_) return;  // an interim head, or the end of trailers
    head_done_ = true;
    if (request_.on_head) request_.on_head(response_);
    return;
  }
  const auto colon = line.find(':');
  if (colon == line.npos) return;
  std::string name(line.substr(0, colon));
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  response_.headers.emplace_back(std::move(name), std::string(trim(line.substr(colon + 1))));
}

std::size_t Transfer::on_write(char* data, std::size_t size, std::size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  const std::size_t length = size * count;
  transfer->last_activity_ = Clock::now();
  transfer->body_bytes_ += length;
  const auto limit = transfer->request_.max_body_bytes;
  if (limit != 0 && transfer->body_bytes_ > limit) {
    transfer->own_error_ =
        Error(Code::kResourceExhausted, transfer->peer() + ": the answer exceeds " + human_bytes(limit));
    return 0;
  }
  const std::string_view piece(data, length);
  const int status = transfer->response_.status;
  if (transfer->request_.on_body && status >= 200 && status < 300) {
    if (auto taken = transfer->request_.on_body(piece); !taken) {
      transfer->own_error_ = std::move(taken).error();
      return 0;
    }
    return length;
  }
  if (limit == 0 && transfer->response_.body.size() + length > (1u << 20)) {
    transfer->own_error_ = Error(Code::kResourceExhausted, transfer->peer() + ": the error answer exceeds 1 MiB");
    return 0;
  }
  transfer->response_.body.append(piece);
  return length;
}

std::size_t Transfer::on_read(char* data, std::size_t size, std::size_t count, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  transfer->last_activity_ = Clock::now();
  const ssize_t got = ::pread(transfer->file_.get(), data, size * count, static_cast<off_t>(transfer->file_offset_));
  if (got < 0) {
    transfer->own_error_ = errno_error(errno, "read " + printable(transfer->request_.body_file));
    return CURL_READFUNC_ABORT;
  }
  transfer->file_offset_ += static_cast<std::uint64_t>(got);
  return static_cast<std::size_t>(got);
}

int Transfer::on_seek(void* self, curl_off_t offset, int origin) {
  if (origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
  static_cast<Transfer*>(self)->file_offset_ = static_cast<std::uint64_t>(offset);
  return CURL_SEEKFUNC_OK;
}

}  // namespace

std::string_view HttpResponse::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

HttpClient::HttpClient(asio::any_io_executor executor) : driver_(std::make_shared<Driver>(std::move(executor))) {}
HttpClient::~HttpClient() = default;
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;

Task<Result<HttpResponse>> HttpClient::fetch(HttpRequest request) {
  if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none) {
    co_return fail(Code::kCancelled, "the request was cancelled before it began");
  }
  Transfer transfer(std::move(request), driver_);
  if (auto prepared = transfer.prepare(); !prepared) co_return fail(std::move(prepared).error());
  co_return co_await transfer.run();
}

}  // namespace mcpbox::net
