#include "net/tls_identity.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <utility>

#include "base/text.h"
#include "net/socket_stream.h"

namespace mcpbox::net {
namespace {

namespace asio = boost::asio;
namespace ssl = asio::ssl;
const auto kAsTuple = asio::as_tuple(asio::use_awaitable);

constexpr unsigned char kHttp11[] = "\x08http/1.1";

int choose_protocol(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* offered,
                    unsigned int length, void*) {
  unsigned char* found = nullptr;
  const int result = SSL_select_next_proto(&found, size, kHttp11, sizeof(kHttp11) - 1, offered, length);
  *out = found;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

// Without one OpenSSL would ask on the terminal.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

std::string openssl_reason() {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return reason == nullptr ? "it cannot be read" : reason;
}

Result<std::shared_ptr<ssl::context>> make_context(const TlsFiles& files) {
  ERR_clear_error();
  SSL_CTX* raw = SSL_CTX_new(TLS_server_method());
  if (raw == nullptr) return fail(Code::kInternal, "OpenSSL made no context: " + openssl_reason());
  auto context = std::make_shared<ssl::context>(raw);
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  SSL_CTX_set_options(raw, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS);          // an idle connection costs little
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);  // clients keep theirs as tickets
  SSL_CTX_set_alpn_select_cb(raw, choose_protocol, nullptr);
  SSL_CTX_set_default_passwd_cb(raw, no_passphrase);
  if (SSL_CTX_use_certificate_chain_file(raw, files.certificate.c_str()) != 1) {
    return fail(Code::kInvalidArgument,
                fmt::format("the certificate {}: {}", printable(files.certificate), openssl_reason()));
  }
  if (SSL_CTX_use_PrivateKey_file(raw, files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    const std::string reason = openssl_reason();  // "key values mismatch" where it is another certificate's
    return fail(Code::kInvalidArgument, fmt::format("the key {}: {}", printable(files.key), reason));
  }
  if (SSL_CTX_check_private_key(raw) != 1) {
    return fail(Code::kInvalidArgument,
                fmt::format("the key {} is not the certificate's: {}", printable(files.key), openssl_reason()));
  }
  return context;
}

class TlsStream final : public ByteStream {
 public:
  TlsStream(std::shared_ptr<ssl::context> context, Peer peer, PlainSocket socket)
      : context_(std::move(context)), peer_(std::move(peer)), stream_(std::move(socket), *context_) {
    peer_.tls = true;
  }

  Task<Result<void>> handshake() {
    auto [error] = co_await stream_.async_handshake(ssl::stream_base::server, kAsTuple);
    if (error) co_return fail(Code::kUnauthenticated, fmt::format("the TLS handshake failed: {}", error.message()));
    co_return Result<void>{};
  }
  Task<Result<std::size_t>> read_some(std::span<char> into) override {
    auto [error, size] = co_await stream_.async_read_some(asio::buffer(into.data(), into.size()), kAsTuple);
    // Without close_notify what came may have been cut short by somebody else: that is no end but a break.
    co_return read_outcome(error, size);
  }
  Task<Result<void>> write(std::string_view first, std::string_view second, std::string_view third) override {
    const std::array pieces{asio::buffer(first), asio::buffer(second), asio::buffer(third)};
    auto [error, size] = co_await asio::async_write(stream_, pieces, kAsTuple);
    co_return write_outcome(error);
  }
  Task<void> until_gone() override { return until_hung_up(stream_.next_layer()); }
  void send_now(std::string_view) override {}
  Task<void> shut_down_write() override {
    // Asio sends our close_notify first and then waits for the peer's, which need not come.
    asio::steady_timer enough(stream_.get_executor(), std::chrono::seconds(1));
    (void)co_await asio::experimental::make_parallel_group(stream_.async_shutdown(asio::deferred),
                                                           enough.async_wait(asio::deferred))
        .async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
    boost::system::error_code ignored;
    (void)stream_.next_layer().shutdown(PlainSocket::shutdown_send, ignored);
  }
  void close() override {
    boost::system::error_code ignored;
    (void)stream_.next_layer().close(ignored);
  }
  EndMeans end_means() const override { return EndMeans::kGone; }
  const Peer& peer() const override { return peer_; }

 private:
  std::shared_ptr<ssl::context> context_;
  Peer peer_;
  ssl::stream<PlainSocket> stream_;
};

}  // namespace

struct TlsIdentity::Impl {
  TlsFiles files;
  std::shared_ptr<ssl::context> current;
};

TlsIdentity::TlsIdentity(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsIdentity::~TlsIdentity() = default;

Result<std::unique_ptr<TlsIdentity>> TlsIdentity::load(TlsFiles files) {
  auto context = make_context(files);
  if (!context) return fail(std::move(context).error());
  return std::unique_ptr<TlsIdentity>(
      new TlsIdentity(std::make_unique<Impl>(Impl{std::move(files), std::move(*context)})));
}

Result<void> TlsIdentity::reload() {
  auto context = make_context(impl_->files);
  if (!context) return fail(std::move(context).error());
  impl_->current = std::move(*context);
  return {};
}

Task<Result<std::unique_ptr<ByteStream>>> TlsIdentity::accept(asio::any_io_executor executor, UniqueFd socket) {
  Peer peer = peer_of(socket.get());
  auto stream = std::make_unique<TlsStream>(impl_->current, std::move(peer),
                                            adopt_socket(std::move(executor), std::move(socket)));
  auto done = co_await stream->handshake();
  if (!done) co_return fail(std::move(done).error());
  co_return std::unique_ptr<ByteStream>(std::move(stream));
}

}  // namespace mcpbox::net
