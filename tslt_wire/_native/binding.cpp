// Thin glue between the kernel and Python: buffers in, objects out.  All decisions are the kernel's.
// It keeps to the stable ABI of Python 3.12 (CMakeLists.txt): no macro that looks into an object.
#include "binding.h"

namespace {

// What Python objects are made of, set once by the module that owns them.
struct shapes {
  PyObject *list_class, *frombuffer, *int32, *uint32, *int64, *precisions;
  newfunc make; // object.__new__
  PyObject *vocab_size, *precision, *ids, *codes, *tail, *prior, *weights, *left_out;
};
shapes py;

void configure(handle list_class, handle frombuffer, handle int32, handle uint32, handle int64, nb::tuple precisions) {
  py.list_class = list_class.inc_ref().ptr();
  py.frombuffer = frombuffer.inc_ref().ptr();
  py.int32 = int32.inc_ref().ptr();
  py.uint32 = uint32.inc_ref().ptr();
  py.int64 = int64.inc_ref().ptr();
  py.precisions = precisions.inc_ref().ptr();
  py.make = reinterpret_cast<newfunc>(PyType_GetSlot(&PyBaseObject_Type, Py_tp_new));
  PyObject **names[] = {&py.vocab_size, &py.precision, &py.ids, &py.codes, &py.tail, &py.prior, &py.weights, &py.left_out};
  const char *texts[] = {"vocab_size", "precision", "ids", "codes", "tail", "prior", "weights", "left_out"};
  for (size_t i = 0; i < 8; i++)
    *names[i] = PyUnicode_InternFromString(texts[i]);
}

object array(handle bytes, PyObject *dtype, Py_ssize_t count, Py_ssize_t offset) {
  object n = nb::steal(PyLong_FromSsize_t(count)), at = nb::steal(PyLong_FromSsize_t(offset));
  PyObject *args[] = {bytes.ptr(), dtype, n.ptr(), at.ptr()};
  PyObject *made = PyObject_Vectorcall(py.frombuffer, args, 4, nullptr);
  if (!made)
    throw nb::python_error();
  return nb::steal(made);
}

void put(const object &o, PyObject *name, handle value) {
  if (PyObject_GenericSetAttr(o.ptr(), name, value.ptr()) != 0)
    throw nb::python_error();
}

object slice(const object &array, Py_ssize_t from, Py_ssize_t to) {
  PyObject *made = PySequence_GetSlice(array.ptr(), from, to);
  if (!made)
    throw nb::python_error();
  return nb::steal(made);
}

// A SparseDistribution without its checks, which the kernel has made.
object make_list(const tslt_list &list, uint32_t vocab_size, handle precision, handle prior, handle ids, handle codes,
                 handle weights) {
  object made = nb::steal(py.make(reinterpret_cast<PyTypeObject *>(py.list_class), nb::tuple().ptr(), nullptr));
  if (!made.is_valid())
    throw nb::python_error();
  put(made, py.vocab_size, nb::int_(vocab_size));
  put(made, py.precision, precision);
  put(made, py.ids, ids);
  put(made, py.codes, codes);
  put(made, py.weights, weights);
  put(made, py.tail, nb::int_(list.tail));
  put(made, py.left_out, nb::float_(list.left_out));
  put(made, py.prior, list.tail ? prior : handle(Py_None));
  return made;
}

// Lists that lie one after another in the context.  Their arrays are parts of one bytes object, so they are read-only.
std::vector<object> make_lists(const tslt_list *lists, size_t count, uint32_t vocab_size, int precision, handle prior) {
  std::vector<object> made;
  Py_ssize_t n = 0, at = 0;
  for (size_t i = 0; i < count; i++)
    n += lists[i].count;
  if (!n)
    return made;
  object blob = nb::steal(PyBytes_FromStringAndSize(nullptr, 16 * n));
  if (!blob.is_valid())
    throw nb::python_error();
  char *bytes = PyBytes_AsString(blob.ptr());
  memcpy(bytes, lists->weights, 8 * static_cast<size_t>(n));
  memcpy(bytes + 8 * n, lists->ids, 4 * static_cast<size_t>(n));
  memcpy(bytes + 12 * n, lists->codes, 4 * static_cast<size_t>(n));
  object ids = array(blob, py.int32, n, 8 * n), codes = array(blob, py.uint32, n, 12 * n);
  object weights = array(blob, py.int64, n, 0);
  handle name = PyTuple_GetItem(py.precisions, precision);
  made.reserve(count);
  for (size_t i = 0; i < count; at += lists[i++].count) {
    if (count == 1) {
      made.push_back(make_list(lists[i], vocab_size, name, prior, ids, codes, weights));
    } else {
      Py_ssize_t end = at + lists[i].count;
      made.push_back(make_list(lists[i], vocab_size, name, prior, slice(ids, at, end), slice(codes, at, end),
                               slice(weights, at, end)));
    }
  }
  return made;
}

tslt_profile profile_of(uint32_t vocab_size, int precision, int entropy, const prior_tables *tables) {
  if (tables && tables->arrays.front().size() != 8 * (static_cast<size_t>(vocab_size) + 1))
    throw nb::value_error("the prior is for another vocabulary size");
  return {vocab_size, precision, entropy, tables ? &tables->prior : nullptr};
}

// Arrays of a SparseDistribution for as long as this lives.
struct list_view {
  memory ids, codes;
  tslt_list list;
  list_view(list_view &&) = default;
  explicit list_view(handle q)
      : ids(nb::steal(PyObject_GetAttr(q.ptr(), py.ids))), codes(nb::steal(PyObject_GetAttr(q.ptr(), py.codes))) {
    if (ids.size() != codes.size() || ids.size() / 4 > TSLT_MAX_VOCAB_SIZE)
      throw nb::value_error("a list needs as many codes as ids");
    list = {static_cast<uint32_t>(ids.size() / 4), nb::cast<uint32_t>(q.attr(py.tail)), ids.as<int32_t>(),
            codes.as<uint32_t>(), nullptr, 0};
  }
};

// Call `write(out, capacity, &size)` with a buffer that is large enough; an error code, or bytes.
template <typename F> object written(size_t bound, F write) {
  uint8_t small[16384];
  std::unique_ptr<uint8_t[]> large;
  uint8_t *out = small;
  size_t capacity = sizeof small, size = 0;
  int error = write(out, capacity, &size);
  if (error == TSLT_NO_SPACE && bound > capacity) {
    large.reset(new uint8_t[bound]);
    out = large.get();
    error = write(out, bound, &size);
  }
  if (error)
    return refused(error);
  return nb::bytes(out, size);
}

object encode_list(handle q, uint32_t vocab_size, int precision, int entropy, const prior_tables *tables) {
  list_view view(q);
  tslt_profile profile = profile_of(vocab_size, precision, entropy, tables);
  return written(tslt_encode_bound(vocab_size, view.list.count, 1, 0), [&](uint8_t *out, size_t capacity, size_t *size) {
    return tslt_encode_list(context(), &profile, &view.list, out, capacity, size);
  });
}

object decode_list(handle data, uint32_t vocab_size, int precision, int entropy, const prior_tables *tables,
                   handle prior, uint64_t max_frame_bytes, uint64_t max_entries) {
  memory bytes(data);
  tslt_profile profile = profile_of(vocab_size, precision, entropy, tables);
  tslt_limits limits = tslt_default_limits();
  limits.max_frame_bytes = max_frame_bytes;
  limits.max_entries = max_entries;
  tslt_list list;
  int error = tslt_decode_list(context(), &profile, &limits, bytes.as<uint8_t>(), bytes.size(), &list);
  if (error)
    return refused(error);
  return make_lists(&list, 1, vocab_size, precision, prior)[0];
}

// -------------------------------------------------------------------------------------------------------- sparsify

// Lists of logits (V,) or (N, V); an error code; or None for an array that the kernel does not take.
object sparsify(const logits_array &logits, size_t dimensions, double temperature, int truncate, uint32_t top_k,
                double top_p, double min_prob, int precision, handle prior, double tail_scale, double least_tail) {
  int dtype = dtype_of(logits);
  size_t rows = dimensions == 2 ? logits.shape(0) : 1;
  if (logits.ndim() != dimensions || dtype < 0)
    return nb::none();
  size_t vocab_size = logits.shape(dimensions - 1);
  if (vocab_size < 1 || vocab_size > TSLT_MAX_VOCAB_SIZE)
    return nb::none();
  tslt_sparsify_options options{};
  options.temperature = temperature;
  options.precision = precision;
  options.truncate = truncate;
  options.truncation = {top_k, top_p, min_prob};
  options.tail_scale = tail_scale;
  options.least_tail = least_tail;
  options.has_prior = !prior.is_none();
  std::vector<tslt_list> lists(rows);
  tslt_context *own = context();
  int error;
  {
    nb::gil_scoped_release unlocked;
    error = tslt_sparsify(own, logits.data(), dtype, static_cast<uint32_t>(vocab_size), rows,
                          vocab_size * logits.itemsize(), &options, lists.data());
  }
  if (error)
    return refused(error);
  std::vector<object> made = make_lists(lists.data(), rows, static_cast<uint32_t>(vocab_size), precision, prior);
  if (dimensions == 1)
    return made[0];
  nb::list all;
  for (const object &list : made)
    all.append(list);
  return all;
}

// ----------------------------------------------------------------------------------------------------------- coupling

// Doubles, as the bytes of an array.
object uniforms(nb::bytes key, uint32_t epoch, uint32_t position, handle ids) {
  memory tokens(ids);
  size_t count = tokens.size() / sizeof(int32_t);
  if (key.size() != 8)
    throw nb::value_error("a coupling key has 8 bytes");
  object made = nb::steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(count * sizeof(double))));
  if (!made.is_valid())
    throw nb::python_error();
  double *numbers = reinterpret_cast<double *>(PyBytes_AsString(made.ptr()));
  nb::gil_scoped_release unlocked;
  tslt_uniforms(reinterpret_cast<const uint8_t *>(key.c_str()), epoch, position, tokens.as<int32_t>(), count, numbers);
  return made;
}

// ---------------------------------------------------------------------------------------------------------- drafts

std::vector<int32_t> numbers(nb::tuple values) {
  std::vector<int32_t> found;
  found.reserve(values.size());
  for (handle value : values)
    found.push_back(nb::cast<int32_t>(value));
  return found;
}

nb::tuple numbers(const int32_t *values, size_t count) {
  PyObject *made = PyTuple_New(static_cast<Py_ssize_t>(count));
  if (!made)
    throw nb::python_error();
  for (size_t i = 0; i < count; i++)
    PyTuple_SetItem(made, static_cast<Py_ssize_t>(i), PyLong_FromLong(values[i]));
  return nb::steal<nb::tuple>(made);
}

object encode_draft(uint32_t round, uint32_t prefix_length, uint32_t prefix_hash, int precision, bool replacement,
                    nb::tuple parents, nb::tuple tokens, nb::sequence lists, nb::bytes extensions, uint32_t vocab_size,
                    int entropy, const prior_tables *tables) {
  std::vector<int32_t> parent_of = numbers(parents), token_of = numbers(tokens);
  std::vector<list_view> views;
  std::vector<tslt_list> plain;
  size_t entries = 0;
  views.reserve(nb::len(lists));
  for (handle q : lists) {
    views.emplace_back(q);
    plain.push_back(views.back().list);
    entries += plain.back().count;
  }
  if (parent_of.size() != token_of.size())
    throw nb::value_error("a tree has as many parents as tokens");
  tslt_profile profile = profile_of(vocab_size, precision, entropy, tables);
  tslt_draft draft{};
  draft.round = round;
  draft.prefix_length = prefix_length;
  draft.prefix_hash = prefix_hash;
  draft.precision = precision;
  draft.without_replacement = !replacement;
  draft.node_count = static_cast<uint32_t>(parent_of.size());
  draft.parents = parent_of.data();
  draft.tokens = token_of.data();
  draft.list_count = static_cast<uint32_t>(plain.size());
  draft.lists = plain.data();
  draft.extensions = reinterpret_cast<const uint8_t *>(extensions.c_str());
  draft.extensions_size = extensions.size();
  size_t bound = tslt_encode_bound(vocab_size, entries, plain.size(), parent_of.size()) + extensions.size() + 64;
  return written(bound, [&](uint8_t *out, size_t capacity, size_t *size) {
    return tslt_encode_draft(context(), &profile, &draft, out, capacity, size);
  });
}

object decode_draft(handle data, uint32_t vocab_size, int entropy, const prior_tables *tables, handle prior,
                    uint64_t max_frame_bytes, uint64_t max_nodes, uint64_t max_leaves, uint64_t max_depth,
                    uint64_t max_entries, uint64_t max_extensions) {
  memory bytes(data);
  tslt_profile profile = profile_of(vocab_size, 0, entropy, tables);
  tslt_limits limits = {max_frame_bytes, max_nodes, max_leaves, max_depth, max_entries, max_extensions};
  tslt_draft draft;
  int error = tslt_decode_draft(context(), &profile, &limits, bytes.as<uint8_t>(), bytes.size(), &draft);
  if (error)
    return refused(error);
  nb::dict lists;
  std::vector<object> made = make_lists(draft.lists, draft.list_count, vocab_size, draft.precision, prior);
  for (uint32_t i = 0; i < draft.list_count; i++)
    lists[nb::int_(draft.list_parents[i])] = made[i];
  return nb::make_tuple(draft.round, draft.prefix_length, draft.prefix_hash, draft.without_replacement == 0,
                        numbers(draft.parents, draft.node_count), numbers(draft.tokens, draft.node_count), lists,
                        nb::bytes(draft.extensions_size ? draft.extensions : bytes.as<uint8_t>(),
                                  draft.extensions_size));
}

} // namespace

int dtype_of(const logits_array &logits) {
  nb::dlpack::dtype type = logits.dtype();
  if (type == nb::dtype<float>())
    return TSLT_FLOAT32;
  if (type == nb::dtype<double>())
    return TSLT_FLOAT64;
  if (type.code == static_cast<uint8_t>(nb::dlpack::dtype_code::Float) && type.bits == 16 && type.lanes == 1)
    return TSLT_FLOAT16;
  if (type.code == static_cast<uint8_t>(nb::dlpack::dtype_code::Bfloat) && type.bits == 16 && type.lanes == 1)
    return TSLT_BFLOAT16;
  return -1;
}

NB_MODULE(_kernel, m) {
  m.doc() = "The native kernel; the public functions of tslt_wire's layers call it.";
  nb::class_<prior_tables>(m, "PriorTables").def(nb::init<handle, nb::sequence>());
  nb::set_leak_warnings(false); // priors live in caches until the interpreter is gone
  m.attr("BAD_LOGITS") = static_cast<int>(TSLT_BAD_LOGITS);
  m.attr("DRAFT_LIST") = static_cast<int>(TSLT_DRAFT_LIST);
  m.def("encode_bound", &tslt_encode_bound);
  m.def("configure", &configure);
  m.def("encode_list", &encode_list, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none());
  m.def("decode_list", &decode_list, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg().none(),
        nb::arg(), nb::arg());
  m.def("sparsify", &sparsify, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(),
        nb::arg().none(), nb::arg(), nb::arg());
  m.def("uniforms", &uniforms);
  m.def("encode_draft", &encode_draft, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(),
        nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none());
  m.def("decode_draft", &decode_draft, nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg().none(), nb::arg(),
        nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg());
  add_rows(m);
}
