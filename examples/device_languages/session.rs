//! A device's session in Rust: it owns its memory, slices cannot outlive it, and no panic passes through C.
//!
//!   bindgen tslt_wire/_native/tslt_device.h -o tslt.rs      # older than 0.63: --size_t-is-usize, too
//!   cc -std=c11 -O3 -ffp-contract=off -c tslt_wire/_native/*.c && ar rcs libtslt.a *.o
//!   TSLT_BINDINGS=$PWD/tslt.rs rustc -O -L . -l static=tslt examples/device_languages/session.rs
//!   ./session 16       # frames as lines of hexadecimal digits: those of the edge in, those of the device out
use std::ffi::{c_int, c_void};
use std::io::{BufRead, Read, Write};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::{any::Any, fs::File, mem::zeroed, ptr::null_mut, slice::from_raw_parts};

#[allow(dead_code, non_camel_case_types, non_upper_case_globals)]
mod tslt {
    include!(env!("TSLT_BINDINGS"));
}

/// What a function returned.
#[derive(Debug)]
pub enum Error {
    /// Nothing was sent, nothing has changed.
    Caller(c_int),
    /// The session is over, and ERROR waits to be sent.
    Edge(c_int),
}

fn check(code: c_int) -> Result<(), Error> {
    match code {
        0 => Ok(()),
        1.. => Err(Error::Edge(code)),
        _ => Err(Error::Caller(code)),
    }
}

/// What a frame meant; it borrows the session and the frame that its pointers are into.
pub struct Event<'a> {
    pub kind: u32,
    pub tokens: &'a [i32],
}

/// Nodes of a tree; those from `first` on are new, and without any the row after the text is wanted.
pub struct Nodes<'a> {
    pub first: usize,
    pub parents: &'a [i32],
    pub tokens: &'a [i32],
}

pub trait Model {
    /// Rows of raw logits after each new node, one after another, as many as HELLO says in each.
    fn rows(&mut self, text: &[i32], nodes: &Nodes) -> &[f32];
}

/// HELLO and what it points to: C keeps its address, so it stays in one box.
struct Hello {
    tokenizer: [u8; 32],
    said: tslt::tslt_hello,
}

/// One thread at a time, any thread: `&mut self` says so, and nothing in it is bound to one.
pub struct Session {
    device: *mut tslt::tslt_device,
    source: File,
    hello: Box<Hello>,
    _block: Box<[u128]>, // aligned as malloc's blocks are
}
unsafe impl Send for Session {}

impl Session {
    pub fn new(vocab_size: u32, tokenizer: [u8; 32], room: &tslt::tslt_device_room) -> Result<Session, Error> {
        let mut source = File::open("/dev/urandom").expect("random numbers");
        let mut hello = Box::new(Hello { tokenizer, said: unsafe { zeroed() } });
        hello.said = unsafe { tslt::tslt_default_hello(vocab_size, hello.tokenizer.as_ptr()) };
        source.read_exact(&mut hello.said.nonce).expect("random numbers");
        let size = unsafe { tslt::tslt_device_size(&hello.said, room) } as usize;
        if size == 0 {
            return Err(Error::Caller(tslt::TSLT_BAD_ARGUMENT));
        }
        let mut block = vec![0u128; size.div_ceil(16)].into_boxed_slice();
        let mut device = null_mut();
        check(unsafe { tslt::tslt_device_new(block.as_mut_ptr().cast(), size, &hello.said, room, &mut device) })?;
        Ok(Session { device, source, hello, _block: block })
    }

    /// The next frame to send.
    pub fn next(&mut self) -> Option<&[u8]> {
        let mut size = 0;
        let frame = unsafe { tslt::tslt_device_next(self.device, &mut size) };
        (!frame.is_null()).then(|| unsafe { from_raw_parts(frame, size) })
    }

    pub fn receive<'a>(&'a mut self, frame: &'a [u8]) -> Result<Event<'a>, Error> {
        let mut event: tslt::tslt_event = unsafe { zeroed() };
        check(unsafe { tslt::tslt_device_receive(self.device, frame.as_ptr(), frame.len(), &mut event) })?;
        Ok(Event { kind: event.kind as u32, tokens: unsafe { slice(event.tokens, event.token_count as usize) } })
    }

    pub fn prompt(&mut self, tokens: &[i32]) -> Result<(), Error> {
        check(unsafe { tslt::tslt_device_prompt(self.device, tokens.as_ptr(), tokens.len(), 0, 1) })
    }

    pub fn list(&mut self) -> Result<(), Error> {
        check(unsafe { tslt::tslt_device_list(self.device) })
    }

    /// The token that the text has grown by; None: others are asked for.
    pub fn choose(&mut self) -> Result<Option<i32>, Error> {
        let (random, mut token) = (numbers(&mut self.source), 0);
        check(unsafe { tslt::tslt_device_choose(self.device, &random, &mut token) })?;
        Ok((token >= 0).then_some(token))
    }

    pub fn close(&mut self) -> Result<(), Error> {
        check(unsafe { tslt::tslt_device_close(self.device) })
    }

    pub fn text(&self) -> &[i32] {
        let mut count = 0;
        let tokens = unsafe { tslt::tslt_device_prefix(self.device, &mut count) };
        unsafe { slice(tokens, count) }
    }

    pub fn draft<M: Model>(&mut self, how: &tslt::tslt_drafting, model: &mut M) -> Result<(), Error> {
        let row_bytes = 4 * self.hello.said.vocab_size as usize;
        let mut call = Call { device: self.device, row_bytes, model, panic: None };
        let random = numbers(&mut self.source);
        let state = (&raw mut call).cast();
        let code = unsafe { tslt::tslt_device_draft(self.device, how, Some(logits::<M>), state, &random) };
        if let Some(panic) = call.panic {
            resume_unwind(panic);
        }
        check(code)
    }
}

/// C gives NULL, or anything, where there is nothing.
unsafe fn slice<'a>(at: *const i32, count: usize) -> &'a [i32] {
    if count == 0 { &[] } else { unsafe { from_raw_parts(at, count) } }
}

struct Call<'a, M> {
    device: *mut tslt::tslt_device,
    row_bytes: usize,
    model: &'a mut M,
    panic: Option<Box<dyn Any + Send>>,
}

unsafe extern "C" fn logits<M: Model>(
    state: *mut c_void,
    nodes: *const tslt::tslt_nodes,
    rows: *mut *const c_void,
    row_bytes: *mut usize,
) -> c_int {
    let call = unsafe { &mut *state.cast::<Call<M>>() };
    let given = unsafe { &*nodes };
    let count = given.count as usize;
    let made = catch_unwind(AssertUnwindSafe(|| unsafe {
        let mut length = 0;
        let text = tslt::tslt_device_ahead(call.device, &mut length);
        let nodes = Nodes { first: given.first as usize, parents: slice(given.parents, count), tokens: slice(given.tokens, count) };
        let made = call.model.rows(slice(text, length), &nodes);
        assert_eq!(4 * made.len(), (count - nodes.first).max(1) * call.row_bytes, "a row for each new node");
        made.as_ptr()
    }));
    match made {
        Ok(made) => unsafe {
            *rows = made.cast();
            *row_bytes = call.row_bytes;
            0
        },
        Err(panic) => {
            call.panic = Some(panic);
            1
        }
    }
}

/// The operating system's, which the edge does not know.
fn numbers(source: &mut File) -> tslt::tslt_random {
    fn next(source: *mut c_void) -> u64 {
        let mut bytes = [0; 8];
        match unsafe { &mut *source.cast::<File>() }.read_exact(&mut bytes) {
            Ok(()) => u64::from_ne_bytes(bytes),
            Err(_) => std::process::abort(), // a panic would pass through C
        }
    }
    unsafe extern "C" fn below(source: *mut c_void, size: u64) -> u64 {
        let most = u64::MAX - u64::MAX % size; // an ordinary modulo is not uniform
        loop {
            let number = next(source);
            if number < most {
                return number % size;
            }
        }
    }
    unsafe extern "C" fn uniform(source: *mut c_void) -> f64 {
        (next(source) >> 11) as f64 / (1u64 << 53) as f64
    }
    tslt::tslt_random { below: Some(below), uniform: Some(uniform), state: (source as *mut File).cast() }
}

/// A model that likes the token after the last one.
struct Counting {
    vocab_size: usize,
    made: Vec<f32>,
}

impl Model for Counting {
    fn rows(&mut self, text: &[i32], nodes: &Nodes) -> &[f32] {
        let last = if nodes.tokens.is_empty() { &text[text.len() - 1..] } else { &nodes.tokens[nodes.first..] };
        self.made = vec![0.0; last.len() * self.vocab_size];
        for (row, token) in self.made.chunks_mut(self.vocab_size).zip(last) {
            row[(*token as usize + 1) % self.vocab_size] = 9.0;
        }
        &self.made
    }
}

fn main() -> Result<(), Error> {
    let vocab_size: u32 = std::env::args().nth(1).and_then(|word| word.parse().ok()).expect("a number of tokens");
    let mut room: tslt::tslt_device_room = unsafe { zeroed() };
    (room.most_tokens, room.most_nodes, room.most_entries, room.most_listed) = (64, 8, 64, 8);
    let mut session = Session::new(vocab_size, [0; 32], &room)?;
    let mut model = Counting { vocab_size: vocab_size as usize, made: vec![] };
    let chain = [1u32, 1];
    let mut how: tslt::tslt_drafting = unsafe { zeroed() };
    (how.evidence, how.expansion, how.levels) = (tslt::TSLT_EVIDENCE_MATCH as c_int, chain.as_ptr(), 2);
    (how.dtype, how.temperature, how.truncate) = (tslt::TSLT_FLOAT32 as c_int, 1.0, 1);
    (how.truncation.top_k, how.truncation.top_p) = (8, 1.0);
    let flush = |session: &mut Session| {
        while let Some(frame) = session.next() {
            println!("{}", frame.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        }
        std::io::stdout().flush().expect("a reader");
    };
    flush(&mut session);
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let frame: Vec<u8> = (0..line.len() / 2).filter_map(|i| u8::from_str_radix(&line[2 * i..2 * i + 2], 16).ok()).collect();
        let kind = session.receive(&frame)?.kind;
        if kind == tslt::TSLT_WELCOMED {
            session.prompt(&[1, 2])?;
        }
        if kind == tslt::TSLT_WELCOMED || (kind == tslt::TSLT_ANSWERED && session.text().len() < 9) {
            session.draft(&how, &mut model)?;
        } else {
            session.close()?;
        }
        flush(&mut session);
    }
    println!("{}", session.text().iter().map(|token| format!("{token} ")).collect::<String>());
    Ok(())
}
