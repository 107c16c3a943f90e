#include "net/read_all.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "net/adopt.h"

namespace mcpbox::net {

Task<void> read_all(boost::asio::any_io_executor executor, UniqueFd fd, std::function<void(std::string_view)> sink) {
  boost::asio::posix::stream_descriptor stream(executor);
  adopt(stream, std::move(fd));
  std::vector<char> buffer(64u << 10);
  for (;;) {
    auto [error, size] =
        co_await stream.async_read_some(boost::asio::buffer(buffer), boost::asio::as_tuple(boost::asio::use_awaitable));
    if (size > 0) sink({buffer.data(), size});
    if (error) co_return;
  }
}

}  // namespace mcpbox::net
