//! The control port: `GET /count`, `/stamps` and `/lapses`, one answer per connection, so that asking is never itself stamped.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::probe::Lapses;
use crate::stamps::Stamps;

const PATIENCE: Duration = Duration::from_secs(10);

/// Answers for ever.
pub(crate) fn serve(listener: &TcpListener, stamps: &Stamps, lapses: &Lapses) {
    for stream in listener.incoming().flatten() {
        let _ = answer(&stream, stamps, lapses); // an asker that hangs up is no fault of ours
    }
}

fn answer(mut stream: &TcpStream, stamps: &Stamps, lapses: &Lapses) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    // The rest of the head is read, or closing would reset what was answered.
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let (status, body) = match first.split(' ').nth(1) {
        Some("/count") => ("200 OK", stamps.count()),
        Some("/stamps") => ("200 OK", stamps.lines()),
        Some("/lapses") => ("200 OK", lapses.lines()),
        _ => ("404 Not Found", "ask for /count, /stamps or /lapses\n".to_owned()),
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
}
