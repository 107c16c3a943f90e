#include "mcp/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/secrets.h"
#include "base/text.h"
#include "json/raw.h"
#include "json/text.h"
#include "json/writer.h"
#include "mcp/jsonrpc.h"

namespace mcpbox::mcp {
namespace {

constexpr std::size_t kMaxNotes = 100;  // of one run: a list of a million nameless items says so a hundred times
constexpr std::size_t kNoted = 400;     // bytes of such an item, for the note

// What an item costs the list that is kept. The name is kept twice.
std::size_t cost(const CatalogItem& item) {
  return item.json.size() + item.description.size() + 2 * item.name.size();
}

}  // namespace

CatalogPage read_page(const CatalogKind& kind, const CatalogLimits& limits, std::string_view result) {
  CatalogPage page;
  page.bytes = result.size();
  const auto list = json::raw_member(result, kind.member);
  page.is_list = list && list->starts_with('[');
  if (!page.is_list) return page;
  std::size_t named = 0, nameless = 0, kept = 0;
  json::ElementWalk walk(*list);
  while (const auto raw = walk.next()) {
    if (named >= limits.max_items || kept + raw->size() > limits.max_bytes) {
      page.cut = true;
      break;
    }
    const auto text_of = [&](std::string_view key) {
      const auto value = json::raw_member(*raw, key);
      return value ? json::string_of(*value).value_or("") : std::string();
    };
    CatalogItem item;
    item.name = text_of(kind.key);
    if (item.name.empty()) {
      if (nameless++ >= kMaxNotes) continue;
      item.json = raw->substr(0, kNoted);
    } else {
      ++named;
      item.description = text_of("description");
      item.json = std::string(*raw);
      kept += cost(item);
    }
    page.items.push_back(std::move(item));
  }
  const auto cursor = json::raw_member(result, "nextCursor");
  if (cursor && *cursor != "null") {
    page.cursor_bytes = cursor->size();
    if (cursor->size() <= limits.max_cursor) page.cursor = std::string(*cursor);
  }
  return page;
}

void Catalog::refresh(Clock::time_point now) {
  if (run_) {
    again_ = true;
    return;
  }
  refresh_at_.reset();
  run_.emplace();
  run_->deadline = now + limits_.list_timeout;
  run_->pages = 1;
}

std::optional<std::string> Catalog::next_page() {
  if (!run_ || std::exchange(run_->asked, true)) return std::nullopt;
  if (run_->cursor.empty()) return std::string();
  json::Writer params;
  return params.object().member("cursor", json::Raw{json::on_one_line(run_->cursor)}).end().take();
}

std::chrono::milliseconds Catalog::page_timeout(Clock::time_point now) const {
  if (!run_) return limits_.list_timeout;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(run_->deadline - now);
  return std::max(left, std::chrono::milliseconds(1));
}

void Catalog::on_page(const Result<CallReply>& answer, Clock::time_point now) {
  if (!run_) return;
  run_->asked = false;
  if (!answer) return fail_run(answer.error(), now);
  if (answer->error_code) {
    // A server without such a list may say so like this, also one that declares the capability.
    if (*answer->error_code == kMethodNotFound) return finish(now);
    return fail_run(
        Error(Code::kDataLoss, fmt::format("{}: the server answered with {}", kind_.method, describe_error(*answer))),
        now);
  }
  on_page(read_page(kind_, limits_, answer->result), now);
}

void Catalog::on_page(CatalogPage page, Clock::time_point now) {
  if (!run_) return;
  run_->asked = false;
  run_->bytes += page.bytes;
  if (!page.is_list) {
    return fail_run(
        Error(Code::kDataLoss, fmt::format("{}: the server's answer holds no list of {}s", kind_.method, kind_.one)),
        now);
  }
  for (CatalogItem& item : page.items) {
    if (run_->full) break;
    add(std::move(item));
  }
  if ((page.cut || run_->bytes > limits_.max_answer_bytes) && !run_->full) leave_out_rest();
  // An empty string is a cursor like any other; only its absence or null ends the list.
  if (page.cursor_bytes == 0 || run_->full) return finish(now);
  if (page.cursor.empty()) {
    note(fmt::format("{}: the server gave a cursor of {}; its list ends here", kind_.method,
                     human_bytes(page.cursor_bytes)));
    return finish(now);
  }
  if (!run_->cursors.insert(page.cursor).second) {
    note(fmt::format("{}: the server gave the cursor {} twice; its list ends here", kind_.method,
                     from_outside(page.cursor, 80)));
    return finish(now);
  }
  if (run_->pages >= limits_.max_pages) {
    note(fmt::format("{}: more than {} pages; the rest is left out", kind_.method, limits_.max_pages));
    return finish(now);
  }
  ++run_->pages;
  run_->cursor = std::move(page.cursor);
}

void Catalog::add(CatalogItem item) {
  const bool may_say = notes_.size() < kMaxNotes;
  if (item.name.empty()) {
    if (may_say) {
      note(fmt::format("{}: a {} without a {} was left out: {}", kind_.method, kind_.one, kind_.key,
                       from_outside(item.json, 100)));
    }
    return;
  }
  if (run_->items.size() >= limits_.max_items || run_->kept + item.json.size() > limits_.max_bytes)
    return leave_out_rest();
  if (!run_->names.insert(item.name).second) {
    if (may_say) {
      note(
          fmt::format("{}: a second {} named '{}' was left out", kind_.method, kind_.one, from_outside(item.name, 80)));
    }
    return;
  }
  // All of it together does not pass the limit by more than one item's worth of texts.
  run_->kept += cost(item);
  run_->items.push_back(std::move(item));
}

void Catalog::leave_out_rest() {
  run_->full = true;
  note(fmt::format("{}: more than {} {}s or {}; the rest is left out", kind_.method, limits_.max_items, kind_.one,
                   human_bytes(limits_.max_bytes)));
}

void Catalog::finish(Clock::time_point now) {
  items_ = std::move(run_->items);
  items_.shrink_to_fit();
  text_.reset();
  known_ = true;
  ++version_;
  run_.reset();
  retries_ = 0;
  if (std::exchange(again_, false)) schedule(now);
}

// The first list is needed: without it a server is not usable. A later one replaces a list that was good.
void Catalog::fail_run(Error error, Clock::time_point now) {
  run_.reset();
  if (!known_) {
    failure_ = std::move(error);
    return;
  }
  note(fmt::format("the {}s could not be listed again: {}", kind_.one, error.message()));
  // The server may answer the next time; what it said once it says again.
  const bool passing = error.code() == Code::kTimeout || error.code() == Code::kResourceExhausted;
  const bool retry = passing && retries_ < limits_.max_retries;
  if (retry) ++retries_;
  if (std::exchange(again_, false) || retry) schedule(now);
}

std::shared_ptr<const std::string> Catalog::text() const {
  if (auto shared = text_.lock()) return shared;
  std::size_t size = 2;
  for (const CatalogItem& item : items_) size += item.json.size() + 1;
  auto text = std::make_shared<std::string>();
  text->reserve(size);
  *text += '[';
  for (const CatalogItem& item : items_) {
    if (text->size() > 1) *text += ',';
    *text += item.json;
  }
  *text += ']';
  text_ = text;
  return text;
}

void Catalog::on_changed(Clock::time_point now) {
  const bool storm = now - last_change_ < limits_.max_refresh_delay;
  if (!storm) delay_ = std::chrono::milliseconds(0);
  last_change_ = now;
  retries_ = 0;
  if (run_) {
    again_ = true;
  } else if (known_ && !refresh_at_) {
    schedule(now);
  }
}

void Catalog::schedule(Clock::time_point now) {
  delay_ = delay_.count() == 0 ? limits_.refresh_delay : std::min(delay_ * 2, limits_.max_refresh_delay);
  refresh_at_ = now + delay_;
}

void Catalog::on_time(Clock::time_point now) {
  if (refresh_at_ && *refresh_at_ <= now) refresh(now);
}

void Catalog::give_up() {
  known_ = true;
  ++version_;
}

void Catalog::stop() {
  run_.reset();
  refresh_at_.reset();
  again_ = false;
}

}  // namespace mcpbox::mcp
