//! A worker's end of its socket.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use hikigane_executor::frames::{FromWorker, ToWorker};

use crate::extensions::Printer;

/// What the server sends.
pub struct Input {
    socket: UnixStream,
    buffer: BytesMut,
}

/// Takes what the server is told, a whole frame at a time. Debuggers are answered by threads of their own, hence the lock.
#[derive(Clone)]
pub struct Output(Arc<Mutex<UnixStream>>);

/// Both directions of a socket.
pub fn open(socket: UnixStream) -> std::io::Result<(Input, Output)> {
    let output = Output(Arc::new(Mutex::new(socket.try_clone()?)));
    let input = Input {
        socket,
        buffer: BytesMut::with_capacity(16 * 1024),
    };
    Ok((input, output))
}

impl Input {
    /// The next frame; `None` when the server is gone.
    pub fn next(&mut self) -> Result<Option<ToWorker>, String> {
        loop {
            if let Some(frame) = ToWorker::decode(&mut self.buffer).map_err(|error| error.to_string())? {
                return Ok(Some(frame));
            }
            let start = self.buffer.len();
            let room = (self.buffer.capacity() - start).max(16 * 1024);
            self.buffer.resize(start + room, 0);
            let read = loop {
                match self.socket.read(&mut self.buffer[start..]) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
            let read = read.map_err(|error| error.to_string())?;
            self.buffer.truncate(start + read);
            if read == 0 {
                return Ok(None);
            }
        }
    }

    /// The socket's number.
    pub fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Output {
    /// Sends a frame, encoded in `room`, which a caller that sends many keeps.
    pub fn send(&self, frame: &FromWorker, room: &mut Vec<u8>) -> Result<(), String> {
        room.clear();
        frame.encode(room);
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        socket.write_all(room).map_err(|error| error.to_string())
    }

    /// Sends each piece of log at once, so that it is not lost when the process is killed.
    pub fn printer(&self) -> Printer {
        let output = self.clone();
        Printer(Rc::new(move |text| {
            // One line may be long; a frame has a limit.
            for piece in text.as_bytes().chunks(256 * 1024) {
                let mut room = Vec::with_capacity(piece.len() + 5);
                let frame = FromWorker::Log(Bytes::copy_from_slice(piece));
                if output.send(&frame, &mut room).is_err() {
                    std::process::exit(0);
                }
            }
        }))
    }
}
