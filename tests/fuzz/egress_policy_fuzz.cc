// Rules, hosts, ranges and control lines: a normalised spelling is stable, and what a rule matches is below its own
// name.
#include <cstdint>
#include <cstdlib>

#include "base/text.h"
#include "egress/control/codec.h"

using namespace mcpbox::egress;

static void must(bool condition) {
  if (!condition) std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)parse_control(text);
  (void)parse_control_answer(text);
  const auto words = mcpbox::split(text.substr(0, 2000), '\n');
  if (const auto range = Cidr::parse(words.front())) must(Cidr::parse(range->text()).has_value());
  (void)UpstreamProxy::parse(words.front());
  const auto rule = Rule::parse(words.front());
  if (rule) {
    const auto again = Rule::parse(rule->text());
    must(again && again->text() == rule->text() && again->exact() == rule->exact());
    must(rule->exact() == rule->matches_host(rule->host()));
  }
  for (const std::string_view word : words) {
    const auto host = parse_host(word);
    if (!host) continue;
    must(parse_host(host->authority())->name == host->name);
    if (rule && rule->matches_host(*host))
      must(host->name == rule->host().name || host->name.ends_with("." + rule->host().name));
  }
  return 0;
}
