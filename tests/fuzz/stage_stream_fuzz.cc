// A stage stream: whatever the bytes are, no entry that leaves the tree reaches the sink, and any cut gives the same
// entries.
#include <cstdint>

#include "box/wire/stage_stream.h"

namespace {

using namespace mcpbox;
using namespace mcpbox::box::wire;

class Checker : public StageSink {
 public:
  Result<void> directory(std::string_view path) override { return note(path); }
  Result<void> file(std::string_view path, std::uint64_t size, bool) override {
    left_ = size;
    return note(path);
  }
  Result<void> data(std::string_view bytes) override {
    if (bytes.size() > left_) __builtin_trap();
    left_ -= bytes.size();
    log += bytes;
    return {};
  }
  Result<void> file_end() override {
    if (left_ != 0) __builtin_trap();
    return {};
  }
  Result<void> link(std::string_view path, std::string_view target) override {
    if (!is_stage_link(path, target)) __builtin_trap();
    return note(path);
  }
  Result<void> keep(std::string_view path, std::uint64_t size, bool) override {
    if (size > kMaxStageBytes) __builtin_trap();
    log += "keep ";
    return note(path);
  }
  std::string log;

 private:
  Result<void> note(std::string_view path) {
    if (!is_stage_path(path) || path.front() == '/') __builtin_trap();
    log += path;
    return {};
  }
  std::uint64_t left_ = 0;
};

std::string read(std::string_view bytes, std::size_t step, bool& ok) {
  Checker checker;
  StageReader reader(checker);
  ok = true;
  while (ok && !bytes.empty()) {
    ok = reader.feed(bytes.substr(0, step)).has_value();
    bytes.remove_prefix(std::min(step, bytes.size()));
  }
  return checker.log;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  bool whole_ok = false, cut_ok = false;
  const std::string whole = read(bytes, bytes.size() + 1, whole_ok);
  const std::string cut = read(bytes, data[0] + 1u, cut_ok);
  if (whole_ok != cut_ok || (whole_ok && whole != cut)) __builtin_trap();
  return 0;
}
