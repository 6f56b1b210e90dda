// A device's session in Kotlin, over session_jni.c: it closes its native memory, and throws.
import java.io.Closeable
import java.nio.ByteBuffer
import java.security.SecureRandom

/** What a native method returned: positive, the edge's doing, and its link is over; negative, the caller's (tslt_device.h). */
class TsltException(val code: Int) : Exception("error $code")

interface Model {
    /** Rows of raw logits after each new node, floats in a direct buffer of the machine's byte order; the nodes before
     * [first] are known, and without any the row after [text] is wanted. */
    fun rows(text: IntArray, first: Int, parents: IntArray, tokens: IntArray): ByteBuffer
}

/** One thread at a time, which the lock sees to. */
class Session(vocabSize: Int, fingerprint: ByteArray, mostTokens: Int, mostNodes: Int, mostListed: Int) : Closeable {
    private val random = SecureRandom()
    private var handle = open(
        vocabSize, fingerprint, ByteArray(16).also(random::nextBytes), mostTokens, mostNodes, mostListed,
    ).also { require(it != 0L) { "no session has this room" } }

    /** The next frame to send, or null. */
    @Synchronized fun next(): ByteArray? = next(alive())

    /** The kind of the event: TSLT_WELCOMED and so on, in the header's order. */
    @Synchronized fun receive(frame: ByteArray): Int = IntArray(1).also { check(receive(alive(), frame, it)) }[0]

    @Synchronized fun prompt(tokens: IntArray) = check(prompt(alive(), tokens))
    @Synchronized fun list() = check(list(alive()))
    @Synchronized fun text(): IntArray = text(alive())

    /** The token that the text has grown by; null: others are asked for. */
    @Synchronized fun choose(): Int? = IntArray(1).also { check(choose(alive(), random, it)) }[0].takeIf { it >= 0 }

    @Synchronized fun draft(evidence: Int, expansion: IntArray, temperature: Double, topK: Int, model: Model) =
        check(draft(alive(), evidence, expansion, temperature, topK, model, random))

    /** BYE is queued: send what [next] gives, then [close]. */
    @Synchronized fun bye() = check(close(alive()))

    @Synchronized override fun close() {
        if (handle != 0L) free(handle)
        handle = 0L
    }

    private fun alive() = handle.also { check(it != 0L) { "the session is closed" } }
    private fun check(code: Int) { if (code != 0) throw TsltException(code) }

    private companion object {
        init { System.loadLibrary("tslt_session") }

        @JvmStatic external fun open(
            vocabSize: Int, fingerprint: ByteArray, nonce: ByteArray, mostTokens: Int, mostNodes: Int, mostListed: Int,
        ): Long
        @JvmStatic external fun free(handle: Long)
        @JvmStatic external fun next(handle: Long): ByteArray?
        @JvmStatic external fun receive(handle: Long, frame: ByteArray, kind: IntArray): Int
        @JvmStatic external fun prompt(handle: Long, tokens: IntArray): Int
        @JvmStatic external fun text(handle: Long): IntArray
        @JvmStatic external fun list(handle: Long): Int
        @JvmStatic external fun close(handle: Long): Int
        @JvmStatic external fun choose(handle: Long, random: SecureRandom, token: IntArray): Int
        @JvmStatic external fun draft(
            handle: Long, evidence: Int, expansion: IntArray, temperature: Double, topK: Int, model: Model, random: SecureRandom,
        ): Int
    }
}
