#include "workspace/manifest_text.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/text.h"
#include "base/url.h"

namespace mcpbox::workspace {
namespace {

bool space(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

// The argument of "-r file", "-rfile", "--requirement=file"; nullopt when the line is another option.
std::optional<std::string> option_argument(std::string_view line, std::string_view brief, std::string_view full) {
  if (line.starts_with(full)) {
    std::string_view rest = line.substr(full.size());
    if (rest.empty() || (rest[0] != '=' && !space(rest[0]))) return std::nullopt;
    return std::string(trim(rest.substr(1)));
  }
  if (line.starts_with(brief) && line.size() > brief.size()) return std::string(trim(line.substr(brief.size())));
  return std::nullopt;
}

bool is_local(std::string_view requirement) {
  if (requirement.starts_with("./") || requirement.starts_with("../") || requirement == "." ||
      requirement.starts_with(".[") || requirement.starts_with('/') || requirement.starts_with("file:")) {
    return true;
  }
  std::string_view first = requirement.substr(0, requirement.find_first_of(" ;"));
  if (first.find("://") != std::string_view::npos || first.find('@') != std::string_view::npos) return false;
  return first.find('/') != std::string_view::npos || first.ends_with(".whl") || first.ends_with(".tar.gz") ||
         first.ends_with(".zip");
}

// A path is one as it is written, and behind "file:" with what was escaped for the URL.
std::string local_path(std::string_view text) {
  if (!text.starts_with("file:")) return std::string(text);
  const auto url = parse_url(text);
  const std::string_view path =
      url && (url->host.empty() || url->host == "localhost") ? std::string_view(url->target) : text.substr(5);
  const std::string_view named = path.substr(0, path.find_first_of("?#"));
  return percent_decode(named).value_or(std::string(named));
}

void split_suffix(std::string_view text, RequirementLine& line) {
  std::size_t end = std::min(text.find_first_of("[;"), text.find(' '));
  line.target = local_path(trim(text.substr(0, end)));
  line.suffix = end == std::string_view::npos ? std::string() : std::string(trim(text.substr(end)));
}

unsigned minor_behind(std::string_view text, std::size_t at) {
  unsigned minor = 0;
  std::from_chars(text.data() + at, text.data() + text.size(), minor);
  return minor;
}

}  // namespace

std::vector<RequirementLine> parse_requirements(std::string_view text) {
  std::vector<RequirementLine> lines;
  std::string joined;
  auto finish = [&] {
    std::string_view line = joined;
    // A comment begins at "#" at the start or behind white space.
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '#' && (i == 0 || space(line[i - 1]))) {
        line = line.substr(0, i);
        break;
      }
    }
    line = trim(line);
    if (!line.empty()) {
      RequirementLine parsed;
      parsed.text = std::string(line);
      parsed.has_hash = line.find("--hash") != std::string_view::npos;
      if (auto file = option_argument(line, "-r", "--requirement")) {
        parsed.kind = RequirementLine::Kind::kInclude;
        parsed.target = *file;
      } else if (auto constraint = option_argument(line, "-c", "--constraint")) {
        parsed.kind = RequirementLine::Kind::kConstraint;
        parsed.target = *constraint;
      } else if (auto editable = option_argument(line, "-e", "--editable")) {
        bool local = is_local(*editable) || editable->find(':') == std::string::npos;
        parsed.kind = local ? RequirementLine::Kind::kEditable : RequirementLine::Kind::kPackage;
        // uv knows no editable install from a repository into a sealed place: what counts is the package.
        parsed.text = *editable;
        if (local) split_suffix(*editable, parsed);
      } else if (line[0] == '-') {
        parsed.kind = RequirementLine::Kind::kOption;
      } else if (is_local(line)) {
        parsed.kind = RequirementLine::Kind::kLocalPath;
        split_suffix(line, parsed);
      } else if (std::size_t at = line.find("@ file:"); at != std::string_view::npos) {
        parsed.kind = RequirementLine::Kind::kLocalPath;
        split_suffix(line.substr(at + 2), parsed);
      }
      lines.push_back(std::move(parsed));
    }
    joined.clear();
  };
  for (std::string_view line : split(text, '\n')) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.ends_with('\\')) {
      joined += line.substr(0, line.size() - 1);
      joined += ' ';
      continue;
    }
    joined += line;
    finish();
  }
  finish();
  return lines;
}

std::optional<std::string> script_header(std::string_view script) {
  std::optional<std::string> block;
  bool inside = false;
  std::string text;
  std::size_t closed_at = 0;  // the block ends at the last "# ///" of the comment
  bool closed = false;
  for (std::string_view line : split(script, '\n')) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!inside) {
      if (line == "# /// script") {
        if (block) return std::nullopt;  // two blocks are an error
        inside = true;
        closed = false;
        text.clear();
      }
      continue;
    }
    bool comment = line == "#" || line.starts_with("# ");
    if (!comment) {
      if (closed) block = text.substr(0, closed_at);
      inside = false;
      continue;
    }
    if (line == "# ///") {
      closed = true;
      closed_at = text.size();
    }
    text += line.size() > 2 ? line.substr(2) : std::string_view();
    text += '\n';
  }
  if (inside && closed) block = text.substr(0, closed_at);
  return block;
}

std::string python_for(std::string_view requires_python, unsigned image_minor) {
  unsigned at_least = 0;
  unsigned below = 1000;
  for (std::string_view part : split(requires_python, ',')) {
    part = trim(part);
    std::size_t version = part.find("3.");
    if (version == std::string_view::npos) continue;
    unsigned minor = minor_behind(part, version + 2);
    std::string_view sign = trim(part.substr(0, version));
    if (sign == ">=" || sign == "~=" || sign == "^")
      at_least = std::max(at_least, minor);
    else if (sign == ">")
      at_least = std::max(at_least, minor + 1);
    else if (sign == "<")
      below = std::min(below, minor);
    else if (sign == "<=")
      below = std::min(below, minor + 1);
    else if (sign == "==" || sign == "===" || sign.empty())
      at_least = minor, below = minor + 1;
  }
  if (image_minor >= at_least && image_minor < below) return {};
  unsigned wanted = image_minor < at_least ? at_least : below - 1;
  return "3." + std::to_string(wanted);
}

}  // namespace mcpbox::workspace
