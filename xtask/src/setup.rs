//! `cargo xtask setup`: installs what is missing, and only that.
//!
//! Each step first looks whether it is needed, so that running it again costs nothing, and prints
//! one line.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::apt::{self, Ability};
use crate::toolchain::{self, BPF_LINKER_VERSION, BpfToolchain, LLVM_MAJOR};
use crate::workspace::{Workspace, find_program};
use crate::{logged, progress};

/// What the machine is to be made fit for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// Building and running the daemon.
    Build,
    /// Also running the tests.
    Test,
    /// Also running the benches.
    Bench,
}

/// Debian's packages for the eBPF compiler and for compiling `bpf-linker`.
const BUILD_PACKAGES: &[&str] = &[
    "rustc-web",
    "rust-web-src",
    "llvm-22-dev",
    "libpolly-22-dev",
    "libzstd-dev",
    "zlib1g-dev",
    // LLVM is C++: its linking wants libstdc++.so.
    "g++",
];

/// Programs that the tests start, each with its Debian package.
const TEST_PROGRAMS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("ethtool", "ethtool"),
    ("bpftool", "bpftool"),
    ("tcpdump", "tcpdump"),
    ("haproxy", "haproxy"),
    ("nginx", "nginx-light"),
    ("redis-server", "redis-server"),
    ("curl", "curl"),
    ("socat", "socat"),
    ("openssl", "openssl"),
];

/// Programs that only the benches start, each with its Debian package.
const BENCH_PROGRAMS: &[(&str, &str)] = &[("wrk", "wrk"), ("iperf3", "iperf3")];

/// Makes the machine fit for `need` and returns the tools for the eBPF object.
///
/// # Errors
///
/// If a step cannot be done; the message says which, why, and what would help.
pub(crate) fn run(workspace: &Workspace, need: Need) -> Result<BpfToolchain> {
    let toolchain = ebpf_tools(workspace)?;
    if need >= Need::Test {
        programs("test programs", TEST_PROGRAMS, workspace)?;
        bpf_filesystem();
    }
    if need >= Need::Bench {
        programs("bench programs", BENCH_PROGRAMS, workspace)?;
    }
    Ok(toolchain)
}

/// The compiler and the linker of the eBPF programs.
fn ebpf_tools(workspace: &Workspace) -> Result<BpfToolchain> {
    if let Some(toolchain) = BpfToolchain::installed(workspace) {
        progress("setup", &format!("eBPF tools: {}", toolchain.describe()));
        return Ok(toolchain);
    }
    install_ebpf_tools(workspace).map_err(|error| {
        anyhow!(
            "{error:#}\nOr, without Debian's packages: have a rustup nightly with rust-src, and a \
             bpf-linker on PATH."
        )
    })?;
    BpfToolchain::installed(workspace).context("the eBPF tools are installed, and still do not run")
}

/// Debian's compiler, and the linker that fits it.
fn install_ebpf_tools(workspace: &Workspace) -> Result<()> {
    let missing = apt::missing(BUILD_PACKAGES);
    install("eBPF compiler", &missing, workspace)?;
    toolchain::debian_compiler()?;
    bpf_linker(workspace)
}

/// Compiles the pinned `bpf-linker` into `.tools`.
fn bpf_linker(workspace: &Workspace) -> Result<()> {
    if toolchain::own_linker(workspace).is_some() {
        return Ok(());
    }
    progress(
        "setup",
        &format!("bpf-linker {BPF_LINKER_VERSION}: compiling into .tools (some minutes)"),
    );
    let mut command = workspace.cargo();
    command
        .args(["install", "bpf-linker", "--locked", "--force"])
        .args(["--version", BPF_LINKER_VERSION, "--no-default-features"])
        .arg(format!("--features=llvm-{LLVM_MAJOR}"))
        .arg("--root")
        .arg(workspace.tools())
        .env("LLVM_PREFIX", format!("/usr/lib/llvm-{LLVM_MAJOR}"));
    logged(workspace, "bpf-linker", &mut command).context(
        "bpf-linker could not be compiled; cargo must be able to reach its registry for that",
    )
}

/// Installs the packages of those programs that are not there.
fn programs(what: &str, programs: &[(&str, &'static str)], workspace: &Workspace) -> Result<()> {
    let mut missing: Vec<_> = programs
        .iter()
        .filter(|(program, _)| find_program(program).is_none())
        .map(|&(_, package)| package)
        .collect();
    missing.dedup();
    if missing.is_empty() {
        progress("setup", &format!("{what}: present"));
        return Ok(());
    }
    install(what, &missing, workspace)
}

fn install(what: &str, packages: &[&str], workspace: &Workspace) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    match apt::ability() {
        Ability::May => {}
        Ability::NotRoot => bail!(
            "{what}: these Debian packages are missing, and only root may install them: {list}\n\
             Run `cargo xtask setup` as root once, or: apt-get install --no-install-recommends {list}"
        ),
        Ability::NoApt => {
            bail!("{what}: this machine has no apt-get; install what Debian calls: {list}")
        }
    }
    progress("setup", &format!("{what}: installing {list}"));
    apt::install(packages, workspace)
        .with_context(|| format!("{what}: apt-get could not install {list}"))
}

/// Mounts the bpf file system. Its absence is a test's failure and not set-up's.
fn bpf_filesystem() {
    const PLACE: &str = "/sys/fs/bpf";
    let mounted = fs::read_to_string("/proc/mounts")
        .is_ok_and(|mounts| mounts.lines().any(|line| is_bpffs(line, PLACE)));
    if mounted {
        progress("setup", "bpf file system: mounted");
        return;
    }
    let done = Command::new("mount")
        .args(["-t", "bpf", "bpf", PLACE])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    progress(
        "setup",
        if done {
            "bpf file system: now mounted on /sys/fs/bpf"
        } else {
            "bpf file system: cannot be mounted on /sys/fs/bpf; tests that pin will fail"
        },
    );
}

/// Whether this line of `/proc/mounts` is a bpf file system at `place`.
fn is_bpffs(line: &str, place: &str) -> bool {
    let mut words = line.split(' ').skip(1);
    words.next() == Some(place) && words.next() == Some("bpf")
}
