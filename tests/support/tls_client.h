// Certificates made on the spot, and a blocking TLS client on a connected socket. libcrypto and libssl.
#pragma once

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/unique_fd.h"

namespace mcpbox::test {

template <auto Free>
struct OpensslFree {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, OpensslFree<X509_free>>;

// Writes a certificate for `name`, signed with its own key, and the key (encrypted where there is a passphrase).
inline void write_certificate(const std::string& certificate, const std::string& key, const std::string& name,
                              const char* passphrase = nullptr) {
  const KeyPtr pair(EVP_EC_gen("P-256"));
  const CertificatePtr made(X509_new());
  X509_set_version(made.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600);
  X509_set_pubkey(made.get(), pair.get());
  X509_NAME* const subject = X509_get_subject_name(made.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1,
                             0);
  X509_set_issuer_name(made.get(), subject);
  if (X509_sign(made.get(), pair.get(), EVP_sha256()) == 0) throw std::runtime_error("X509_sign");
  const auto write = [](const std::string& path, auto&& put) {
    std::FILE* const file = std::fopen(path.c_str(), "we");
    if (file == nullptr || put(file) != 1) throw std::runtime_error("cannot write " + path);
    std::fclose(file);
  };
  write(certificate, [&](std::FILE* file) { return PEM_write_X509(file, made.get()); });
  write(key, [&](std::FILE* file) {
    return PEM_write_PrivateKey(file, pair.get(), passphrase != nullptr ? EVP_aes_128_cbc() : nullptr, nullptr, 0,
                                nullptr, const_cast<char*>(passphrase));
  });
}

class TlsClient {
 public:
  // Shakes hands with at most TLS version `newest`; verifies nothing. error() says how it failed.
  explicit TlsClient(UniqueFd socket, int newest = TLS1_3_VERSION, std::string_view protocol = "http/1.1")
      : socket_(std::move(socket)), context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_security_level(context_.get(), 0);  // or it would not even offer TLS 1.1
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context_.get(), newest);
    SSL_CTX_set_cipher_list(context_.get(), "ALL:@SECLEVEL=0");
    session_.reset(SSL_new(context_.get()));
    std::string list(1, static_cast<char>(protocol.size()));
    list += protocol;
    SSL_set_alpn_protos(session_.get(), reinterpret_cast<const unsigned char*>(list.data()),
                        static_cast<unsigned>(list.size()));
    SSL_set_fd(session_.get(), socket_.get());
    if (SSL_connect(session_.get()) != 1) error_ = "handshake";
    ERR_clear_error();
  }

  const std::string& error() const { return error_; }
  std::string version() const { return SSL_get_version(session_.get()); }
  std::string protocol() const {
    const unsigned char* data = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(session_.get(), &data, &size);
    return std::string(reinterpret_cast<const char*>(data), size);
  }
  // The common name in the server's certificate.
  std::string server() const {
    const CertificatePtr shown(SSL_get1_peer_certificate(session_.get()));
    char name[256] = "";
    if (shown) X509_NAME_get_text_by_NID(X509_get_subject_name(shown.get()), NID_commonName, name, sizeof name);
    return name;
  }
  void put(std::string_view text) {
    if (SSL_write(session_.get(), text.data(), static_cast<int>(text.size())) <= 0) error_ = "write";
  }
  // At most `size` bytes; empty at the end, which was announced (close_notify) when clean() is true.
  std::string read(std::size_t size) {
    std::string out(size, '\0');
    const int got = SSL_read(session_.get(), out.data(), static_cast<int>(size));
    clean_ = got <= 0 && SSL_get_error(session_.get(), got) == SSL_ERROR_ZERO_RETURN;
    ERR_clear_error();
    out.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return out;
  }
  std::string read_to_end() {
    std::string out;
    for (std::string piece; !(piece = read(4096)).empty();) out += piece;
    return out;
  }
  bool clean() const { return clean_; }
  int fd() const { return socket_.get(); }

 private:
  UniqueFd socket_;
  std::unique_ptr<SSL_CTX, OpensslFree<SSL_CTX_free>> context_;
  std::unique_ptr<SSL, OpensslFree<SSL_free>> session_;
  std::string error_;
  bool clean_ = false;
};

}  // namespace mcpbox::test
