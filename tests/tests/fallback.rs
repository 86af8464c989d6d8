//! What eBPF or the machine refuses is served on another path, and the daemon says so.

use std::os::unix::fs::PermissionsExt;
use std::thread;

use underpass_tests::daemon::{BOUND, Daemon, Launch, binary, is_haproxy};
use underpass_tests::netns::{Layout, Topology};
use underpass_tests::on_each_path;
use underpass_tests::pattern::Pattern;
use underpass_tests::peer::{Buffers, Exchange, Peer};
use underpass_tests::process::eventually;
use underpass_tests::rig::{Config, PROXY_PORT, Path, Rig, SERVER_PORT, listen};

const MB: u64 = 1 << 20;

/// More flows at once than the maps have room for.
#[test]
fn map_full() {
    const FLOWS: usize = 20;
    const ROOM: usize = 4;
    let rig = Rig::with(Layout::Hosts, Path::Redirect, |config| {
        config.global(format!("tune.offload.flows {ROOM}"));
    });
    let flows: Vec<_> = (0..FLOWS).map(|_| rig.flow()).collect();
    thread::scope(|scope| {
        for (seed, (client, server)) in (600..).zip(&flows) {
            scope.spawn(move || Exchange::new(seed, 2 * MB, 3 * MB).run(client, server));
        }
    });
    drop(flows);
    let records = rig.records(FLOWS);
    let mut redirected = 0;
    for record in &records {
        rig.check(record, 2 * MB, 3 * MB, "--");
        if record.kernel[0] + record.kernel[1] > 0 {
            redirected += 1;
        } else {
            assert!(
                !record.path.iter().any(|path| path == "redirect"),
                "{}",
                record.line
            );
            assert_ne!(record.why, "-", "{}", record.line);
        }
    }
    assert!(
        (1..=ROOM).contains(&redirected),
        "{redirected} flows were in the kernel"
    );
    // Room that is given back is used again.
    let (client, server) = rig.flow();
    Exchange::new(700, MB, MB).run(&client, &server);
    let record = rig.records(FLOWS + 1).remove(FLOWS);
    rig.check(&record, MB, MB, "--");
    rig.check_path(&record, [1, 1]);
    rig.stop();
}

/// `offload off` and `offload auto` carry every byte as well, whatever they choose.
fn offload_word(layout: Layout, word: &str) {
    let rig = Rig::with(layout, Path::Buffer, |config| {
        config.offload(word, "0");
    });
    let (client, server) = rig.flow();
    Exchange::new(701, 32 * MB, 32 * MB + 1).run(&client, &server);
    let record = rig.record();
    rig.check(&record, 32 * MB, 32 * MB + 1, "--");
    if word == "off" {
        assert_eq!(record.kernel, [0, 0], "{}", record.line);
    }
    rig.stop();
}

#[test]
fn offload_off() {
    offload_word(Layout::Hosts, "off");
}

#[test]
fn offload_auto_between_hosts() {
    offload_word(Layout::Hosts, "auto");
}

#[test]
fn offload_auto_on_loopback() {
    offload_word(Layout::Loopback, "auto");
}

/// `offload auto` has the relay started by the first flow that is worth it, and that flow goes on in it.
#[test]
fn offload_auto_finds_the_relay() {
    let rig = Rig::with(Layout::Hosts, Path::Relay, |config| {
        config.offload("auto", "64k");
    });
    let (small_client, small_server) = rig.flow();
    let (client, server) = rig.flow();
    let up = Pattern::new(703);
    small_client.carry(&small_server, up, 0, 1000);
    let mut carried = 0;
    let is_found = eventually(BOUND, || {
        client.carry(&server, up, carried, 32 * 1024);
        carried += 32 * 1024;
        let live = rig.daemon.live(2).unwrap();
        live.iter().any(|record| record.path == ["relay", "relay"])
    });
    assert!(is_found, "no flow is relayed");
    client.carry(&server, up, carried, MB);
    for (client, server) in [(client, server), (small_client, small_server)] {
        client.finish();
        server.expect_eof();
        server.finish();
        client.expect_eof();
    }
    let mut records = rig.records(2);
    records.sort_by_key(|record| record.up);
    rig.check(&records[0], 1000, 0, "--");
    assert_eq!(records[0].kernel, [0, 0], "{}", records[0].line);
    rig.check(&records[1], carried + MB, 0, "--");
    rig.check_path(&records[1], [MB, 0]);
    rig.stop();
}

/// Serves one flow through a daemon that `setpriv` has taken something from, and gives the daemon back.
fn serve_without(layout: Layout, path: Path, setpriv: &[&str]) {
    let net = Topology::new(layout).unwrap();
    let server_address = (net.server_addr.ipv4(), SERVER_PORT).into();
    let listener = net
        .server
        .run(|| listen(server_address, Buffers::default()))
        .unwrap();
    let proxy = (net.proxy_addr.ipv4(), PROXY_PORT).into();
    let config = Config::new(path, &proxy, &server_address);
    // A copy that any user may run: a build directory is often not for others to enter.
    let dir = tempfile::Builder::new()
        .prefix("underpass-test-")
        .tempdir()
        .unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let original = binary().unwrap();
    let program = dir.path().join(original.file_name().unwrap());
    std::fs::copy(&original, &program).unwrap();

    let text = config.text(is_haproxy(&program));
    let words = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
        .iter()
        .chain(setpriv);
    let daemon: Daemon = Launch::program(&program, text)
        .wrapper(words)
        .start(&net.proxy)
        .unwrap();
    for count in 1..=3 {
        let client = net
            .client
            .run(|| Peer::connect(proxy, Buffers::default()))
            .unwrap();
        let server = Peer::from(listener.accept().unwrap().0);
        Exchange::new(702, 4 * MB, 4 * MB).run(&client, &server);
        drop((client, server));
        let record = daemon.wait_records(count).unwrap().remove(count - 1);
        assert_eq!(
            (record.down, record.end.as_str()),
            (4 * MB, "--"),
            "{}",
            record.line
        );
        if record.up.is_none() {
            return; // The peer has no offload to miss.
        }
        assert_eq!(record.up, Some(4 * MB), "{}", record.line);
        assert_eq!(record.kernel, [0, 0], "{}", record.line);
        match path {
            Path::Redirect | Path::Relay => assert_ne!(record.why, "-", "{}", record.line),
            Path::Buffer | Path::Pipe => {
                assert_eq!(record.path, [path.word(); 2], "{}", record.line);
            }
        }
    }
    let warnings = daemon.warnings();
    assert!(warnings.len() <= 1, "{warnings:#?}");
    // One line and no more: not what a verifier or a library had to say besides.
    assert_eq!(
        daemon.diagnostics().len(),
        warnings.len(),
        "{:#?}",
        daemon.diagnostics()
    );
    if path.is_kernel() {
        let warning = warnings.first().expect("a warning").to_uppercase();
        let missing = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"];
        assert!(
            missing.iter().any(|name| warning.contains(name)),
            "{warnings:#?}"
        );
    }
}

fn root_without_capabilities(layout: Layout, path: Path) {
    serve_without(layout, path, &[]);
}

fn unprivileged_user(layout: Layout, path: Path) {
    serve_without(
        layout,
        path,
        &["--reuid=65534", "--regid=65534", "--clear-groups"],
    );
}

on_each_path!(Hosts as hosts: root_without_capabilities, unprivileged_user);
