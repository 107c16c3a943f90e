// A list that a server offers page by page and may change at any time: tools, resources, resource templates, prompts.
// Without I/O: it says which page to ask for, is given the answers, and says when to ask anew.
//
// Source: MCP 2025-11-25, server/utilities/pagination, and the *_list and list_changed parts of server/tools,
// server/resources and server/prompts.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "mcp/endpoint.h"

namespace mcpbox::mcp {

// One row of the table below: what a kind of list is called in the protocol.
struct CatalogKind {
  std::string_view method;      // asked page by page
  std::string_view member;      // of the result: the array of items
  std::string_view key;         // of an item: what names it; unique within the list
  std::string_view capability;  // of the server, that declares it
  std::string_view changed;     // the notification that the list is another one
  std::string_view one;         // for people
};
inline constexpr CatalogKind kToolCatalog{"tools/list", "tools", "name", "tools", "notifications/tools/list_changed",
                                          "tool"};
inline constexpr CatalogKind kResourceCatalog{
    "resources/list", "resources", "uri", "resources", "notifications/resources/list_changed", "resource"};
inline constexpr CatalogKind kResourceTemplateCatalog{
    "resources/templates/list", "resourceTemplates", "uriTemplate", "resources", "notifications/resources/list_changed",
    "resource template"};
inline constexpr CatalogKind kPromptCatalog{
    "prompts/list", "prompts", "name", "prompts", "notifications/prompts/list_changed", "prompt"};

struct CatalogLimits {
  std::chrono::milliseconds list_timeout{30'000};  // for all pages of one run
  unsigned max_pages = 100;
  std::size_t max_items = 10'000;
  std::size_t max_bytes = 8u << 20;          // of the items, their names and descriptions: the list that is kept
  std::size_t max_answer_bytes = 32u << 20;  // of all answers of one run, whatever is in them: what is read for a list
  std::size_t max_cursor = 4u << 10;
  // Servers announce changes in storms (seven in a row at start): the list is fetched once, this long after the first.
  // While storms go on the delay doubles up to `max_refresh_delay`; as long a silence resets it. A later run that the
  // server did not answer in time, or that found no room to be sent, is tried again so, `max_retries` times.
  unsigned max_retries = 3;
  std::chrono::milliseconds refresh_delay{250};
  std::chrono::milliseconds max_refresh_delay{30'000};
};

struct CatalogItem {
  std::string name;  // the value of CatalogKind::key
  std::string description;
  std::string json;  // the whole item as the server sent it
};

// One page, read without what the catalog knows of the pages before it.
struct CatalogPage {
  bool is_list = false;            // false: the answer holds none
  std::size_t bytes = 0;           // of the answer
  std::vector<CatalogItem> items;  // as many as a whole list may have; one without a name is among them, for the notes
  bool cut = false;                // there were more
  std::string cursor;              // raw, of the page after it, at most max_cursor; empty = none
  std::size_t cursor_bytes = 0;    // also of one that is longer
};
// Time grows with `result`, which is walked four times: who has threads reads long pages there.
CatalogPage read_page(const CatalogKind& kind, const CatalogLimits& limits, std::string_view result);

class Catalog {
 public:
  explicit Catalog(const CatalogKind& kind, CatalogLimits limits = {}) : kind_(kind), limits_(limits) {}

  // Begins to fetch the list; while one run is under way another follows it.
  void refresh(Clock::time_point now);
  // The parameters of the page to ask for now (empty text = none); nullopt when there is nothing to ask. Each page is
  // given once, and answered by on_page() before the next.
  std::optional<std::string> next_page();
  // How long that page may take.
  std::chrono::milliseconds page_timeout(Clock::time_point now) const;
  void on_page(const Result<CallReply>& answer, Clock::time_point now);
  // The same, of an answer that was no error and has been read.
  void on_page(CatalogPage page, Clock::time_point now);
  // The peer need not have such a list: what there is counts as the whole of it.
  void give_up();
  void on_changed(Clock::time_point now);
  void on_time(Clock::time_point now);
  std::optional<Clock::time_point> next_deadline() const { return refresh_at_; }
  // Nothing is asked any more.
  void stop();

  // A whole list came, or the server has none.
  bool known() const { return known_; }
  bool running() const { return run_.has_value(); }
  const std::vector<CatalogItem>& items() const { return items_; }
  // The items as a JSON array, each as the server sent it. Whoever asks while somebody still has it gets the same one:
  // it is as large as the list.
  std::shared_ptr<const std::string> text() const;
  std::uint64_t version() const { return version_; }  // counts the lists that came
  // Why the first list did not come, once. A later run that fails keeps the list that there is.
  std::optional<Error> take_failure() { return std::exchange(failure_, std::nullopt); }
  std::vector<std::string> take_notes() { return std::exchange(notes_, {}); }  // for the server's log
  const CatalogKind& kind() const { return kind_; }
  const CatalogLimits& limits() const { return limits_; }

 private:
  // One run through the pages.
  struct Run {
    Run() {}
    std::vector<CatalogItem> items;
    std::set<std::string, std::less<>> names;
    std::set<std::string, std::less<>> cursors;  // raw, seen so far
    std::string cursor;                          // raw, of the page to ask for
    std::size_t bytes = 0;                       // of the answers
    std::size_t kept = 0;                        // of the items
    unsigned pages = 0;
    Clock::time_point deadline;
    bool asked = false;  // the page at `cursor` is on its way
    bool full = false;   // a limit was passed; said in the notes
  };
  void add(CatalogItem item);
  void leave_out_rest();
  void finish(Clock::time_point now);
  void fail_run(Error error, Clock::time_point now);
  void note(std::string text) { notes_.push_back(std::move(text)); }
  void schedule(Clock::time_point now);

  const CatalogKind& kind_;
  CatalogLimits limits_;
  std::vector<CatalogItem> items_;
  mutable std::weak_ptr<const std::string> text_;  // of `items_`
  bool known_ = false;
  std::uint64_t version_ = 0;
  std::optional<Run> run_;
  bool again_ = false;  // it changed while it was being fetched
  std::optional<Clock::time_point> refresh_at_;
  std::chrono::milliseconds delay_{0};  // of the refresh before, 0 = none lately
  Clock::time_point last_change_;
  unsigned retries_ = 0;  // since a list came or changed
  std::optional<Error> failure_;
  std::vector<std::string> notes_;
};

}  // namespace mcpbox::mcp
