// The certificate that a TLS server shows, and TLS streams on accepted sockets. OpenSSL is behind it, in
// tls_identity.cc only.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "net/byte_stream.h"
#include "net/task.h"

namespace mcpbox::net {

struct TlsFiles {
  std::string certificate;  // PEM: the server's own certificate first, then those that lead to its authority
  std::string key;          // PEM, without a passphrase
};

// TLS 1.2 and 1.3, the ciphers and groups that OpenSSL takes for good, no compression, no renegotiation; ALPN says
// http/1.1 (RFC 7301).
class TlsIdentity {
 public:
  // Reads both files; blocks. kInvalidArgument names the file that cannot be used and why, or says that the key is not
  // the certificate's.
  static Result<std::unique_ptr<TlsIdentity>> load(TlsFiles files);
  ~TlsIdentity();
  TlsIdentity(const TlsIdentity&) = delete;
  TlsIdentity& operator=(const TlsIdentity&) = delete;

  // Reads the files again, for the handshakes from now on; connections that stand keep what they have. After an error
  // the former certificate stays in use.
  Result<void> reload();

  // The server's side of a handshake. The stream holds what it needs of the identity. kUnauthenticated says why the
  // handshake failed. It has no end by itself: the caller cancels it.
  Task<Result<std::unique_ptr<ByteStream>>> accept(boost::asio::any_io_executor executor, UniqueFd socket);

 private:
  struct Impl;
  explicit TlsIdentity(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mcpbox::net
