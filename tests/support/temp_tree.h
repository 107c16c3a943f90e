// A temporary folder with files for one test, deleted with all its content at the end.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

namespace mcpbox::test {

class TempTree {
 public:
  TempTree() {
    std::string pattern = (std::filesystem::temp_directory_path() / "mcpbox-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    root_ = std::filesystem::canonical(pattern).string();
  }
  ~TempTree() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  TempTree(const TempTree&) = delete;
  TempTree& operator=(const TempTree&) = delete;

  const std::string& root() const { return root_; }
  std::string path(const std::string& relative) const { return relative.empty() ? root_ : root_ + "/" + relative; }

  // Parents are made as needed; the functions give the absolute path.
  std::string dir(const std::string& relative) const {
    std::filesystem::create_directories(path(relative));
    return path(relative);
  }
  std::string file(const std::string& relative, const std::string& content = "", mode_t mode = 0644) const {
    std::filesystem::create_directories(std::filesystem::path(path(relative)).parent_path());
    std::ofstream(path(relative), std::ios::binary) << content;
    ::chmod(path(relative).c_str(), mode);
    return path(relative);
  }
  std::string link(const std::string& relative, const std::string& target) const {
    std::filesystem::create_directories(std::filesystem::path(path(relative)).parent_path());
    std::filesystem::create_symlink(target, path(relative));
    return path(relative);
  }

 private:
  std::string root_;
};

}  // namespace mcpbox::test
