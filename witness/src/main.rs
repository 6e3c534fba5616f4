//! A witness: an HTTP server that holds each request for a time that is known beforehand, and stamps when it received
//! it and when it had written its reply. A load generator's figures are held against these stamps, request by request.
//! It never estimates: what it stamps is the kernel's time of arrival and its own time of writing.
//!
//! Each connection has a thread, so that no request waits for another. `GET /{delays}/{mean in ms}/{bytes}?id=N` is
//! what it serves; see [`ask`] for all of it, [`delays`] for how long it holds a request, [`serve`] for what it stamps.

mod ask;
mod clock;
mod control;
mod delays;
mod probe;
mod secure;
mod serve;
mod socket;
mod stamps;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use clap::Parser;

use crate::probe::Lapses;
use crate::stamps::Stamps;

/// An HTTP server that stamps what it receives and writes.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Address that all ports are bound to; they are the kernel's choice.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Serve TLS, too, and write the authority that its certificate is checked against to this file.
    #[arg(long)]
    tls_authority: Option<PathBuf>,
    /// Watch how punctual each core is meanwhile.
    #[arg(long)]
    probe: bool,
    /// Exit when standard input closes, that is, when the process that started this one is gone.
    #[arg(long)]
    while_stdin: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match start(&options) {
        Ok(()) => {
            wait(options.while_stdin);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("failed to serve on {}: {error}", options.address);
            ExitCode::FAILURE
        }
    }
}

/// Binds the ports, prints their addresses as one JSON line, and serves them on threads of their own.
fn start(options: &Options) -> std::io::Result<()> {
    let stamps = Arc::new(Stamps::default());
    let plain = serve::listen(options.address)?;
    let control = TcpListener::bind((options.address, 0))?;
    let mut addresses = serde_json::json!({
        "plain": plain.local_addr()?.to_string(),
        "control": control.local_addr()?.to_string(),
    });
    if let Some(path) = &options.tls_authority {
        let secured = serve::listen(options.address)?;
        addresses["tls"] = secured.local_addr()?.to_string().into();
        let config = secure::configure(options.address, path).map_err(std::io::Error::other)?;
        let stamps = Arc::clone(&stamps);
        thread::Builder::new().spawn(move || serve::serve(&secured, Some(&config), &stamps))?;
    }
    writeln!(std::io::stdout(), "{addresses}")?;
    let lapses = Arc::new(Lapses::default());
    if options.probe {
        probe::start(&lapses)?;
    }
    let served = Arc::clone(&stamps);
    thread::Builder::new().spawn(move || serve::serve(&plain, None, &served))?;
    thread::Builder::new().spawn(move || control::serve(&control, &stamps, &lapses))?;
    Ok(())
}

/// Returns when standard input closes; never, unless it is `watched`.
fn wait(watched: bool) {
    if watched {
        let mut unread = [0; 256];
        while matches!(std::io::stdin().read(&mut unread), Ok(read) if 0 < read) {}
        return;
    }
    loop {
        thread::park();
    }
}
