#include "net/http_target.h"

#include <algorithm>

#include "base/url.h"

namespace mcpbox::net {
namespace {

constexpr std::size_t kMaxTarget = 4u << 10;

bool parse_path(std::string_view path, std::string& out) {
  for (std::size_t begin = 1; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const auto segment = percent_decode(path.substr(begin, end - begin));
    if (!segment || *segment == "." || *segment == ".." || segment->contains('/')) return false;
    if (segment->empty() && end != path.size()) return false;
    out += '/';
    out += *segment;
    begin = end + 1;
  }
  return true;
}

bool parse_query(std::string_view query, std::map<std::string, std::string>& out) {
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    const std::size_t equals = std::min(pair.find('='), pair.size());
    auto name = percent_decode(pair.substr(0, equals));
    auto value = percent_decode(pair.substr(std::min(equals + 1, pair.size())));
    if (!name || !value || !out.emplace(std::move(*name), std::move(*value)).second) return false;
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return true;
}

}  // namespace

bool parse_target(std::string_view target, ServedRequest& request) {
  if (target.empty() || target.size() > kMaxTarget || target.front() != '/') return false;
  const std::size_t mark = std::min(target.find('?'), target.size());
  return parse_path(target.substr(0, mark), request.path) &&
         parse_query(target.substr(std::min(mark + 1, target.size())), request.query);
}

}  // namespace mcpbox::net
