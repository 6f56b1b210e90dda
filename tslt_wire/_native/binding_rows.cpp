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

// Logits (V,), or of logits (N, V) row `at`; false for an array that the kernel does not take.
struct one_row {
  const void *first = nullptr;
  uint32_t size = 0;
  int dtype;
  one_row(const logits_array &logits, size_t at) : dtype(dtype_of(logits)) {
    size_t dimensions = logits.ndim();
    if (dimensions < 1 || dimensions > 2 || dtype < 0 || (dimensions == 2 && at >= logits.shape(0)))
      return;
    size_t count = logits.shape(dimensions - 1);
    if (count < 1 || count > TSLT_MAX_VOCAB_SIZE)
      return;
    size = static_cast<uint32_t>(count);
    first = static_cast<const char *>(logits.data()) + (dimensions == 2 ? at * count * logits.itemsize() : 0);
  }
};

std::vector<int32_t> tokens_of(handle tokens) {
  std::vector<int32_t> found;
  for (handle each : nb::cast<nb::tuple>(tokens)) {
    long long token = PyLong_AsLongLong(each.ptr());
    if (token == -1 && PyErr_Occurred())
      throw nb::python_error();
    found.push_back(token < 0 || token > INT32_MAX ? -1 : static_cast<int32_t>(token)); // -1: of no row
  }
  return found;
}

// A text, and settings that depend on it.
struct text_object {
  std::vector<tslt_seen> seen;
  std::vector<int32_t> biased, never;
  std::vector<double> bias;
  tslt_adjustments how;
  text_object(nb::tuple prompt, nb::tuple output, double repetition, double frequency, double presence,
              nb::tuple biased, handle bias, nb::tuple never)
      : biased(tokens_of(biased)), never(tokens_of(never)) {
    std::vector<int32_t> before = tokens_of(prompt), after = tokens_of(output);
    memory numbers(bias);
    this->bias.assign(numbers.as<double>(), numbers.as<double>() + this->biased.size());
    if (numbers.size() != this->biased.size() * sizeof(double))
      throw nb::value_error("a bias is needed for each token");
    seen.resize(before.size() + after.size());
    seen.resize(tslt_count_tokens(before.data(), before.size(), after.data(), after.size(), seen.data()));
    how = {repetition, frequency, presence, this->biased.size(), this->never.size(), this->biased.data(),
           this->bias.data(), this->never.data()};
  }
  text_object(const text_object &) = delete;
  // Ids int32 and scores float64, as bytes, that replace logits behind the tokens of a path; None for tokens of no row.
  object edits(const logits_array &logits, size_t at, nb::tuple path) const {
    one_row row(logits, at);
    if (!row.first)
      throw nb::type_error("the kernel takes no logits of this type");
    std::vector<int32_t> more = tokens_of(path);
    std::vector<tslt_seen> all(seen);
    all.resize(seen.size() + more.size());
    size_t count = tslt_count_more(all.data(), seen.size(), more.data(), more.size());
    size_t most = count + biased.size() + never.size();
    std::vector<int32_t> ids(most);
    std::vector<double> scores(most);
    if (tslt_adjust(row.first, row.dtype, row.size, &how, all.data(), count, ids.data(), scores.data(), &count))
      return nb::none();
    return nb::make_tuple(nb::bytes(reinterpret_cast<const char *>(ids.data()), count * sizeof(int32_t)),
                          nb::bytes(reinterpret_cast<const char *>(scores.data()), count * sizeof(double)));
  }
};

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
  object first(nb::bytes key, uint32_t epoch, uint32_t position, uint32_t count) const {
    if (key.size() != 8)
      throw nb::value_error("a coupling key has 8 bytes");
    count = std::min(count, vocab_size);
    std::vector<uint32_t> tokens(count);
    std::vector<double> times(count);
    {
      nb::gil_scoped_release unlocked;
      const uint8_t *bytes = reinterpret_cast<const uint8_t *>(key.c_str());
      tokens.resize(tslt_row_first(row, bytes, epoch, position, count, tokens.data(), times.data()));
    }
    nb::list found;
    for (uint32_t token : tokens)
      found.append(token);
    return found;
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
  one_row row(logits, at);
  if (!row.first)
    return nb::none();
  auto made = std::make_unique<row_object>();
  made->logits = logits;
  made->vocab_size = row.size;
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
    error = tslt_row_new(own, row.first, row.dtype, row.size, &sampling, &changes, &made->row);
  }
  if (error)
    return refused(error);
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
  double owed() const { return tslt_residual_owed(residual); }
  double share(uint32_t token) const { return tslt_residual_share(residual, token); }
  object reject(uint32_t token) {
    int error;
    {
      nb::gil_scoped_release unlocked;
      error = tslt_residual_reject(residual, token);
    }
    return error ? refused(error) : object(nb::none());
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
                     double owed, bool lazy) {
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
                 : tslt_residual_new(of.row, &view.list, view.prior(), without_replacement, owed, &made->residual);
  }
  if (error)
    return refused(error);
  return nb::cast(made.release(), nb::rv_policy::take_ownership);
}

} // namespace

void add_rows(nb::module_ &m) {
  nb::class_<row_object>(m, "Row")
      .def("prob", &row_object::prob)
      .def("draw", &row_object::draw)
      .def("probs", &row_object::probs)
      .def("race", &row_object::race)
      .def("first", &row_object::first)
      .def("propose", &row_object::propose);
  nb::class_<text_object>(m, "Text")
      .def(nb::init<nb::tuple, nb::tuple, double, double, double, nb::tuple, handle, nb::tuple>())
      .def("edits", &text_object::edits);
  nb::class_<residual_object>(m, "Residual")
      .def("owed", &residual_object::owed)
      .def("share", &residual_object::share)
      .def("reject", &residual_object::reject)
      .def("draw", &residual_object::draw)
      .def("probs", &residual_object::probs);
  m.def("make_row", &make_row, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(),
        nb::arg().none(), nb::arg().none());
  m.def("make_residual", &make_residual, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg(),
        nb::arg(), nb::arg());
}
