//! A small real HTTP server to put load on. It counts every request whose whole head it has received, by path, and
//! tells the counts on a second port, so that asking for them is not itself counted. It never limits, caches or logs a
//! request: what it counts is what arrived.
//!
//! Start at [`routes::answer`] for what it replies, at [`server::serve`] for how it listens.

mod count;
mod routes;
mod server;
mod tls;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::count::Counts;
use crate::server::{serve, serve_counts};

/// A small HTTP server to put load on; it counts its own requests.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Address that both ports are bound to.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Port of the target itself; 0 takes a free one.
    #[arg(long, default_value_t = 18080)]
    port: u16,
    /// Port of the control side, where `GET /count` is; 0 takes a free one.
    #[arg(long, default_value_t = 18081)]
    control_port: u16,
    /// Threads that serve; with 1 everything runs on the main thread.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Serve over TLS with this certificate (PEM, its chain after it); needs `--key`.
    #[arg(long, requires = "key")]
    certificate: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, requires = "certificate")]
    key: Option<PathBuf>,
    /// Give no TLS session that could be resumed: each connection makes a full handshake.
    #[arg(long, requires = "certificate")]
    no_resumption: bool,
    /// Exit when standard input closes, that is, when the process that started this one is gone.
    #[arg(long)]
    while_stdin: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = runtime(options.threads).and_then(|runtime| runtime.block_on(run(&options)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed to serve on {}: {error}", options.address);
            ExitCode::FAILURE
        }
    }
}

fn runtime(threads: u16) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if 1 < threads {
        builder.worker_threads(threads.into());
    }
    builder.enable_all().build()
}

/// Binds both ports, prints their addresses as one JSON line, and serves until told to end.
async fn run(options: &Options) -> std::io::Result<()> {
    let files = options.certificate.as_deref().zip(options.key.as_deref());
    let acceptor =
        files.map(|(certificate, key)| tls::acceptor(certificate, key, options.no_resumption)).transpose()?;
    let target = TcpListener::bind(SocketAddr::new(options.address, options.port)).await?;
    let control = TcpListener::bind(SocketAddr::new(options.address, options.control_port)).await?;
    let addresses = serde_json::json!({
        "target": target.local_addr()?.to_string(),
        "control": control.local_addr()?.to_string(),
    });
    writeln!(std::io::stdout(), "{addresses}")?;

    let counts = Arc::new(Counts::default());
    let end = end_of_stdin(options.while_stdin);
    tokio::select! {
        () = serve(target, acceptor, Arc::clone(&counts)) => {}
        () = serve_counts(control, counts) => {}
        () = end => {}
    }
    Ok(())
}

/// Resolves when standard input closes; never, unless `watched`.
async fn end_of_stdin(watched: bool) {
    if !watched {
        return std::future::pending().await;
    }
    let (closed, is_closed) = oneshot::channel::<()>();
    // A thread of its own: tokio's stdin would keep the runtime from ending while a read blocks.
    std::thread::spawn(move || {
        let mut unread = [0; 256];
        while matches!(std::io::stdin().read(&mut unread), Ok(read) if 0 < read) {}
        drop(closed);
    });
    let _ = is_closed.await; // only ever dropped: that is the signal
}
