// A device's session in C++17: it owns its memory, throws, and keeps a model's exceptions out of C.
//
//   cc -std=c11 -O3 -ffp-contract=off -c tslt_wire/_native/*.c && c++ -std=c++17 -I tslt_wire/_native examples/device_languages/session.cpp *.o -o session
//   ./session 16       # frames as lines of hexadecimal digits: those of the edge in, those of the device out
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "tslt_device.h"

using Tokens = std::vector<std::int32_t>;
using Frame = std::vector<std::uint8_t>;

// What a function returned.  Positive: the edge's doing, the session is over, and ERROR waits to be sent.  Negative: the
// caller's, and nothing has changed.
struct Refused : std::runtime_error {
  explicit Refused(int code) : std::runtime_error(tslt_error_name(code)), code(code) {}
  int code;
};

// Rows of raw logits after each new node, one after another: vocab_size floats each.  They stay until it is asked again.
struct Model {
  virtual const float *rows(const Tokens &text, const tslt_nodes &nodes) = 0;
  virtual ~Model() = default;
};

// One thread at a time.  Neither copied nor moved: C keeps pointers to its members.
class Session {
 public:
  Session(std::uint32_t vocab_size, const std::array<std::uint8_t, 32> &tokenizer, const tslt_device_room &room)
      : tokenizer_(tokenizer), hello_(tslt_default_hello(vocab_size, tokenizer_.data())) {
    for (auto &byte : hello_.nonce)
      byte = static_cast<std::uint8_t>(source_());
    const std::size_t size = tslt_device_size(&hello_, &room);
    if (!size)
      throw Refused(TSLT_BAD_ARGUMENT);
    block_.reset(new std::byte[size]);  // aligned as malloc's are
    check(tslt_device_new(block_.get(), size, &hello_, &room, &device_));
  }
  Session(const Session &) = delete;
  Session &operator=(const Session &) = delete;

  // The next frame to send; empty: none waits.  A copy, as the session's own is good until the next call.
  Frame next() {
    std::size_t size;
    const std::uint8_t *frame = tslt_device_next(device_, &size);
    return frame ? Frame(frame, frame + size) : Frame();
  }

  // Its pointers are into `frame` and the session: good until either changes.
  tslt_event receive(const Frame &frame) {
    tslt_event event;
    check(tslt_device_receive(device_, frame.data(), frame.size(), &event));
    return event;
  }

  void prompt(const Tokens &tokens) { check(tslt_device_prompt(device_, tokens.data(), tokens.size(), 0, 1)); }
  void list() { check(tslt_device_list(device_)); }
  void close() { check(tslt_device_close(device_)); }

  // Whether the text has grown by a token; if not, others are asked for.
  bool choose() {
    std::int32_t token;
    const tslt_random random = numbers();
    check(tslt_device_choose(device_, &random, &token));
    return token >= 0;
  }

  void draft(const tslt_drafting &how, Model &model) {
    struct Call {
      Session &session;
      Model &model;
      std::exception_ptr failed;
    } call{*this, model, nullptr};
    const tslt_logits logits = [](void *state, const tslt_nodes *nodes, const void **rows, std::size_t *row_bytes) noexcept {
      Call &call = *static_cast<Call *>(state);
      try {
        *rows = call.model.rows(call.session.ahead(), *nodes);
        *row_bytes = call.session.hello_.vocab_size * sizeof(float);
        return 0;
      } catch (...) {  // none may pass through C
        call.failed = std::current_exception();
        return 1;
      }
    };
    const tslt_random random = numbers();
    const int code = tslt_device_draft(device_, &how, logits, &call, &random);
    if (call.failed)
      std::rethrow_exception(call.failed);
    check(code);
  }

  Tokens text() const { return copied(tslt_device_prefix); }
  Tokens ahead() const { return copied(tslt_device_ahead); }

 private:
  static void check(int code) {
    if (code)
      throw Refused(code);
  }

  Tokens copied(const std::int32_t *(*of)(const tslt_device *, std::size_t *)) const {
    std::size_t count;
    const std::int32_t *tokens = of(device_, &count);
    return Tokens(tokens, tokens + count);
  }

  // Unpredictable to the edge: std::random_device asks the operating system.
  tslt_random numbers() {
    return {[](void *source, std::uint64_t size) {
              return std::uniform_int_distribution<std::uint64_t>(0, size - 1)(*static_cast<std::random_device *>(source));
            },
            [](void *source) {
              auto &bits = *static_cast<std::random_device *>(source);
              return static_cast<double>(std::uniform_int_distribution<std::uint64_t>(0, (1ull << 53) - 1)(bits)) * 0x1p-53;
            },
            &source_};
  }

  std::array<std::uint8_t, 32> tokenizer_;
  std::random_device source_;
  tslt_hello hello_;
  std::unique_ptr<std::byte[]> block_;
  tslt_device *device_ = nullptr;
};

// A model that likes the token after the last one.
struct Counting : Model {
  explicit Counting(std::uint32_t vocab_size) : vocab_size(vocab_size) {}
  const float *rows(const Tokens &text, const tslt_nodes &nodes) override {
    const std::uint32_t count = nodes.count ? nodes.count - nodes.first : 1;
    made.assign(std::size_t{count} * vocab_size, 0.0f);
    for (std::uint32_t i = 0; i < count; i++) {
      const std::int32_t last = nodes.count ? nodes.tokens[nodes.first + i] : text.back();
      made[i * vocab_size + (static_cast<std::uint32_t>(last) + 1) % vocab_size] = 9.0f;
    }
    return made.data();
  }
  std::uint32_t vocab_size;
  std::vector<float> made;
};

int main(int, char **argv) try {
  const auto vocab_size = static_cast<std::uint32_t>(std::stoul(argv[1]));
  tslt_device_room room{};
  room.most_tokens = 64, room.most_nodes = 8, room.most_entries = 64, room.most_listed = 8;
  Session session(vocab_size, {}, room);
  Counting model(vocab_size);
  const std::uint32_t chain[] = {1, 1};
  tslt_drafting how{};
  how.evidence = TSLT_EVIDENCE_MATCH, how.expansion = chain, how.levels = 2, how.dtype = TSLT_FLOAT32;
  how.temperature = 1, how.truncate = 1, how.truncation = {8, 1, 0};
  const auto flush = [&] {
    for (Frame frame = session.next(); !frame.empty(); frame = session.next()) {
      for (const unsigned byte : frame)
        std::printf("%02x", byte);
      std::puts("");
    }
    std::fflush(stdout);
  };
  flush();
  for (std::string line; std::getline(std::cin, line); flush()) {
    Frame frame;
    for (std::size_t at = 0; at + 1 < line.size(); at += 2)
      frame.push_back(static_cast<std::uint8_t>(std::stoul(line.substr(at, 2), nullptr, 16)));
    const tslt_event event = session.receive(frame);
    if (event.kind == TSLT_WELCOMED)
      session.prompt({1, 2});
    if (event.kind == TSLT_WELCOMED || (event.kind == TSLT_ANSWERED && session.text().size() < 9))
      session.draft(how, model);
    else
      session.close();
  }
  for (const int token : session.text())
    std::printf("%d ", token);
  return 0;
} catch (const Refused &error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
