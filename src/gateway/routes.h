// Finds the row of a table of routes that a request means. Pure.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mcpbox::gateway {

template <class Row>
struct RouteMatch {
  const Row* row = nullptr;             // null: 405 where `allow` is not empty, else 404
  std::vector<std::string> parameters;  // what stands for each "{…}" of the row's path, in their order
  std::string allow;                    // "GET, POST": the methods that the path has (RFC 9110 §10.2.1)
};

// True when `path` (decoded, as net::ServedRequest has it) fits `pattern` ("/v1/servers/{server}/call"), where "{…}"
// stands for one segment that is not empty; what stands there is appended to `parameters`.
bool path_fits(std::string_view pattern, std::string_view path, std::vector<std::string>& parameters);

// A Row has `method` and `path`. The first row that fits counts.
template <class Row, std::size_t N>
RouteMatch<Row> find_route(std::span<const Row, N> table, std::string_view method, std::string_view path) {
  RouteMatch<Row> found;
  for (const Row& row : table) {
    std::vector<std::string> parameters;
    if (!path_fits(row.path, path, parameters)) continue;
    if (row.method == method) {
      found.row = &row;
      found.parameters = std::move(parameters);
      return found;
    }
    found.allow += (found.allow.empty() ? "" : ", ");
    found.allow += row.method;
  }
  return found;
}

}  // namespace mcpbox::gateway
