// What the parts of the binding share: the thread's context, memory of Python objects, priors.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>
#include <vector>

#include "tslt_wire.h"

namespace nb = nanobind;
using nb::handle;
using nb::object;

using logits_array = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

// The kernel's number of an array's type, or -1.
int dtype_of(const logits_array &logits);

// Add the classes of target rows to the module.
void add_rows(nb::module_ &m);

// One context a thread: they are cheap to keep, and nothing has to be locked.
inline tslt_context *context() {
  struct deleter {
    void operator()(tslt_context *c) const { tslt_context_free(c); }
  };
  static thread_local std::unique_ptr<tslt_context, deleter> own(tslt_context_new());
  if (!own)
    throw std::bad_alloc();
  return own.get();
}

// What is given back in the place of what the kernel did not make; MemoryError where memory ran out.
inline nb::object refused(int error) {
  if (error == TSLT_NO_MEMORY)
    throw std::bad_alloc();
  return nb::int_(error);
}

// Memory of a Python object for as long as this lives.
struct memory {
  Py_buffer view;
  explicit memory(handle h) {
    if (PyObject_GetBuffer(h.ptr(), &view, PyBUF_SIMPLE) != 0)
      throw nb::python_error();
  }
  memory(memory &&other) noexcept : view(other.view) { other.view.obj = nullptr; }
  memory(const memory &) = delete;
  ~memory() {
    if (view.obj)
      PyBuffer_Release(&view);
  }
  template <typename T> const T *as() const { return static_cast<const T *>(view.buf); }
  size_t size() const { return static_cast<size_t>(view.len); }
};

// Running sums of a prior's weights, kept alive by their arrays.
struct prior_tables {
  std::vector<memory> arrays;
  tslt_prior prior{};
  prior_tables(const prior_tables &) = delete;
  prior_tables(handle tail, nb::sequence rows) {
    arrays.emplace_back(tail);
    prior.tail = arrays.back().as<int64_t>();
    size_t i = 0;
    for (handle row : rows) {
      arrays.emplace_back(row);
      if (i == 4 || arrays.back().size() != arrays.front().size())
        throw nb::value_error("a prior has one array of running sums for its tail, and none or four more as long");
      prior.rows[i++] = arrays.back().as<int64_t>();
    }
    if (i != 0 && i != 4)
      throw nb::value_error("a table has four rows besides the tail's");
  }
};
