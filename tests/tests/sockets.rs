//! Listeners and servers other than a TCP address: UNIX sockets and inherited descriptors.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};

use underpass_tests::daemon::{Daemon, Launch, binary, is_haproxy};
use underpass_tests::netns::{Layout, Topology};
use underpass_tests::on_each_path;
use underpass_tests::peer::{Buffers, Exchange, Peer};
use underpass_tests::rig::{Config, PROXY_PORT, Path, SERVER_PORT, listen};

const MB: u64 = 1 << 20;

fn launch(config: &Config) -> Launch {
    let program = binary().unwrap();
    let text = config.text(is_haproxy(&program));
    Launch::program(program, text)
}

/// What a flow goes over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Via {
    /// TCP on both sides.
    Tcp,
    /// A UNIX socket on one side at least.
    Unix,
}

/// Sends both ways and checks the record. What cannot go by the path asked for must go by another and say why.
fn exchange(daemon: &Daemon, path: Path, via: Via, client: &Peer, server: &Peer) {
    // It takes some ms until a flow is relayed.
    let bytes = if path == Path::Relay { 48 * MB } else { 8 * MB };
    let exchange = Exchange::new(400, bytes, bytes + 1);
    exchange.run(client, server);
    let record = daemon.wait_records(1).unwrap().remove(0);
    assert_eq!(
        (record.down, record.end.as_str()),
        (exchange.down, "--"),
        "{}",
        record.line
    );
    if record.up.is_none() {
        return; // The peer's record says no more.
    }
    assert_eq!(record.up, Some(exchange.up), "{}", record.line);
    for (direction, moved) in record.path.iter().zip(record.kernel) {
        // A UNIX socket may need another path, and the record then says so; TCP has no such excuse.
        let explained = via == Via::Unix && record.why != "-";
        assert!(direction == path.word() || explained, "{}", record.line);
        let by_kernel = path.is_kernel() && direction == path.word();
        assert_eq!(by_kernel, moved > 0, "{}", record.line);
    }
}

fn unix_listener(layout: Layout, path: Path) {
    let net = Topology::new(layout).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("in.sock");
    let server = SocketAddr::new(net.server_addr.ipv4(), SERVER_PORT);
    let listener = net
        .server
        .run(|| listen(server, Buffers::default()))
        .unwrap();
    let config = Config::new(path, &format!("unix@{}", socket.display()), &server);
    let daemon = launch(&config).start(&net.proxy).unwrap();
    let client = Peer::from(UnixStream::connect(&socket).unwrap());
    let server = Peer::from(listener.accept().unwrap().0);
    exchange(&daemon, path, Via::Unix, &client, &server);
}

fn unix_server(layout: Layout, path: Path) {
    let net = Topology::new(layout).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("out.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let bind = SocketAddr::new(net.proxy_addr.ipv4(), PROXY_PORT);
    let config = Config::new(path, &bind, &format!("unix@{}", socket.display()));
    let daemon = launch(&config).start(&net.proxy).unwrap();
    let client = net
        .client
        .run(|| Peer::connect(bind, Buffers::default()))
        .unwrap();
    let server = Peer::from(listener.accept().unwrap().0);
    exchange(&daemon, path, Via::Unix, &client, &server);
}

fn unix_both(layout: Layout, path: Path) {
    let net = Topology::new(layout).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [to, from] = ["in.sock", "out.sock"].map(|name| dir.path().join(name));
    let listener = UnixListener::bind(&from).unwrap();
    let bind = format!("unix@{}", to.display());
    let config = Config::new(path, &bind, &format!("unix@{}", from.display()));
    let daemon = launch(&config).start(&net.proxy).unwrap();
    let client = Peer::from(UnixStream::connect(&to).unwrap());
    let server = Peer::from(listener.accept().unwrap().0);
    exchange(&daemon, path, Via::Unix, &client, &server);
}

/// A listening socket that the test made and the daemon inherits, named by `name` in the configuration.
fn inherited(layout: Layout, path: Path, name: impl Fn(i32) -> String, variable: Option<&str>) {
    let net = Topology::new(layout).unwrap();
    let server = SocketAddr::new(net.server_addr.ipv4(), SERVER_PORT);
    let listener = net
        .server
        .run(|| listen(server, Buffers::default()))
        .unwrap();
    let to = SocketAddr::new(net.proxy_addr.ipv4(), 0);
    let given: TcpListener = net.proxy.run(|| TcpListener::bind(to)).unwrap();
    let to = given.local_addr().unwrap();
    let fd = given.as_raw_fd();
    let config = Config::new(path, &name(fd), &server);
    let mut launch = launch(&config).inherit(fd);
    if let Some(variable) = variable {
        launch = launch.env(variable, fd.to_string());
    }
    let daemon = launch.start(&net.proxy).unwrap();
    drop(given);
    let client = net
        .client
        .run(|| Peer::connect(to, Buffers::default()))
        .unwrap();
    let server = Peer::from(listener.accept().unwrap().0);
    exchange(&daemon, path, Via::Tcp, &client, &server);
}

fn inherited_listener(layout: Layout, path: Path) {
    inherited(layout, path, |fd| format!("fd@{fd}"), None);
}

fn inherited_listener_by_variable(layout: Layout, path: Path) {
    inherited(
        layout,
        path,
        |_| "\"fd@${LISTENER}\"".to_owned(),
        Some("LISTENER"),
    );
}

on_each_path!(Hosts as hosts:
    unix_listener,
    unix_server,
    inherited_listener,
    inherited_listener_by_variable,
);

on_each_path!(Loopback as loopback: unix_both);
