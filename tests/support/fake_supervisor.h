// A PID 1 in memory: directories with owners, files, processes that live until they are killed. It can fail at any
// step, or wait there until it is cancelled.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "box/link/supervisor.h"
#include "box/wire/stage_stream.h"
#include "net/wait.h"

namespace mcpbox::test {

// What is in the sandbox; outlives the supervisors that are connected to it.
struct FakeTree {
  struct Node {
    uid_t uid = 0;
    gid_t gid = 0;
    bool directory = true;
    std::string content;
    bool operator==(const Node&) const = default;
  };
  std::map<std::string, Node> nodes{{"/workspace", {}}, {"/cache", {}}};

  bool has(const std::string& path) const { return nodes.contains(path); }
  std::string text(const std::string& path) const { return has(path) ? nodes.at(path).content : "nothing"; }
  void file(const std::string& path, std::string content, uid_t uid, gid_t gid) {
    nodes[path] = {uid, gid, false, std::move(content)};
  }
  void directory(const std::string& path, uid_t uid, gid_t gid) { nodes[path] = {uid, gid, true, ""}; }
  // With everything below it.
  void rename(const std::string& from, const std::string& to) {
    std::map<std::string, Node> moved;
    std::erase_if(nodes, [&](const auto& item) {
      const auto& [path, node] = item;
      if (path != from && !path.starts_with(from + "/")) return false;
      moved[to + path.substr(from.size())] = node;
      return true;
    });
    nodes.merge(moved);
  }
  void remove(const std::string& path) {
    std::erase_if(nodes, [&](const auto& item) { return item.first == path || item.first.starts_with(path + "/"); });
  }
};

class FakeSupervisor : public box::Supervisor {
 public:
  explicit FakeSupervisor(FakeTree& tree) : tree_(tree) {}

  // Before each request; what it returns is the request's answer. `name` is the function's.
  std::function<Task<Result<void>>(const std::string& name)> before;
  std::vector<std::string> requests;
  std::map<std::string, box::ProcessSpec> processes;  // that run
  bool group_came = false;                            // take_group() had a descriptor
  bool frozen = false;  // keeps its end of the pipes of unpack and pack open, and leaves them alone

  const box::SupervisorInfo& info() const override { return info_; }
  void on_exit(ExitHandler handler) override { exit_ = std::move(handler); }
  void on_pressure(PressureHandler) override {}
  void on_lost(LostHandler handler) override { lost_ = std::move(handler); }

  void end(const std::string& id, int code) {
    if (processes.erase(id) == 0) return;
    box::ProcessExit how;
    how.code = code;
    if (exit_) exit_(id, how);
  }
  void lose() {
    processes.clear();
    if (lost_) lost_(Error(Code::kUnavailable, "the link broke"));
  }

  // As the process that was spawned last: to its stdout (1) or stderr (2). Never waits; what does not fit is lost.
  void print(int pipe, std::string_view text) {
    const int fd = theirs_.at(theirs_.size() - 3 + static_cast<std::size_t>(pipe)).get();
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    (void)!::write(fd, text.data(), text.size());
  }

  Task<Result<Spawned>> spawn(box::ProcessSpec spec) override {
    if (auto step = co_await enter("spawn"); !step) co_return fail(std::move(step).error());
    if (auto made = make(spec.prepare); !made) co_return fail(std::move(made).error());
    Spawned spawned;
    spawned.pid = static_cast<pid_t>(100 + processes.size());
    int in[2], out[2], err[2];
    (void)!::pipe2(in, O_CLOEXEC), (void)!::pipe2(out, O_CLOEXEC), (void)!::pipe2(err, O_CLOEXEC);
    for (const int fd : {in[0], out[1], err[1]}) theirs_.emplace_back(fd);
    spawned.pipes.in.reset(in[1]);
    spawned.pipes.out.reset(out[0]);
    spawned.pipes.err.reset(err[0]);
    processes[spec.id] = std::move(spec);
    co_return spawned;
  }
  Task<Result<Spawned>> spawn_direct(box::ProcessSpec spec, std::array<int, 3>) override {
    if (auto step = co_await enter("spawn_direct"); !step) co_return fail(std::move(step).error());
    if (auto made = make(spec.prepare); !made) co_return fail(std::move(made).error());
    processes[spec.id] = std::move(spec);
    Spawned spawned;
    spawned.pid = 100;
    co_return spawned;
  }
  Task<Result<void>> close_stdin(std::string, bool) override { return enter("close_stdin"); }
  Task<Result<void>> signal(std::string, int) override { return enter("signal"); }
  Task<Result<unsigned>> kill_uid(uid_t uid, int signal_number) override {
    if (auto step = co_await enter("kill_uid"); !step) co_return fail(std::move(step).error());
    std::vector<std::string> dead;
    for (const auto& [id, spec] : processes) {
      if (spec.uid == uid) dead.push_back(id);
    }
    for (const std::string& id : dead) {
      processes.erase(id);
      box::ProcessExit how;
      how.signal = signal_number;
      if (exit_) exit_(id, how);
    }
    co_return 0u;
  }
  Task<Result<std::vector<box::ProcessStatus>>> list() override {
    if (auto step = co_await enter("list"); !step) co_return fail(std::move(step).error());
    co_return std::vector<box::ProcessStatus>();
  }
  Task<Result<void>> forget(std::string) override { return enter("forget"); }

  Task<Result<void>> prepare(box::Preparation preparation) override {
    if (auto step = co_await enter("prepare"); !step) co_return step;
    co_return make(preparation);
  }
  Task<Result<void>> share_directory(std::string, gid_t) override { return enter("share_directory"); }
  Task<Result<UnpackTotals>> unpack(UnpackRequest request, UniqueFd stream) override {
    if (frozen) theirs_.emplace_back(::fcntl(stream.get(), F_DUPFD_CLOEXEC, 3));
    if (auto step = co_await enter("unpack"); !step) co_return fail(std::move(step).error());
    if (!request.into_existing && !tree_.has(parent(request.path))) co_return fail(Code::kNotFound, "no parent");
    struct Sink final : box::wire::StageSink {
      FakeTree& tree;
      const UnpackRequest& request;
      std::string last;
      Sink(FakeTree& t, const UnpackRequest& r) : tree(t), request(r) {}
      Result<void> directory(std::string_view path) override {
        tree.directory(request.path + "/" + std::string(path), request.uid, request.gid);
        return {};
      }
      Result<void> file(std::string_view path, std::uint64_t, bool) override {
        last = request.path + "/" + std::string(path);
        tree.file(last, "", request.uid, request.gid);
        return {};
      }
      Result<void> data(std::string_view bytes) override {
        tree.nodes[last].content += bytes;
        return {};
      }
      Result<void> file_end() override { return {}; }
      Result<void> link(std::string_view path, std::string_view target) override {
        tree.file(request.path + "/" + std::string(path), "-> " + std::string(target), request.uid, request.gid);
        return {};
      }
      Result<void> keep(std::string_view path, std::uint64_t, bool) override {
        const auto from = tree.nodes.find(request.previous + "/" + std::string(path));
        if (from == tree.nodes.end() || from->second.uid != request.uid)
          return fail(Code::kFailedPrecondition, "it is not there");
        tree.nodes[request.path + "/" + std::string(path)] = from->second;
        return {};
      }
    } sink(tree_, request);
    tree_.directory(request.path, request.uid, request.gid);
    box::wire::StageReader reader(sink);
    char buffer[4096];
    ::fcntl(stream.get(), F_SETFL, O_NONBLOCK);
    while (!reader.done()) {
      const ssize_t got = ::read(stream.get(), buffer, sizeof buffer);
      if (got < 0 && errno == EAGAIN) {
        co_await net::sleep_for(std::chrono::milliseconds(1));
        continue;
      }
      auto fed = got > 0 ? reader.feed({buffer, static_cast<std::size_t>(got)})
                         : Result<void>(fail(Code::kDataLoss, "the stream ended in the middle"));
      if (!fed) {
        tree_.remove(request.path);
        co_return fail(std::move(fed).error());
      }
    }
    co_return UnpackTotals{reader.totals().entries, reader.totals().bytes};
  }
  Task<Result<PackTotals>> pack(PackRequest request, UniqueFd stream) override {
    if (frozen) theirs_.emplace_back(::fcntl(stream.get(), F_DUPFD_CLOEXEC, 3));
    if (auto step = co_await enter("pack"); !step) co_return fail(std::move(step).error());
    if (!tree_.has(request.path)) co_return fail(Code::kNotFound, request.path + " is not there");
    if (tree_.nodes[request.path].uid != request.uid) co_return fail(Code::kPermissionDenied, "it is another's");
    std::string bytes(box::wire::kStageMagic);
    box::wire::StageTotals totals;
    for (const auto& [path, node] : tree_.nodes) {
      if (!path.starts_with(request.path + "/")) continue;
      const std::string relative = path.substr(request.path.size() + 1);
      ++totals.entries;
      totals.bytes += node.content.size();
      bytes += node.directory ? box::wire::stage_directory(relative)
                              : box::wire::stage_file(relative, node.content.size(), false) + node.content;
    }
    bytes += box::wire::stage_end(totals);
    (void)!::write(stream.get(), bytes.data(), bytes.size());
    co_return PackTotals{totals.entries, totals.bytes, skipped_by_pack};
  }
  std::uint64_t skipped_by_pack = 0;
  Task<Result<void>> publish(std::string from, std::string to, uid_t owner) override {
    if (auto step = co_await enter("publish"); !step) co_return step;
    if (parent(from) != parent(to)) co_return fail(Code::kInvalidArgument, "both must be in one directory");
    if (!tree_.has(from)) co_return fail(Code::kNotFound, from + " is not there");
    if (tree_.nodes[from].uid != owner) co_return fail(Code::kPermissionDenied, "it belongs to somebody else");
    tree_.remove(to);
    tree_.rename(from, to);
    co_return Result<void>{};
  }
  Task<Result<void>> seal(std::string, uid_t) override { return enter("seal"); }
  Task<Result<void>> remove_tree(std::string path, uid_t) override {
    if (auto step = co_await enter("remove_tree"); !step) co_return step;
    tree_.remove(path);
    co_return Result<void>{};
  }
  Task<Result<std::string>> read_file(std::string path, std::size_t) override {
    if (auto step = co_await enter("read_file"); !step) co_return fail(std::move(step).error());
    if (!tree_.has(path)) co_return fail(Code::kNotFound, path + " is not there");
    co_return tree_.text(path);
  }
  Task<Result<std::vector<std::string>>> list_directory(std::string path) override {
    if (auto step = co_await enter("list_directory"); !step) co_return fail(std::move(step).error());
    if (!tree_.has(path)) co_return fail(Code::kNotFound, path + " is not there");
    co_return names_in(path);
  }
  Task<Result<DirectoryLook>> look(std::string path, std::vector<std::string> files, std::size_t) override {
    if (auto step = co_await enter("look"); !step) co_return fail(std::move(step).error());
    if (!tree_.has(path)) co_return fail(Code::kNotFound, path + " is not there");
    DirectoryLook seen{names_in(path), {}};
    for (const std::string& name : files) {
      const std::string at = path + "/" + name;
      seen.contents.push_back(tree_.has(at) ? std::optional(tree_.text(at)) : std::nullopt);
    }
    co_return seen;
  }
  std::map<std::string, FoundFile> shown;  // what identify() finds
  Task<Result<std::vector<FoundFile>>> identify(std::vector<std::string> paths) override {
    if (auto step = co_await enter("identify"); !step) co_return fail(std::move(step).error());
    std::vector<FoundFile> found;
    for (const std::string& path : paths)
      found.push_back(shown.contains(path) ? shown.at(path) : FoundFile{{}, ENOENT});
    co_return found;
  }
  Task<Result<void>> take_group(box::GroupOfServers group) override {
    group_came = static_cast<bool>(group.directory);
    return enter("take_group");
  }
  Task<Result<void>> shutdown() override {
    processes.clear();
    return enter("shutdown");
  }

 private:
  static std::string parent(const std::string& path) { return path.substr(0, path.rfind('/')); }
  std::vector<std::string> names_in(const std::string& path) const {
    std::vector<std::string> names;
    for (const auto& [at, node] : tree_.nodes) {
      if (at != path && parent(at) == path) names.push_back(at.substr(path.size() + 1));
    }
    return names;
  }
  Result<void> make(const box::Preparation& preparation) {
    for (const box::Preparation::Tree& tree : preparation.trees) {
      for (std::size_t slash = tree.path.find('/', 1);; slash = tree.path.find('/', slash + 1)) {
        const std::string above = tree.path.substr(0, slash);
        if (!tree_.has(above)) tree_.directory(above, 0, 0);
        if (tree_.nodes[above].uid != 0) return fail(Code::kAlreadyExists, above + " belongs to somebody");
        if (slash == std::string::npos) break;
      }
      for (const std::string& child : tree.children) {
        const std::string at = tree.path + "/" + child;
        if (!tree_.has(at)) tree_.directory(at, tree.uid, tree.gid);
        const FakeTree::Node& node = tree_.nodes[at];
        if (node.uid != tree.uid || node.gid != tree.gid) return fail(Code::kAlreadyExists, at + " is another's");
      }
    }
    for (const box::Preparation::File& file : preparation.files) {
      if (!tree_.has(parent(file.path))) return fail(Code::kInternal, "no parent of " + file.path);
      tree_.file(file.path, file.content, 0, 0);
    }
    return {};
  }
  Task<Result<void>> enter(std::string name) {
    requests.push_back(name);
    if (before) co_return co_await before(name);
    co_return Result<void>{};
  }

  FakeTree& tree_;
  box::SupervisorInfo info_{.landlock_abi = 7, .seccomp = true, .kernel = "6.18"};
  ExitHandler exit_;
  LostHandler lost_;
  std::vector<UniqueFd> theirs_;
};

}  // namespace mcpbox::test
