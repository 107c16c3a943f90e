// What plain and TLS streams share: the socket under them. Internal to net/.
#pragma once

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/system/error_code.hpp>

#include "net/byte_stream.h"

namespace mcpbox::net {

using PlainSocket = boost::asio::generic::stream_protocol::socket;

// Takes the socket over; sets the TCP options named at socket_stream().
PlainSocket adopt_socket(boost::asio::any_io_executor executor, UniqueFd socket);
Peer peer_of(int socket);
bool is_unix(int socket);
// ByteStream::until_gone() for the socket under a stream.
Task<void> until_hung_up(PlainSocket& socket);

Result<std::size_t> read_outcome(const boost::system::error_code& error, std::size_t size);
Result<void> write_outcome(const boost::system::error_code& error);

}  // namespace mcpbox::net
