#pragma once
#include <cstddef>
#include <memory>
#include <new>

namespace noisefloor {

/// An array on a cache line's boundary, of trivial elements that start uninitialised (so pages that nobody touches
/// cost nothing).
template <typename T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t size) { reserve(size); }

  /// Grows to at least `size` elements; the old contents are lost.
  void reserve(size_t size) {
    if (size <= size_) return;
    data_.reset();
    data_.reset(static_cast<T*>(::operator new(size * sizeof(T), alignment)));
    size_ = size;
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_.get()[i]; }
  const T& operator[](size_t i) const { return data_.get()[i]; }

 private:
  static constexpr std::align_val_t alignment{64};
  struct Free {
    void operator()(T* p) const { ::operator delete(p, alignment); }
  };
  std::unique_ptr<T, Free> data_;
  size_t size_ = 0;
};

}  // namespace noisefloor
