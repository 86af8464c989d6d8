//! Where the API listens.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use underpass_tests::daemon::Launch;
use underpass_tests::netns::Topology;

use crate::site::{FILE, Site, read_to_end};

/// Every kind of address, after rights were given up.
#[test]
fn sockets_of_every_kind() {
    let file = FILE.replace(
        "    stats timeout 5s",
        "    stats socket ipv4@127.0.0.1:8100 level user\n    stats socket abns@underpass-runtime-api level operator\n    uid 65534\n    stats timeout 5s",
    );
    let site = Site::ours(&file);
    let mut stream = site
        .net
        .client
        .run(|| TcpStream::connect(("127.0.0.1", 8100)))
        .expect("a connection");
    stream.write_all(b"show cli level\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "user\n\n");
    let abstract_name = {
        use std::os::linux::net::SocketAddrExt as _;
        std::os::unix::net::SocketAddr::from_abstract_name("underpass-runtime-api").unwrap()
    };
    let mut stream = site
        .net
        .client
        .run(|| UnixStream::connect_addr(&abstract_name))
        .expect("a connection");
    stream.write_all(b"show cli level\n").unwrap();
    assert_eq!(read_to_end(&mut stream), "operator\n\n");
    let listed = site.ask("show cli sockets");
    let path = site.sockets.path().display();
    assert_eq!(
        listed,
        format!(
            "# socket lvl processes\nunix@{path}/admin admin all\nunix@{path}/operator operator all\nunix@{path}/user user all\nipv4@127.0.0.1:8100 user all\nabns@underpass-runtime-api operator all\n"
        )
    );
    let mode = std::fs::metadata(site.sockets.path().join("user")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
        0o600
    );
}

/// A path that a dead daemon left behind is no obstacle, and one that somebody still serves is taken over.
#[test]
fn a_path_is_taken_over() {
    let site = Site::ours(FILE);
    let path = site.sockets.path().display().to_string();
    let second = FILE
        .replace("SOCKET", &path)
        .replace(":8000", ":8002")
        .replace(":8001", ":8003");
    let pid = |site: &Site| {
        let text = site.ask("show info");
        let line = text.lines().find_map(|line| line.strip_prefix("Pid: "));
        line.expect("a pid").to_owned()
    };
    let first = pid(&site);
    assert_eq!(first, site.daemon.pid().to_string());
    let successor = Launch::new(second)
        .expect("the binary under test")
        .start(&site.net.proxy)
        .expect("a running daemon");
    assert_eq!(pid(&site), successor.pid().to_string());
    // No temporary file is left.
    let files = std::fs::read_dir(&path).unwrap().count();
    assert_eq!(files, 3);
}

/// A listening socket that was opened by whoever started the daemon.
#[test]
fn an_inherited_socket() {
    use std::os::fd::AsRawFd as _;
    let dir = tempfile::tempdir().unwrap();
    let listener = std::os::unix::net::UnixListener::bind(dir.path().join("api")).unwrap();
    let net = Topology::loopback().expect("a host");
    let fd = listener.as_raw_fd();
    let file = format!(
        "global\n    stats socket fd@{fd} level admin\nlisten li\n    mode tcp\n    bind 127.0.0.1:8000\n    server a 127.0.0.1:9001\n"
    );
    let _daemon = Launch::new(file)
        .expect("the binary under test")
        .inherit(fd)
        .start(&net.proxy)
        .expect("a running daemon");
    let mut stream = UnixStream::connect(dir.path().join("api")).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(b"show cli level\n").unwrap();
    assert_eq!(read_to_end(&mut stream), "admin\n\n");
}
