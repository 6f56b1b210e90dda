// A device's session in Swift: an actor, whose memory goes with it.
//
// With a module map beside tslt_device.h:
//   module CTslt { header "tslt_device.h" link "tslt" }
import CTslt
import Foundation

/// What a function returned.
enum TsltError: Error {
    case caller(Int32)  // nothing was sent, nothing has changed
    case edge(Int32)  // the session is over, and ERROR waits to be sent
}

private func check(_ code: Int32) throws {
    if code > 0 { throw TsltError.edge(code) }
    if code < 0 { throw TsltError.caller(code) }
}

/// Rows of raw logits after each new node, one after another; `text` is what they continue.
protocol Model: AnyObject {
    func rows(text: UnsafeBufferPointer<Int32>, nodes: tslt_nodes) throws -> UnsafePointer<Float>
}

/// What the callback of a draft gets.
private final class Call {
    let device: OpaquePointer, model: Model, rowBytes: Int
    var failed: Error?
    init(device: OpaquePointer, model: Model, rowBytes: Int) {
        (self.device, self.model, self.rowBytes) = (device, model, rowBytes)
    }
}

/// One thread at a time, which an actor sees to.
actor Session {
    // C keeps their addresses: they are allocated once, and freed with the session.
    private let hello = UnsafeMutablePointer<tslt_hello>.allocate(capacity: 1)
    private let tokenizer = UnsafeMutablePointer<UInt8>.allocate(capacity: 32)
    private let block: UnsafeMutableRawPointer
    private let device: OpaquePointer

    init(vocabSize: UInt32, fingerprint: [UInt8], room: tslt_device_room) throws {
        precondition(fingerprint.count == 32)
        var room = room
        tokenizer.initialize(from: fingerprint, count: 32)
        hello.initialize(to: tslt_default_hello(vocabSize, tokenizer))
        withUnsafeMutableBytes(of: &hello.pointee.nonce) { nonce in
            var system = SystemRandomNumberGenerator()
            for i in nonce.indices { nonce[i] = UInt8.random(in: 0...255, using: &system) }
        }
        let size = tslt_device_size(hello, &room)
        block = .allocate(byteCount: max(size, 1), alignment: 16)
        var made: OpaquePointer?
        do {
            try check(tslt_device_new(block, size, hello, &room, &made))
        } catch {
            (block.deallocate(), hello.deallocate(), tokenizer.deallocate())
            throw error
        }
        device = made!
    }

    deinit { (block.deallocate(), hello.deallocate(), tokenizer.deallocate()) }

    /// The next frame to send: a copy.
    func next() -> Data? {
        var size = 0
        guard let frame = tslt_device_next(device, &size) else { return nil }
        return Data(bytes: frame, count: size)
    }

    /// What a frame meant, and what the text has grown by.  The event's own pointers are not handed on: they do not outlive
    /// the frame.
    func receive(_ frame: Data) throws -> (kind: Int32, tokens: [Int32]) {
        var event = tslt_event()
        return try frame.withUnsafeBytes { bytes in
            try check(tslt_device_receive(device, bytes.bindMemory(to: UInt8.self).baseAddress, frame.count, &event))
            return (event.kind, Array(UnsafeBufferPointer(start: event.tokens, count: Int(event.token_count))))
        }
    }

    func prompt(_ tokens: [Int32]) throws { try check(tslt_device_prompt(device, tokens, tokens.count, 0, 1)) }
    func list() throws { try check(tslt_device_list(device)) }
    func close() throws { try check(tslt_device_close(device)) }

    /// Whether the text has grown by a token; if not, others are asked for.
    func choose() throws -> Bool {
        var random = numbers, token: Int32 = -1
        try check(tslt_device_choose(device, &random, &token))
        return token >= 0
    }

    func draft(_ how: tslt_drafting, model: Model) throws {
        var how = how, random = numbers
        let call = Call(device: device, model: model, rowBytes: 4 * Int(hello.pointee.vocab_size))
        let logits: tslt_logits = { state, nodes, rows, rowBytes in
            let call = Unmanaged<Call>.fromOpaque(state!).takeUnretainedValue()
            var count = 0
            let text = UnsafeBufferPointer(start: tslt_device_ahead(call.device, &count), count: count)
            do {
                rows!.pointee = UnsafeRawPointer(try call.model.rows(text: text, nodes: nodes!.pointee))
                rowBytes!.pointee = call.rowBytes
                return 0
            } catch {  // a C callback cannot throw
                call.failed = error
                return 1
            }
        }
        let code = withExtendedLifetime(call) {
            tslt_device_draft(device, &how, logits, Unmanaged.passUnretained(call).toOpaque(), &random)
        }
        if let failed = call.failed { throw failed }
        try check(code)
    }

    /// The operating system's random numbers.
    private var numbers: tslt_random {
        tslt_random(
            below: { _, size in UInt64.random(in: 0..<size) },
            uniform: { _ in Double(UInt64.random(in: 0..<(1 << 53))) * 0x1p-53 },
            state: nil)
    }
}
