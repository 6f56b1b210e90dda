// Target rows and residuals for Python: thin, all decisions are the kernel's.
#include "binding.h"

namespace {

// Doubles, as the bytes of an array; `fill` writes them.
template <typename F> object doubles(size_t count, F fill) {
  object made = nb::steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(count * sizeof(double))));
  if (!made.is_valid())
    throw nb::python_error();
  double *numbers = reinterpret_cast<double *>(PyBytes_AsString(made.ptr()));
  nb::gil_scoped_release unlocked;
  fill(numbers);
  return made;
}

// What the capsule of a numpy bit generator points to (numpy/random/bitgen.h).
struct bit_generator {
  void *state;
  uint64_t (*next_uint64)(void *);
  uint32_t (*next_uint32)(void *);
  double (*next_double)(void *);
  uint64_t (*next_raw)(void *);
};

struct row_object {
  logits_array logits;
  std::vector<memory> changes; // ids, scores, allowed: those that there are
  tslt_row *row = nullptr;
  uint32_t vocab_size = 0;
  row_object() = default;
  row_object(const row_object &) = delete;
  ~row_object() { tslt_row_free(row); }
  double prob(uint32_t token) const { return tslt_row_prob(row, token); }
  uint32_t draw(double u) const { return tslt_row_draw(row, u); }
  object probs() const {
    return doubles(vocab_size, [&](double *numbers) { tslt_row_probs(row, numbers); });
  }
  uint32_t race(nb::bytes key, uint32_t epoch, uint32_t position) const {
    if (key.size() != 8)
      throw nb::value_error("a coupling key has 8 bytes");
    nb::gil_scoped_release unlocked;
    return tslt_row_race(row, reinterpret_cast<const uint8_t *>(key.c_str()), epoch, position);
  }
  // Tokens, codes and whether they are rounded up, of `count` proposals.  The caller holds the generator's lock.
  object propose(nb::capsule generator, uint32_t count) const {
    const bit_generator *numbers = static_cast<const bit_generator *>(generator.data("BitGenerator"));
    std::vector<tslt_proposal> made(count);
    tslt_row_propose(row, numbers->next_double, numbers->state, count, made.data());
    nb::list found;
    for (const tslt_proposal &each : made)
      found.append(nb::make_tuple(each.token, each.code, each.up != 0));
    return found;
  }
};

const memory *keep(row_object &made, handle value, size_t bytes) {
  if (value.is_none())
    return nullptr;
  made.changes.emplace_back(value);
  if (made.changes.back().size() != bytes)
    throw nb::value_error("an array that belongs to the logits has another size");
  return &made.changes.back();
}

// The row of logits (V,), or row `at` of logits (N, V); an error code; or None for an array that the kernel does not take.  `ids` int32 ascending with
// their `scores` float64, and `allowed`, a byte a token, may be None.
object make_row(const logits_array &logits, size_t at, double temperature, uint32_t top_k, double top_p, double min_p, handle ids,
                handle scores, handle allowed) {
  int dtype = dtype_of(logits);
  size_t dimensions = logits.ndim();
  if (dimensions < 1 || dimensions > 2 || dtype < 0 || (dimensions == 2 && at >= logits.shape(0)))
    return nb::none();
  size_t size = logits.shape(dimensions - 1);
  if (size < 1 || size > TSLT_MAX_VOCAB_SIZE)
    return nb::none();
  const char *first = static_cast<const char *>(logits.data()) + (dimensions == 2 ? at * size * logits.itemsize() : 0);
  auto made = std::make_unique<row_object>();
  made->logits = logits;
  made->vocab_size = static_cast<uint32_t>(size);
  made->changes.reserve(3);
  tslt_sampling sampling = {temperature, top_k, top_p, min_p};
  tslt_changes changes{};
  if (!ids.is_none()) {
    made->changes.emplace_back(ids);
    changes.count = made->changes.back().size() / sizeof(int32_t);
    changes.ids = made->changes.back().as<int32_t>();
    const memory *given = keep(*made, scores, changes.count * sizeof(double));
    changes.scores = given ? given->as<double>() : nullptr;
    changes.count = given ? changes.count : 0;
  }
  if (const memory *given = keep(*made, allowed, made->vocab_size))
    changes.allowed = given->as<uint8_t>();
  tslt_context *own = context();
  int error;
  {
    nb::gil_scoped_release unlocked;
    error = tslt_row_new(own, first, dtype, made->vocab_size, &sampling, &changes, &made->row);
  }
  if (error)
    return nb::int_(error);
  return nb::cast(made.release(), nb::rv_policy::take_ownership);
}

struct residual_object {
  object row;
  object tables;
  tslt_residual *residual = nullptr;
  uint32_t vocab_size = 0;
  residual_object() = default;
  residual_object(const residual_object &) = delete;
  ~residual_object() { tslt_residual_free(residual); }
  double share(uint32_t token) const { return tslt_residual_share(residual, token); }
  int reject(uint32_t token) {
    nb::gil_scoped_release unlocked;
    return tslt_residual_reject(residual, token);
  }
  uint32_t draw(double u) const { return tslt_residual_draw(residual, u); }
  object probs() const {
    return doubles(vocab_size, [&](double *numbers) { tslt_residual_probs(residual, numbers); });
  }
};

// The list of a node, as Python has it: `ids` int32 and `weights` int64.
struct list_view {
  memory ids, weights;
  const prior_tables *tables;
  tslt_list list{};
  list_view(const row_object &row, handle ids, handle weights, uint32_t tail, handle tables)
      : ids(ids), weights(weights), tables(tables.is_none() ? nullptr : nb::cast<const prior_tables *>(tables)) {
    if (this->tables && this->tables->arrays.front().size() != 8 * (static_cast<size_t>(row.vocab_size) + 1))
      throw nb::value_error("the prior is for another vocabulary size");
    size_t count = this->ids.size() / sizeof(int32_t);
    if (this->weights.size() != count * sizeof(int64_t) || count > row.vocab_size)
      throw nb::value_error("a list needs as many weights as ids");
    list = {static_cast<uint32_t>(count), tail, this->ids.as<int32_t>(), nullptr, this->weights.as<int64_t>(), 0};
  }
  const tslt_prior *prior() const { return tables ? &tables->prior : nullptr; }
};

// What is left of `row` as children of a list are rejected, or after the rejection of a lazy draft.  `ids` int32 and
// `weights` int64 are the list's; an error code in place of it.
object make_residual(handle row, handle ids, handle weights, uint32_t tail, handle tables, bool without_replacement,
                     bool lazy) {
  const row_object &of = nb::cast<const row_object &>(row);
  list_view view(of, ids, weights, tail, tables);
  auto made = std::make_unique<residual_object>();
  made->row = nb::borrow(row);
  made->tables = nb::borrow(tables);
  made->vocab_size = of.vocab_size;
  int error;
  {
    nb::gil_scoped_release unlocked;
    error = lazy ? tslt_residual_lazy(of.row, &view.list, view.prior(), &made->residual)
                 : tslt_residual_new(of.row, &view.list, view.prior(), without_replacement, &made->residual);
  }
  if (error)
    return nb::int_(error);
  return nb::cast(made.release(), nb::rv_policy::take_ownership);
}

// The children of a node, tried in turn: the index of the one that is accepted, or None, and the token; or an error code.
// The caller holds the generator's lock.
object try_children(handle row, handle ids, handle weights, uint32_t tail, handle tables, bool without_replacement,
                    nb::sequence tokens, nb::capsule generator) {
  const row_object &of = nb::cast<const row_object &>(row);
  list_view view(of, ids, weights, tail, tables);
  std::vector<int32_t> children;
  for (handle each : tokens)
    children.push_back(nb::cast<int32_t>(each));
  const bit_generator *numbers = static_cast<const bit_generator *>(generator.data("BitGenerator"));
  uint32_t count = static_cast<uint32_t>(children.size()), accepted, token;
  int error;
  {
    nb::gil_scoped_release unlocked;
    error = tslt_try_children(of.row, &view.list, view.prior(), without_replacement, children.data(), count,
                              numbers->next_double, numbers->state, &accepted, &token);
  }
  if (error)
    return nb::int_(error);
  return nb::make_tuple(accepted < count ? object(nb::int_(accepted)) : object(nb::none()), token);
}

} // namespace

void add_rows(nb::module_ &m) {
  nb::class_<row_object>(m, "Row")
      .def("prob", &row_object::prob)
      .def("draw", &row_object::draw)
      .def("probs", &row_object::probs)
      .def("race", &row_object::race)
      .def("propose", &row_object::propose);
  nb::class_<residual_object>(m, "Residual")
      .def("share", &residual_object::share)
      .def("reject", &residual_object::reject)
      .def("draw", &residual_object::draw)
      .def("probs", &residual_object::probs);
  m.def("make_row", &make_row, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(),
        nb::arg().none(), nb::arg().none());
  m.def("try_children", &try_children, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg(),
        nb::arg(), nb::arg());
  m.def("make_residual", &make_residual, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg(),
        nb::arg());
}
