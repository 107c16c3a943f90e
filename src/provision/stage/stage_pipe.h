// One archive from this host into a sandbox: somebody writes it on the pool while PID 1 unpacks it.
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <string>

#include "box/link/stage_writer.h"
#include "box/link/supervisor.h"
#include "net/task.h"
#include "workspace/stage.h"
#include "workspace/tree_digest.h"

namespace mcpbox::provision {

// Sends a file's content and gives the digest of the bytes that were sent. `shown`: how errors call the file.
Result<std::string> send_and_digest(box::StageWriter& writer, const std::string& path, std::uint64_t size,
                                    bool executable, int fd, std::string_view shown);

// workspace's walk and box's stream do not know each other; they meet here. `prefix` is empty or ends with '/'.
class StreamSink : public workspace::WalkSink {
 public:
  StreamSink(box::StageWriter& writer, std::string prefix) : writer_(writer), prefix_(std::move(prefix)) {}
  Result<void> directory(std::string_view path) override { return writer_.directory(prefix_ + std::string(path)); }
  Result<void> file(std::string_view path, std::uint64_t size, bool executable, int fd) override {
    return writer_.file(prefix_ + std::string(path), size, executable, fd);
  }
  Result<void> symlink(std::string_view path, std::string_view target) override {
    return writer_.symlink(prefix_ + std::string(path), target);
  }

 protected:
  box::StageWriter& writer_;
  std::string prefix_;
};

// The same, and tells by workspace::tree_digest() what it was that it sent.
class DigestingSink final : public StreamSink {
 public:
  using StreamSink::StreamSink;
  Result<void> directory(std::string_view path) override {
    digest_.directory(path);
    return StreamSink::directory(path);
  }
  Result<void> file(std::string_view path, std::uint64_t size, bool executable, int fd) override;
  Result<void> symlink(std::string_view path, std::string_view target) override {
    digest_.symlink(path, target);
    return StreamSink::symlink(path, target);
  }
  std::string finish() { return digest_.finish(); }

 private:
  workspace::TreeDigest digest_;
};

// Writes the archive, all but its end entry. Runs on the pool and owns all that it needs, so that it can be abandoned:
// when the unpacker has answered, when the request's time is over or when the coroutine is cancelled, writes that would
// have to wait fail, and it ends by that.
using Fill = std::function<Result<workspace::StageReport>(box::StageWriter&)>;

// What `fill` refuses is the answer before what the unpacker says: it then only saw a stream that broke off.
Task<Result<workspace::StageReport>> stream_into(boost::asio::thread_pool& pool, box::Supervisor& supervisor,
                                                 box::Supervisor::UnpackRequest request, Fill fill);

}  // namespace mcpbox::provision
