// Bytes that arrive at one end and are taken from the other.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

namespace mcpbox {

// As std::string, but what has a mebibyte and more grows without being copied: realloc(3) moves the pages of an area of
// its own (mremap(2)). So a line of 16 MiB neither stops its loop at each doubling, nor is there twice for a moment.
// That an area is one of its own for its size, main() sees to (mallopt(3), M_MMAP_THRESHOLD).
// Throws std::bad_alloc, as containers do. Views are valid until the next append(), erase_front() or clear().
class GrowingBytes {
 public:
  GrowingBytes() = default;
  GrowingBytes(GrowingBytes&& other) noexcept { *this = std::move(other); }
  GrowingBytes& operator=(GrowingBytes&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }

  std::string_view view() const { return {data_.get(), size_}; }
  std::size_t size() const { return size_; }
  std::size_t capacity() const { return capacity_; }

  void append(std::string_view bytes) {
    if (bytes.empty()) return;
    if (bytes.size() > capacity_ - size_) grow(size_ + bytes.size());
    std::memcpy(data_.get() + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
  }

  // Moves what is behind the first `count` bytes, which there must be, to the front.
  void erase_front(std::size_t count) {
    std::memmove(data_.get(), data_.get() + count, size_ - count);
    size_ -= count;
  }

  // Memory above `keep` bytes is given back.
  void clear(std::size_t keep) {
    size_ = 0;
    if (capacity_ <= keep) return;
    data_.reset();
    capacity_ = 0;
  }

 private:
  struct Free {
    void operator()(char* bytes) const { std::free(bytes); }
  };

  void grow(std::size_t needed) {
    std::size_t wanted = capacity_ < 64 ? 64 : capacity_;
    while (wanted < needed) wanted *= 2;
    char* const grown = static_cast<char*>(std::realloc(data_.get(), wanted));
    if (grown == nullptr) throw std::bad_alloc();
    (void)data_.release();  // realloc() took it
    data_.reset(grown);
    capacity_ = wanted;
  }

  std::unique_ptr<char, Free> data_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace mcpbox
