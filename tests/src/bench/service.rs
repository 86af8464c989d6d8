//! Programs that run beside the load: the HTTP server and the proxies.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustls::{CipherSuite, ClientConfig, ClientConnection, StreamOwned};
use underpass_tests::{
    netns::Netns,
    process::{Output, Process, eventually},
};

use crate::{
    contestant::{Contestant, Kind, Route},
    tls::{self, server_name},
    workload::REPLY_BYTES,
};

/// How long a program may take to serve its first request, and to stop.
const BOUND: Duration = Duration::from_secs(20);

/// A child that is asked to stop when dropped, and killed if it does not: only the asking lets a master process take
/// its workers with it.
pub(crate) struct Service {
    process: Process,
}

impl Service {
    fn spawn(ns: &Netns, program: &Path, arguments: &[&str]) -> Result<Self> {
        // Should this program be killed, the children get the signal on which they also take their workers along.
        let mut command = ns.command("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]);
        command.arg(program).args(arguments);
        shield(&mut command);
        Ok(Self {
            process: Process::spawn(&mut command)?,
        })
    }

    /// The first thing that `find` finds in a line written to `output` within `bound`.
    pub(crate) fn find_line<T>(
        &self,
        output: Output,
        bound: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        self.process
            .wait_lines(output, bound, "such line", |lines| {
                lines.iter().find_map(|line| find(line))
            })
            .ok()
    }

    /// The lines it wrote to `output`.
    pub(crate) fn lines(&self, output: Output) -> Vec<String> {
        self.process.lines(output)
    }

    /// Waits until an HTTP request from `client` to `address`, over TLS when there are settings for it, is answered.
    fn wait_serving(
        &mut self,
        client: &Netns,
        address: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<()> {
        let mut ended = None;
        let served = eventually(BOUND, || {
            ended = self.process.exited().ok().flatten();
            ended.is_some() || get(client, address, tls).is_ok()
        });
        if let Some(status) = ended {
            bail!("ended with {status}\n{}", self.process.transcript());
        }
        ensure!(
            served,
            "no request served within {BOUND:?}\n{}",
            self.process.transcript()
        );
        Ok(())
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether it is no longer running.
    pub(crate) fn ended(&mut self) -> bool {
        !matches!(self.process.exited(), Ok(None))
    }

    /// What it wrote last, for failure messages.
    pub(crate) fn transcript(&self) -> String {
        self.process.transcript()
    }

    /// Stops it, and waits for its last words.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if self.process.exited()?.is_none() {
            self.process.signal(libc::SIGTERM)?;
            self.process.wait_exit(BOUND)?;
        }
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // What does not stop is killed by the process's own drop.
        let _ = self.stop();
    }
}

/// Keeps Ctrl-C from a child: it is for this program, which then stops its children in order.
pub(crate) fn shield(command: &mut Command) {
    command.process_group(0);
}

/// One HTTP request on its own connection.
fn get(client: &Netns, address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<()> {
    let mut stream = client.run(|| TcpStream::connect_timeout(&address, BOUND))?;
    stream.set_read_timeout(Some(BOUND))?;
    match tls {
        None => exchange(&mut stream),
        Some(config) => {
            let session = ClientConnection::new(Arc::clone(config), server_name()?)?;
            exchange(&mut StreamOwned::new(session, stream))
        }
    }
}

fn exchange(stream: &mut (impl Read + Write)) -> Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    ensure!(reply.starts_with(b"HTTP/1.1 200 "), "not served");
    Ok(())
}

/// The cipher suite that the TLS server at `address` chooses for a client that leaves it the choice.
///
/// # Errors
/// When there is no handshake.
pub(crate) fn chosen_suite(client: &Netns, address: SocketAddr) -> Result<CipherSuite> {
    let mut stream = client.run(|| TcpStream::connect_timeout(&address, BOUND))?;
    stream.set_read_timeout(Some(BOUND))?;
    let mut session = ClientConnection::new(Arc::new(tls::undecided_client()?), server_name()?)?;
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    let suite = session.negotiated_cipher_suite().context("no suite")?;
    Ok(suite.suite())
}

/// Starts the HTTP server.
///
/// # Errors
/// When it does not serve a request from `client` in time.
pub(crate) fn http_server(
    server: &Netns,
    client: &Netns,
    address: SocketAddr,
    workers: usize,
    dir: &Path,
) -> Result<Service> {
    let config = dir.join("nginx.conf");
    fs::write(&config, nginx_config(address, workers, dir))?;
    let mut service = Service::spawn(
        server,
        Path::new("nginx"),
        &[
            "-e",
            &path_str(&dir.join("nginx-error.log"))?,
            "-c",
            &path_str(&config)?,
        ],
    )?;
    service
        .wait_serving(client, address, None)
        .context("nginx (package nginx-light)")?;
    Ok(service)
}

/// The reply comes from the configuration, so no file system is measured; connections are shared out by the kernel
/// (reuseport), or one worker would take nearly all.
fn nginx_config(address: SocketAddr, workers: usize, dir: &Path) -> String {
    let dir = dir.display();
    let body = "x".repeat(REPLY_BYTES);
    format!(
        "daemon off;\nuser root;\nworker_processes {workers};\nworker_rlimit_nofile 65536;\n\
         pid {dir}/nginx.pid;\nerror_log {dir}/nginx-error.log crit;\n\
         events {{ worker_connections 16384; }}\n\
         http {{\n  access_log off;\n  keepalive_requests 1000000000;\n  keepalive_timeout 10m;\n  \
         client_body_temp_path {dir}/body;\n  proxy_temp_path {dir}/proxy;\n  \
         fastcgi_temp_path {dir}/fastcgi;\n  uwsgi_temp_path {dir}/uwsgi;\n  scgi_temp_path {dir}/scgi;\n  \
         server {{\n    listen {address} reuseport backlog=4096;\n    \
         location / {{ default_type text/plain; return 200 \"{body}\"; }}\n  }}\n}}\n"
    )
}

/// Where the proxies' programs are.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// The distribution's haproxy.
    pub(crate) haproxy: PathBuf,
    /// This project's daemon.
    pub(crate) underpass: PathBuf,
}

/// Starts `contestant` in `ns` with the configuration `config`, and does not wait for it.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn launch(
    contestant: &Contestant,
    programs: &Programs,
    config: &str,
    ns: &Netns,
    dir: &Path,
) -> Result<Service> {
    let file = dir.join(format!("{}.cfg", contestant.name));
    fs::write(&file, config)?;
    let file = path_str(&file)?;
    let (program, arguments) = match contestant.kind {
        Kind::Direct => bail!("direct has no program"),
        Kind::Haproxy => (&programs.haproxy, vec!["-db", "-f", &file]),
        Kind::Underpass => (&programs.underpass, vec!["-f", &file]),
    };
    Service::spawn(ns, program, &arguments)
}

/// Starts `contestant` in `proxy`; the first of `routes` leads to the HTTP server.
///
/// # Errors
/// When it does not serve a request from `client` in time.
pub(crate) fn proxy(
    contestant: &Contestant,
    programs: &Programs,
    config: &str,
    (proxy, client): (&Netns, &Netns),
    (routes, tls): (&[Route], Option<&Arc<ClientConfig>>),
    dir: &Path,
) -> Result<Service> {
    let mut service = launch(contestant, programs, config, proxy, dir)?;
    let first = routes.first().context("a route")?;
    service
        .wait_serving(client, first.listen, tls)
        .with_context(|| contestant.name.clone())?;
    Ok(service)
}

fn path_str(path: &Path) -> Result<String> {
    path.to_str()
        .map(str::to_owned)
        .with_context(|| format!("{} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_configuration_has_the_promised_body() {
        let text = nginx_config("10.0.0.1:8000".parse().unwrap(), 2, Path::new("/run/x"));
        assert!(text.contains(&format!("\"{}\"", "x".repeat(100))));
        assert!(text.contains("listen 10.0.0.1:8000 reuseport"));
        assert!(text.contains("worker_processes 2;"));
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
