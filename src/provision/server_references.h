// The secrets of a configured server, read again at each of its starts.
#pragma once

#include <boost/asio/thread_pool.hpp>

#include "base/result.h"
#include "config/settings.h"
#include "net/task.h"
#include "provision/server_log.h"

namespace mcpbox::provision {

// The settings with what their references give now (config/references.h); unchanged ones where there are none. `log`
// and the process (base/secrets.h) know the new secrets before anything else is done with them. Asks helpers, one after
// the other; reads files on the pool. Errors say which place of the file names what cannot be had: kUnavailable, since
// it may be there at the next try.
Task<Result<config::ServerSettings>> with_fresh_references(boost::asio::thread_pool& pool,
                                                           config::ServerSettings settings, ServerLog& log);

}  // namespace mcpbox::provision
