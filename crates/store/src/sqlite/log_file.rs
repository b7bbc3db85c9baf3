//! The write-ahead log, read before SQLite reads it.
//!
//! SQLite takes the log up to the first frame that is not whole, and holds what follows for the rest of a write that a power cut interrupted. When the
//! disk has changed a bit in the middle, that is wrong, and what was acknowledged is gone without a word. The two can be told apart: each transaction
//! is on the disk before the next is written, so that only the last can be interrupted. (SQLite, "WAL-mode File Format".)

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The beginning of a log; its last bit says how checksums read their words.
const MAGIC: u32 = 0x377f_0682;

/// How many transactions of the log cannot be read though they were on the disk; at least one when its header cannot.
pub(super) fn unreadable(log: &Path) -> io::Result<u64> {
    let mut log = match File::open(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        log => BufReader::with_capacity(1 << 20, log?),
    };
    let mut header = [0; HEADER];
    if !fill(&mut log, &mut header)? {
        return Ok(0);
    }
    let mut sum = Checksum {
        big_endian: word(&header, 0) == MAGIC | 1,
        state: (0, 0),
    };
    sum.add(&header[..24]);
    let known = word(&header, 0) & !1 == MAGIC;
    if !known || sum.state != (word(&header, 24), word(&header, 28)) {
        // It is on the disk before the first frame is written.
        return Ok(u64::from(fill(&mut log, &mut [0; FRAME_HEADER])?));
    }
    let mut frame = vec![0; FRAME_HEADER + word(&header, 8) as usize];
    // Once a frame is not whole: transactions that end with it or later, and those of them that another follows. Frames of an earlier log,
    // which are written over in time, stand behind those of this one.
    let mut broken = false;
    let (mut ended, mut lost) = (0, 0);
    while fill(&mut log, &mut frame)? {
        let of_this_log = frame[8..16] == header[16..24];
        if !broken {
            sum.add(&frame[..8]);
            sum.add(&frame[FRAME_HEADER..]);
            broken = !of_this_log || sum.state != (word(&frame, 16), word(&frame, 20));
            if broken {
                ended = u64::from(ends_transaction(&frame));
            }
        } else if of_this_log {
            lost = ended;
            ended += u64::from(ends_transaction(&frame));
        }
    }
    Ok(lost)
}

fn ends_transaction(frame: &[u8]) -> bool {
    word(frame, 4) != 0
}

/// Reads all of the buffer; false when there is less.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

/// The big-endian number at this place, or zero.
fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_be_bytes)
}

struct Checksum {
    big_endian: bool,
    state: (u32, u32),
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks_exact(8) {
            let read = |at| {
                let word = word(pair, at);
                if self.big_endian { word } else { word.swap_bytes() }
            };
            self.state.0 = self.state.0.wrapping_add(read(0)).wrapping_add(self.state.1);
            self.state.1 = self.state.1.wrapping_add(read(4)).wrapping_add(self.state.0);
        }
    }
}
