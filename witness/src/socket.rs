//! One accepted socket that knows when the kernel received what was read from it last.

use std::io::{self, IoSliceMut, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::time::TimeSpec;

use crate::clock::{self, Nanoseconds};

/// A blocking socket whose listener asked for the kernel's stamps.
pub(crate) struct Socket {
    stream: TcpStream,
    /// When the kernel received the last byte that was read.
    pub(crate) arrived: Nanoseconds,
    /// The same of the first byte of all; `None` before it.
    pub(crate) first: Option<Nanoseconds>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, arrived: 0, first: None }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut room = cmsg_space!(TimeSpec);
        let mut parts = [IoSliceMut::new(buffer)];
        let message = recvmsg::<()>(self.stream.as_raw_fd(), &mut parts, Some(&mut room), MsgFlags::empty())?;
        let stamp = message.cmsgs()?.find_map(|extra| match extra {
            ControlMessageOwned::ScmTimestampns(time) => Some(clock::monotonic(clock::nanoseconds(&time))),
            _ => None,
        });
        if 0 < message.bytes {
            self.arrived = stamp.unwrap_or_else(clock::now);
            self.first.get_or_insert(self.arrived);
        }
        Ok(message.bytes)
    }
}

impl Write for Socket {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.stream.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
