#include "egress/proxy/proxy.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/write.hpp>
#include <charconv>

#include "base/log.h"
#include "base/sandbox_label.h"
#include "base/text.h"
#include "egress/proxy/proxy_impl.h"

namespace mcpbox::egress {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

constexpr std::string_view kPreface = "MCPBOX1 ";
constexpr std::size_t kMaxPreface = 24 + kMaxSandboxLabel;
// Ports where nothing but TLS is spoken. Elsewhere TLS is recognised by its first bytes.
constexpr std::uint16_t kTlsPorts[] = {443, 8443};

// Whose a connection is, as mcpbox-init says: "MCPBOX1 <uid> <sandbox>\n".
struct Preface {
  uid_t uid = 0;
  std::string sandbox;
};

// The line's length with its line feed; 0 when more is needed, npos when it is none.
std::size_t preface_length(std::string_view bytes, Preface& out) {
  if (!kPreface.starts_with(bytes.substr(0, kPreface.size()))) return std::string_view::npos;
  const std::size_t end = bytes.find('\n');
  if (end == std::string_view::npos) return bytes.size() >= kMaxPreface ? std::string_view::npos : 0;
  const std::string_view said = bytes.substr(kPreface.size(), end - kPreface.size());
  const std::string_view digits = said.substr(0, said.find(' '));
  const auto [last, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out.uid);
  if (error != std::errc() || last != digits.data() + digits.size()) return std::string_view::npos;
  if (digits.size() < said.size()) {
    out.sandbox = said.substr(digits.size() + 1);
    if (!is_sandbox_label(out.sandbox)) return std::string_view::npos;
  }
  return end + 1;
}

std::string_view status_text(unsigned status) {
  switch (status) {
    case 400:
      return "Bad Request";
    case 200:
      return "OK";
    case 403:
      return "Blocked by mcpbox";
    case 405:
      return "Method Not Allowed";
    case 407:
      return "Proxy Authentication Required";
    case 414:
      return "URI Too Long";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Error";
  }
}

AuditRecord record_of(const Registration& who, const ProxyRequest& request) {
  AuditRecord record;
  record.server = who.server;
  record.process = who.process;
  record.phase = phase_name(who.phase);
  record.host = request.target.host.name;
  record.port = request.target.port;
  return record;
}

}  // namespace

Task<void> Proxy::Impl::accept() {
  for (;;) {
    auto [error, socket] = co_await acceptor.async_accept(kTuple);
    if (error == asio::error::operation_aborted || error == asio::error::bad_descriptor) co_return;
    if (error) {
      // Out of descriptors, most likely: accepting again at once would spin.
      log::warning("egress", "accept: {}", error.message());
      co_await net::sleep_for(std::chrono::milliseconds(100));
      continue;
    }
    if (heads < options.max_heads) connections.spawn("connection", serve(Stream(std::move(socket))));
  }
}

void Proxy::Impl::note(const AuditRecord& record) {
  audit.write(record);
  if (audit.counts() && !std::exchange(counts, true)) counting.spawn("audit", write_counted());
}

Task<void> Proxy::Impl::write_counted() {
  while (audit.counts()) {
    co_await net::sleep_for(std::chrono::seconds(1));
    audit.write_counted();
  }
  counts = false;
}

Task<void> Proxy::Impl::answer(Stream& client, unsigned status, std::string message) {
  message = "mcpbox egress: " + message + "\n";
  std::string head = fmt::format("HTTP/1.1 {} {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n",
                                 status, status_text(status), message.size());
  // libcurl with "any" authentication (git) sends its credential only when asked.
  if (status == 407) head += "Proxy-Authenticate: Basic realm=\"mcpbox\"\r\n";
  if (status == 405 || status == 200) head += "Allow: CONNECT, DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n";
  head += "Connection: close\r\n\r\n";
  const std::string all = head + message;
  const Deadline deadline(client, std::chrono::seconds(5));
  (void)co_await asio::async_write(client, asio::buffer(all), kTuple);
  boost::system::error_code ignored;
  client.shutdown(asio::socket_base::shutdown_send, ignored);
}

Task<void> Proxy::Impl::serve(Stream client) {
  struct Pending {
    Impl& self;
    std::optional<std::pair<uid_t, std::string>> who;
    explicit Pending(Impl& impl) : self(impl) { ++self.heads; }
    std::size_t identify(const Preface& from) {
      who.emplace(from.uid, from.sandbox);
      return ++self.heads_of[*who];
    }
    ~Pending() {
      --self.heads;
      if (who && --self.heads_of[*who] == 0) self.heads_of.erase(*who);
    }
  };
  std::string bytes;
  Preface from;
  std::optional<ProxyRequest> request;
  {
    Pending pending(*this);
    const Deadline deadline(client, options.head_timeout);
    while (!request) {
      char piece[4096];
      auto [error, size] = co_await client.async_read_some(asio::buffer(piece), kTuple);
      if (error) co_return;
      bytes.append(piece, size);
      if (!pending.who) {
        const std::size_t length = preface_length(bytes, from);
        if (length == std::string_view::npos) co_return;
        if (length == 0) continue;
        bytes.erase(0, length);
        if (pending.identify(from) > options.max_heads_per_uid) {
          co_await answer(client, 503, "too many connections of this process at once");
          co_return;
        }
      }
      const auto length = head_length(bytes);
      if (length && !*length) continue;
      auto parsed = length ? parse_head(std::string_view(bytes).substr(0, **length)) : std::unexpected(length.error());
      if (!parsed) {
        AuditRecord record{.event = "refuse",
                           .reason = "the request cannot be read: " + parsed.error().message,
                           .caller = fmt::format("uid {} {}", from.uid, from.sandbox)};
        note(record);
        co_await answer(client, parsed.error().status, parsed.error().message);
        co_return;
      }
      bytes.erase(0, **length);
      request = std::move(*parsed);
    }
  }
  co_await serve_request(std::move(client), from.uid, std::move(from.sandbox), std::move(*request), std::move(bytes));
}

Task<void> Proxy::Impl::serve_request(Stream client_socket, uid_t uid, std::string sandbox, ProxyRequest request,
                                      std::string early) {
  const auto begin = Clock::now();
  const auto client =
      request.proxy_authorization ? registry.authenticate(*request.proxy_authorization, uid, sandbox) : nullptr;
  const std::string target = fmt::format("{}:{}", request.target.host.authority(), request.target.port);
  if (!client) {
    // A first request without credential is how some clients begin; it is not worth a line each.
    if (request.proxy_authorization) {
      AuditRecord record{.event = "refuse", .host = request.target.host.name, .port = request.target.port};
      record.reason = fmt::format("no registered process has this credential and uid {}{}", uid,
                                  sandbox.empty() ? "" : " in the sandbox " + sandbox);
      record.caller = fmt::format("uid {} {}", uid, sandbox);
      note(record);
    }
    co_await answer(client_socket, 407,
                    "the proxy credential is missing or not that of this process; use HTTP_PROXY as mcpbox set it");
    co_return;
  }
  const Registration& who = client->registration;
  AuditRecord record = record_of(who, request);
  const auto refuse = [&](const Refusal& refusal) -> Task<void> {
    record.event = "refuse";
    record.reason = refusal.message;
    record.milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
    if (!refusal.decision) record.event = "fail";
    note(record);
    co_await answer(
        client_socket, refusal.status,
        fmt::format("{} {} server '{}' ({} phase): {}", target, refusal.decision ? "is not allowed for" : "failed for",
                    printable(who.server, 100), phase_name(who.phase), refusal.message));
  };
  const Decision decision = decide(who.policy, who.phase, request.target.host, request.target.port);
  if (!decision.allowed) {
    co_await refuse({403, decision.reason, true});
    co_return;
  }
  record.rule = decision.rule;
  // RFC 9110 §9.3.8: whoever answers TRACE sends back what it got, and what is added on the way is not the asker's.
  if (request.method == "TRACE") {
    co_await refuse({405, "TRACE is not passed on", true});
    co_return;
  }
  // RFC 9110 §7.6.2
  if (request.max_forwards == 0u) {
    if (request.method == "OPTIONS")
      co_await answer(client_socket, 200, "this is the proxy; Max-Forwards: 0 goes no further");
    else
      co_await refuse({400, "Max-Forwards: 0 goes no further than this proxy", true});
    co_return;
  }
  if (client->tunnels >= options.max_tunnels_per_process) {
    co_await refuse(
        {503, fmt::format("it has {} connections open already, which is the limit", client->tunnels), false});
    co_return;
  }
  if (open.size() >= options.max_tunnels) {
    co_await refuse({503, "the proxy has too many connections open", false});
    co_return;
  }
  struct Counted {
    std::shared_ptr<Client> client;
    explicit Counted(std::shared_ptr<Client> c) : client(std::move(c)) { ++client->tunnels; }
    ~Counted() { --client->tunnels; }
  };
  const auto counted = std::make_shared<Counted>(client);
  const Trust trust = decision.registry ? Trust::kRegistry : decision.named ? Trust::kNamed : Trust::kPublic;
  auto connected = co_await connect(request, trust, who.server.empty() ? who.process : who.server);
  if (!connected) {
    co_await refuse(connected.error());
    co_return;
  }
  record.address = connected->address;

  std::string down;
  std::unique_ptr<UpFilter> filter;
  if (request.connect) {
    down = "HTTP/1.1 200 Connection established\r\n\r\n" + connected->early;
    filter = std::make_unique<HelloFilter>(request.target.host,
                                           std::ranges::find(kTlsPorts, request.target.port) != std::end(kTlsPorts));
  } else {
    down = connected->early;
    const std::string head = request.forward_head();
    const Deadline deadline(connected->server, options.connect_timeout);
    auto [error, written] = co_await asio::async_write(connected->server, asio::buffer(head), kTuple);
    if (error) {
      co_await refuse({502, "it ended the connection: " + error.message(), false});
      co_return;
    }
    filter = std::make_unique<BodyFilter>(request.body);
  }
  if (client->gone) co_return;
  record.event = "open";
  record.milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
  note(record);
  const auto tunnel = std::make_shared<Tunnel>(std::move(client_socket), std::move(connected->server),
                                               std::move(filter), options.idle_timeout);
  open[tunnel.get()] = {client, tunnel};
  tunnel->start(
      std::move(early), std::move(down),
      [weak = weak_from_this(), counted, record, begin, key = tunnel.get()](const TunnelOutcome& outcome) mutable {
        const auto self = weak.lock();
        if (!self) return;
        self->open.erase(key);
        record.event = outcome.refused ? "refuse" : "close";
        record.reason = outcome.reason;
        record.bytes_up = outcome.bytes_up;
        record.bytes_down = outcome.bytes_down;
        record.milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
        self->note(record);
      });
}

void Proxy::Impl::end_tunnels_of(const Client* gone) {
  std::vector<std::shared_ptr<Tunnel>> ending;
  for (const auto& [key, entry] : open) {
    if (gone != nullptr && entry.client.get() != gone) continue;
    if (auto tunnel = entry.tunnel.lock()) ending.push_back(std::move(tunnel));
  }
  for (const auto& tunnel : ending) tunnel->close(gone != nullptr ? "the process was unregistered" : "the proxy stops");
}

Proxy::Proxy(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Proxy::~Proxy() {
  impl_->registry.on_gone(nullptr);
}

Result<std::unique_ptr<Proxy>> Proxy::listen(asio::any_io_executor executor, ProxyOptions options, Registry& registry,
                                             Destinations& destinations, AuditLog& audit) {
  sys::ListenOptions listening;
  listening.path = options.socket_path;
  listening.mode = options.socket_mode;
  listening.patience = options.lock_patience;
  auto listener = sys::UnixListener::listen(listening);
  if (!listener) return fail(std::move(listener).error().with_context("the egress socket"));
  auto impl = std::make_shared<Impl>(executor, std::move(options), registry, destinations, audit, std::move(*listener));
  boost::system::error_code error;
  UniqueFd socket = impl->listener.take_socket();
  impl->acceptor.assign(asio::local::stream_protocol(), socket.get(), error);
  if (error) return fail(Code::kInternal, fmt::format("cannot watch {}: {}", listening.path, error.message()));
  (void)socket.release();
  registry.on_gone([weak = std::weak_ptr(impl)](const std::shared_ptr<Client>& client) {
    const auto self = weak.lock();
    if (!self) return;
    self->end_tunnels_of(client.get());
    self->audit.write_counted_of(client->registration.server, client->registration.process);
  });
  return std::unique_ptr<Proxy>(new Proxy(std::move(impl)));
}

void Proxy::start() {
  impl_->accepting.spawn("accept", impl_->accept());
}

Task<void> Proxy::stop() {
  const auto impl = impl_;
  impl->listener.remove();  // first: its socket must still be open
  boost::system::error_code ignored;
  impl->acceptor.close(ignored);
  co_await impl->accepting.stop();
  co_await impl->connections.stop();
  impl->end_tunnels_of(nullptr);
  co_await impl->counting.stop();
  impl->audit.write_counted(true);
}

std::size_t Proxy::tunnels() const {
  return impl_->open.size();
}

}  // namespace mcpbox::egress
