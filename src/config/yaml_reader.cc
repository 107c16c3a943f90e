#include "config/yaml_reader.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "base/text.h"

namespace mcpbox::config {
namespace {

// Ends the parser from inside an event.
struct Stop {
  int line, column;
  std::string what;
};

// Builds the tree from the parser's events, so that nothing is expanded behind our back.
class Builder : public YAML::EventHandler {
 public:
  Builder(std::string file, std::vector<Problem>& problems) : file_(std::move(file)), problems_(problems) {}

  Node take_root() { return std::move(root_); }
  std::pair<int, int> last_place() const { return {last_line_, last_column_}; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) {
      throw Stop{mark.line + 1, mark.column + 1,
                 "a second YAML document begins here; the file must hold exactly one (remove the '---')"};
    }
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    no_anchor(mark, anchor);
    add(make(mark, Node::Kind::kNull));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { no_anchor(mark, 1); }
  void OnAnchor(const YAML::Mark& mark, const std::string&) override { no_anchor(mark, 1); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    no_anchor(mark, anchor);
    Node node = make(mark, Node::Kind::kScalar);
    node.plain = tag == "?";
    no_tag(mark, tag);
    node.text = value;
    add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    no_anchor(mark, anchor);
    no_tag(mark, tag);
    open(make(mark, Node::Kind::kSequence));
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    no_anchor(mark, anchor);
    no_tag(mark, tag);
    open(make(mark, Node::Kind::kMap));
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    Node node;
    Node key;
    bool has_key = false;
    bool skip_value = false;  // of a duplicate key
    std::unordered_map<std::string, int> lines;
  };

  Node make(const YAML::Mark& mark, Node::Kind kind) {
    if (++nodes_ > kMaxYamlNodes)
      throw Stop{mark.line + 1, mark.column + 1, fmt::format("more than {} values in one file", kMaxYamlNodes)};
    Node node;
    node.kind = kind;
    last_line_ = node.line = mark.line + 1;
    last_column_ = node.column = mark.column + 1;
    return node;
  }
  static void no_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != 0)
      throw Stop{mark.line + 1, mark.column + 1,
                 "anchors and aliases (&name, *name) are not supported; write the value out"};
  }
  static void no_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    throw Stop{mark.line + 1, mark.column + 1,
               fmt::format("the tag '{}' is not supported; remove it", printable(tag, 60))};
  }
  void open(Node node) {
    if (stack_.size() >= kMaxYamlDepth)
      throw Stop{node.line, node.column, fmt::format("nested more than {} levels deep", kMaxYamlDepth)};
    stack_.push_back({std::move(node), {}, false, false, {}});
  }
  void close() {
    Node node = std::move(stack_.back().node);
    stack_.pop_back();
    add(std::move(node));
  }
  void add(Node node) {
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = stack_.back();
    if (parent.node.kind == Node::Kind::kSequence) {
      parent.node.items.push_back(std::move(node));
      return;
    }
    if (!parent.has_key) {
      if (node.kind != Node::Kind::kScalar) {
        const bool null = node.kind == Node::Kind::kNull;
        throw Stop{node.line, node.column,
                   null ? "expected 'key: value' here; is a bracket not closed?" : "a key must be text"};
      }
      const auto [known, added] = parent.lines.try_emplace(node.text, node.line);
      if (!added) {
        problems_.push_back(
            {file_, node.line, node.column,
             fmt::format("duplicate key '{}'; it is already in line {}", printable(node.text, 60), known->second)});
      }
      parent.skip_value = !added;
      parent.key = std::move(node);
      parent.has_key = true;
      return;
    }
    parent.has_key = false;
    if (node.kind == Node::Kind::kNull) {  // the parser puts it where the next token stands
      node.line = parent.key.line;
      node.column = parent.key.column;
    }
    if (!parent.skip_value) parent.node.entries.push_back({std::move(parent.key), std::move(node)});
  }

  std::string file_;
  std::vector<Problem>& problems_;
  std::vector<Open> stack_;
  Node root_;
  std::size_t nodes_ = 0;
  int documents_ = 0;
  int last_line_ = 1, last_column_ = 1;
};

// Line and column of a byte.
std::pair<int, int> place_of(std::string_view text, std::size_t at) {
  int line = 1, column = 1;
  for (std::size_t i = 0; i < at; ++i) {
    column = text[i] == '\n' ? 1 : column + 1;
    line += text[i] == '\n' ? 1 : 0;
  }
  return {line, column};
}

// The line, from 1, of the first tab in an indentation up to `last_line`; 0 when there is none.
int tab_line(std::string_view text, int last_line) {
  int number = 0;
  for (const std::string_view line : split(text, '\n')) {
    if (++number > last_line) return 0;
    const std::size_t first = line.find_first_not_of(' ');
    if (first != std::string_view::npos && line[first] == '\t') return number;
  }
  return 0;
}

std::string explain(const std::string& said) {
  if (said.starts_with("end of map not found") || said.starts_with("illegal map value") ||
      said.starts_with("end of sequence not found")) {
    return "the indentation or the punctuation is wrong here: expected 'key: value' lines (or '- item' lines) in one "
           "column; text that "
           "holds ': ' or begins with a special character needs quotes";
  }
  if (said.starts_with("end of map flow") || said.starts_with("end of sequence flow") ||
      said.starts_with("illegal flow end")) {
    return "a bracket is missing or too many: '[…]' and '{…}' must be closed";
  }
  if (said.starts_with("illegal EOF in scalar")) return "the quoted text that begins here is not closed";
  if (said.starts_with("illegal block entry")) return "a list item '- …' is not possible here";
  if (said.starts_with("unknown token")) return "a text cannot begin with this character; put it in quotes";
  return printable(said, 200);
}

}  // namespace

Node read_yaml(std::string_view text, const std::string& file, std::vector<Problem>& problems, bool& usable) {
  usable = false;
  if (text.size() > kMaxYamlBytes) {
    problems.push_back(
        {file, 0, 0, fmt::format("the file has more than {}, and no more are read", human_bytes(kMaxYamlBytes))});
    return {};
  }
  if (!is_valid_utf8(text)) {
    std::size_t good = 0, bad = text.size();
    while (bad - good > 1) {  // the longest valid prefix, up to a cut character
      const std::size_t middle = good + (bad - good) / 2;
      std::size_t cut = middle;
      while (cut > good && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
      if (cut > good && is_valid_utf8(text.substr(0, cut))) {
        good = cut;
      } else {
        bad = middle;
      }
    }
    const auto [line, column] = place_of(text, good);
    problems.push_back({file, line, column, "the text from here on is not valid UTF-8; save the file as UTF-8"});
    return {};
  }
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
    const auto [line, column] = place_of(text, nul);
    problems.push_back({file, line, column, "a NUL byte; this is no text file"});
    return {};
  }
  Builder builder(file, problems);
  try {
    // The comment: yaml-cpp notices that the end is inside a quoted text only when it does not come right after a
    // newline; otherwise a forgotten quote would silently swallow the rest of the file.
    std::istringstream stream{std::string(text) + "\n#"};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
    usable = true;
    return builder.take_root();
  } catch (const Stop& stop) {
    problems.push_back({file, stop.line, stop.column, stop.what});
  } catch (const YAML::Exception& e) {
    const int lines = static_cast<int>(std::count(text.begin(), text.end(), '\n')) + 1;
    auto [line, column] = e.mark.is_null() ? std::pair(0, 0) : std::pair(e.mark.line + 1, e.mark.column + 1);
    if (e.msg.starts_with("illegal EOF in scalar")) std::tie(line, column) = builder.last_place();
    if (line > lines) {
      line = lines;
      column = 1;
    }
    const int tab = tab_line(text, line == 0 ? 1 : line);
    if (tab > 0) {
      problems.push_back({file, tab, 1, "a tab in the indentation; YAML allows spaces only"});
    } else {
      problems.push_back({file, line, column, "not valid YAML: " + explain(e.msg)});
    }
  }
  return {};
}

}  // namespace mcpbox::config
