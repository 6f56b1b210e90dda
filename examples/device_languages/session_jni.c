/* A device's session for Kotlin and Java: native methods of Session.kt.
 *
 *   cc -std=c11 -O3 -ffp-contract=off -fPIC -shared -I tslt_wire/_native -I $JAVA_HOME/include -I $JAVA_HOME/include/linux \
 *     examples/device_languages/session_jni.c tslt_wire/_native/ *.c -o libtslt_session.so
 *
 * A handle is the address of all that belongs to a session, in native memory.  Results are tslt_device.h's own numbers;
 * Session.kt throws.
 */
#include <jni.h>
#include <stdlib.h>

#include "tslt_device.h"

typedef struct {
  uint8_t tokenizer[32];
  tslt_hello hello; /* and what it points to: C keeps the address */
  tslt_device *device;
  void *block;
  JNIEnv *env; /* of the thread that drafts, for its callbacks */
  jobject model;
  jmethodID rows;
  jmethodID below, uniform;
  jobject random;
} session;

static session *of(jlong handle) { return (session *)(intptr_t)handle; }

JNIEXPORT void JNICALL Java_Session_free(JNIEnv *env, jclass class, jlong handle) {
  (void)env, (void)class;
  free(of(handle)->block);
  free(of(handle));
}

/* 0 where no session has this room. */
JNIEXPORT jlong JNICALL Java_Session_open(JNIEnv *env, jclass class, jint vocab_size, jbyteArray tokenizer, jbyteArray nonce,
                                          jint most_tokens, jint most_nodes, jint most_listed) {
  (void)class;
  session *s = calloc(1, sizeof *s);
  tslt_device_room room = {.most_tokens = (uint32_t)most_tokens, .most_nodes = (uint32_t)most_nodes,
                           .most_entries = (uint32_t)(most_nodes * most_listed), .most_listed = (uint32_t)most_listed};
  if (!s)
    return 0;
  (*env)->GetByteArrayRegion(env, tokenizer, 0, 32, (jbyte *)s->tokenizer); /* throws for fewer bytes */
  s->hello = tslt_default_hello((uint32_t)vocab_size, s->tokenizer);
  (*env)->GetByteArrayRegion(env, nonce, 0, 16, (jbyte *)s->hello.nonce);
  size_t size = tslt_device_size(&s->hello, &room);
  s->block = malloc(size ? size : 1);
  if ((*env)->ExceptionCheck(env) || !s->block || tslt_device_new(s->block, size, &s->hello, &room, &s->device)) {
    free(s->block);
    free(s);
    return 0;
  }
  return (jlong)(intptr_t)s;
}

/* A copy of the next frame to send, or null. */
JNIEXPORT jbyteArray JNICALL Java_Session_next(JNIEnv *env, jclass class, jlong handle) {
  (void)class;
  size_t size;
  const uint8_t *frame = tslt_device_next(of(handle)->device, &size);
  jbyteArray copy = frame ? (*env)->NewByteArray(env, (jsize)size) : NULL;
  if (copy)
    (*env)->SetByteArrayRegion(env, copy, 0, (jsize)size, (const jbyte *)frame);
  return copy;
}

/* The event's kind to `kind`. */
JNIEXPORT jint JNICALL Java_Session_receive(JNIEnv *env, jclass class, jlong handle, jbyteArray frame, jintArray kind) {
  (void)class;
  tslt_event event;
  jsize size = (*env)->GetArrayLength(env, frame);
  jbyte *bytes = (*env)->GetByteArrayElements(env, frame, NULL);
  if (!bytes)
    return TSLT_NO_MEMORY;
  int code = tslt_device_receive(of(handle)->device, (const uint8_t *)bytes, (size_t)size, &event);
  (*env)->ReleaseByteArrayElements(env, frame, bytes, JNI_ABORT);
  const jint found = event.kind;
  (*env)->SetIntArrayRegion(env, kind, 0, 1, &found);
  return code;
}

JNIEXPORT jint JNICALL Java_Session_prompt(JNIEnv *env, jclass class, jlong handle, jintArray tokens) {
  (void)class;
  jsize count = (*env)->GetArrayLength(env, tokens);
  jint *at = (*env)->GetIntArrayElements(env, tokens, NULL);
  if (!at)
    return TSLT_NO_MEMORY;
  int code = tslt_device_prompt(of(handle)->device, (const int32_t *)at, (size_t)count, 0, 1);
  (*env)->ReleaseIntArrayElements(env, tokens, at, JNI_ABORT);
  return code;
}

static jintArray tokens_of(JNIEnv *env, const int32_t *tokens, size_t count) {
  jintArray copy = (*env)->NewIntArray(env, (jsize)count);
  if (copy)
    (*env)->SetIntArrayRegion(env, copy, 0, (jsize)count, (const jint *)tokens);
  return copy;
}

JNIEXPORT jintArray JNICALL Java_Session_text(JNIEnv *env, jclass class, jlong handle) {
  (void)class;
  size_t count;
  const int32_t *tokens = tslt_device_prefix(of(handle)->device, &count);
  return tokens_of(env, tokens, count);
}

JNIEXPORT jint JNICALL Java_Session_list(JNIEnv *env, jclass class, jlong handle) {
  (void)env, (void)class;
  return tslt_device_list(of(handle)->device);
}

JNIEXPORT jint JNICALL Java_Session_close(JNIEnv *env, jclass class, jlong handle) {
  (void)env, (void)class;
  return tslt_device_close(of(handle)->device);
}

/* -------------------------------------------------------------------------------------------------------- callbacks */

static uint64_t below(void *state, uint64_t size) {
  session *s = state;
  return (uint64_t)(*s->env)->CallLongMethod(s->env, s->random, s->below, (jlong)size);
}

static double uniform(void *state) {
  session *s = state;
  return (*s->env)->CallDoubleMethod(s->env, s->random, s->uniform);
}

/* The model gives a direct buffer, so that logits stay in native memory. */
static int logits(void *state, const tslt_nodes *nodes, const void **rows, size_t *row_bytes) {
  session *s = state;
  JNIEnv *env = s->env;
  size_t length;
  const int32_t *text = tslt_device_ahead(s->device, &length);
  jobject given[] = {tokens_of(env, text, length), tokens_of(env, nodes->parents, nodes->count),
                     tokens_of(env, nodes->tokens, nodes->count)};
  if (!given[0] || !given[1] || !given[2])
    return 1;
  jobject made = (*env)->CallObjectMethod(env, s->model, s->rows, given[0], (jint)nodes->first, given[1], given[2]);
  uint32_t count = nodes->count ? nodes->count - nodes->first : 1;
  *row_bytes = s->hello.vocab_size * sizeof(float);
  *rows = made ? (*env)->GetDirectBufferAddress(env, made) : NULL;
  int good = !(*env)->ExceptionCheck(env) && *rows && (*env)->GetDirectBufferCapacity(env, made) >= (jlong)(count * *row_bytes);
  for (unsigned i = 0; i < 3; i++)
    (*env)->DeleteLocalRef(env, given[i]);
  return good ? 0 : 1; /* an exception waits until the native method has returned */
}

static tslt_random numbers(session *s, JNIEnv *env, jobject random) {
  jclass class = (*env)->GetObjectClass(env, random);
  s->env = env;
  s->random = random;
  s->below = (*env)->GetMethodID(env, class, "nextLong", "(J)J");
  s->uniform = (*env)->GetMethodID(env, class, "nextDouble", "()D");
  return (tslt_random){below, uniform, s};
}

/* `random`: a java.security.SecureRandom, of Java 17 or later. */
JNIEXPORT jint JNICALL Java_Session_draft(JNIEnv *env, jclass class, jlong handle, jint evidence, jintArray expansion,
                                          jdouble temperature, jint top_k, jobject model, jobject random) {
  (void)class;
  session *s = of(handle);
  uint32_t children[16];
  jsize levels = (*env)->GetArrayLength(env, expansion);
  if (levels > 16)
    return TSLT_BAD_ARGUMENT;
  (*env)->GetIntArrayRegion(env, expansion, 0, levels, (jint *)children);
  tslt_drafting how = {.evidence = evidence, .expansion = children, .levels = (uint32_t)levels, .dtype = TSLT_FLOAT32,
                       .temperature = temperature, .truncate = 1, .truncation = {.top_k = (uint32_t)top_k, .top_p = 1},
                       .precision = TSLT_LOG2_2};
  tslt_random random_numbers = numbers(s, env, random);
  s->model = model;
  s->rows = (*env)->GetMethodID(env, (*env)->GetObjectClass(env, model), "rows", "([II[I[I)Ljava/nio/ByteBuffer;");
  return s->rows ? tslt_device_draft(s->device, &how, logits, s, &random_numbers) : TSLT_CALLBACK_FAILED;
}

/* The token that the text has grown by, to `token`; -1: others are asked for. */
JNIEXPORT jint JNICALL Java_Session_choose(JNIEnv *env, jclass class, jlong handle, jobject random, jintArray token) {
  (void)class;
  int32_t chosen = -1;
  tslt_random random_numbers = numbers(of(handle), env, random);
  int code = tslt_device_choose(of(handle)->device, &random_numbers, &chosen);
  const jint found = chosen;
  (*env)->SetIntArrayRegion(env, token, 0, 1, &found);
  return code;
}
