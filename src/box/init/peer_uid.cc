#include "box/init/peer_uid.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>

#include "box/init/one_id.h"

namespace mcpbox::box::init {

std::optional<PeerUids> PeerUids::open() {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!socket) return std::nullopt;
  return PeerUids(std::move(socket));
}

std::optional<uid_t> PeerUids::find(const sockaddr_in& peer, const sockaddr_in& local) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } question{};
  question.header.nlmsg_len = sizeof question;
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_flags = NLM_F_REQUEST;
  question.header.nlmsg_seq = ++sequence_;
  question.request.sdiag_family = AF_INET;
  question.request.sdiag_protocol = IPPROTO_TCP;
  question.request.idiag_states = ~0u;
  inet_diag_sockid& id = question.request.id;
  id.idiag_sport = peer.sin_port;
  id.idiag_dport = local.sin_port;
  id.idiag_src[0] = peer.sin_addr.s_addr;
  id.idiag_dst[0] = local.sin_addr.s_addr;
  id.idiag_cookie[0] = id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  if (::send(socket_.get(), &question, sizeof question, 0) != static_cast<ssize_t>(sizeof question))
    return std::nullopt;

  alignas(nlmsghdr) char bytes[4096];
  // The answer is there when send() returns. Left-over answers have another number.
  for (int i = 0; i < 8; ++i) {
    sockaddr_nl from{};
    socklen_t from_size = sizeof from;
    const ssize_t got =
        ::recvfrom(socket_.get(), bytes, sizeof bytes, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &from_size);
    if (got < static_cast<ssize_t>(sizeof(nlmsghdr)) || from.nl_pid != 0) return std::nullopt;
    nlmsghdr header;
    ::memcpy(&header, bytes, sizeof header);
    if (header.nlmsg_seq != sequence_) continue;
    if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY || header.nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg)) ||
        static_cast<ssize_t>(header.nlmsg_len) > got) {
      return std::nullopt;
    }
    inet_diag_msg answer;
    ::memcpy(&answer, bytes + NLMSG_HDRLEN, sizeof answer);
    const bool same = answer.id.idiag_sport == id.idiag_sport && answer.id.idiag_dport == id.idiag_dport &&
                      answer.id.idiag_src[0] == id.idiag_src[0] && answer.id.idiag_dst[0] == id.idiag_dst[0];
    if (!same || answer.idiag_inode == 0 || (answer.idiag_uid == 0 && !one_id())) return std::nullopt;
    return answer.idiag_uid;
  }
  return std::nullopt;
}

}  // namespace mcpbox::box::init
