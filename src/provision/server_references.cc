#include "provision/server_references.h"

#include <utility>

#include "base/secrets.h"
#include "config/credential_helper.h"
#include "config/references.h"
#include "net/offload.h"
#include "provision/server_plan.h"

namespace mcpbox::provision {

Task<Result<config::ServerSettings>> with_fresh_references(boost::asio::thread_pool& pool,
                                                           config::ServerSettings settings, ServerLog& log) {
  if (!settings.references) co_return settings;
  config::HelperAnswers answers;
  for (const config::HelperKey& key : settings.references->helpers)
    answers.emplace(key, co_await config::ask_helper(key));
  auto read = [settings = std::move(settings),
               answers = std::move(answers)]() mutable -> Result<config::ServerSettings> {
    if (auto fresh = config::read_again(settings, answers); !fresh) return fail(std::move(fresh).error());
    return std::move(settings);
  };
  auto fresh = co_await net::offload(pool, std::move(read));
  if (!fresh) co_return fail(std::move(fresh).error());
  for (const Secret& secret : secrets_of(*fresh)) {
    log.learn(secret);
    keep_secret(secret);
  }
  co_return fresh;
}

}  // namespace mcpbox::provision
