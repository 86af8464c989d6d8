//! Packets that arrive damaged, so that their receiver has to notice: an eBPF classifier that flips bits.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::sys::bpf;

/// What a damaged packet is recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A bit anywhere in the TCP header or its payload is another, and the checksum does not fit. The device must leave
    /// checksums to software: one that is computed, or taken for computed, after this would make the damage good.
    Checksum(Mask),
    /// The IPv4 header's checksum, or the length of the TCP header over IPv6, is wrong; the rest is right. For loopback,
    /// where nobody computes or looks at TCP's checksum.
    Header,
}

/// A classifier that damages packets, and how many it has damaged.
#[derive(Debug)]
pub struct Damager {
    program: OwnedFd,
    met: bpf::Counter,
}

/// A name in the bpf file system, given up when it is dropped.
#[derive(Debug)]
pub struct Pinned(PathBuf);

impl Pinned {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It may be gone with the file system.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Damager {
    /// Damages `share` of a thousand TCP packets.
    ///
    /// # Errors
    /// When the kernel does not load it, mostly for want of root.
    pub fn new(damage: Damage, share: u32) -> Result<Self> {
        let met = bpf::Counter::new().context("a map for the damager")?;
        let program = assemble(damage, share, met.fd());
        let program = bpf::load_classifier(&program).context("load the damager")?;
        Ok(Self { program, met })
    }

    /// A name for tc to find the classifier by; needed no longer than that takes.
    ///
    /// # Errors
    /// When there is no bpf file system in its usual place.
    pub fn pin(&self) -> Result<Pinned> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("/sys/fs/bpf/up-{}-damage-{number}", std::process::id());
        let pinned = Pinned(name.into());
        bpf::pin(&self.program, pinned.path())
            .with_context(|| format!("pin {}", pinned.path().display()))?;
        Ok(pinned)
    }

    /// How many packets it has damaged.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn met(&self) -> io::Result<u64> {
        self.met.read()
    }
}

// Instruction codes, as the kernel's `bpf.h` has them.
const MOV: u8 = 0xbf;
const MOV_IMM: u8 = 0xb7;
const ADD: u8 = 0x0f;
const ADD_IMM: u8 = 0x07;
const SUB: u8 = 0x1f;
const AND_IMM: u8 = 0x57;
const OR_IMM: u8 = 0x47;
const XOR: u8 = 0xaf;
const XOR_IMM: u8 = 0xa7;
const SHIFT: u8 = 0x6f;
const SHIFT_IMM: u8 = 0x67;
const MODULO: u8 = 0x9f;
const LOAD_BYTE_AT: u8 = 0x30;
const LOAD_HALF_AT: u8 = 0x28;
const LOAD_BYTE: u8 = 0x71;
const LOAD_HALF: u8 = 0x69;
const LOAD_WORD: u8 = 0x61;
const STORE_BYTE: u8 = 0x73;
const STORE_HALF: u8 = 0x6b;
const STORE_WORD_IMM: u8 = 0x62;
const LOAD_WIDE: u8 = 0x18;
const ATOMIC_ADD: u8 = 0xdb;
const GOTO: u8 = 0x05;
const IF_EQUAL: u8 = 0x15;
const IF_OTHER: u8 = 0x55;
const IF_AT_LEAST_32: u8 = 0x36;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

// Helper functions.
const MAP_LOOKUP_ELEM: i32 = 1;
const GET_PRANDOM_U32: i32 = 7;
const SKB_STORE_BYTES: i32 = 9;
const SKB_LOAD_BYTES: i32 = 26;
const CSUM_LEVEL: i32 = 135;

const CSUM_LEVEL_RESET: i32 = 3;

/// The packet, where TCP starts in it, and where the damage is done; kept across calls.
const PACKET: u8 = 6;
const TCP: u8 = 7;
const AT: u8 = 8;
const STACK: u8 = 10;

/// Where the packet's bytes are changed on the stack.
const SCRATCH: i16 = -8;

/// How a checksum is changed. For either one, and for both one after the other, which is what a packet may meet that passes
/// two links: over the bits, no sum of the numbers that they stand for, each added or taken off, is that of as many
/// flipped bits elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// On the way to the daemon.
    In,
    /// On the way from it.
    Out,
}

impl Mask {
    fn bits(self) -> i32 {
        match self {
            Self::In => 0x5a5a,
            Self::Out => 0x3939,
        }
    }
}

/// A program that is being written: its instructions, and the jumps whose targets are not known yet.
#[derive(Default)]
struct Assembler {
    code: Vec<u64>,
    open: Vec<(usize, &'static str)>,
}

impl Assembler {
    fn put(&mut self, code: u8, to: u8, from: u8, offset: i16, value: i32) -> &mut Self {
        let [o0, o1] = offset.to_le_bytes();
        let [v0, v1, v2, v3] = value.to_le_bytes();
        let bytes = [code, to | from << 4, o0, o1, v0, v1, v2, v3];
        self.code.push(u64::from_le_bytes(bytes));
        self
    }

    fn jump(&mut self, code: u8, register: u8, value: i32, label: &'static str) -> &mut Self {
        self.open.push((self.code.len(), label));
        self.put(code, register, 0, 0, value)
    }

    /// The jumps to `label` lead here.
    fn label(&mut self, label: &'static str) -> &mut Self {
        let here = self.code.len();
        for (at, _) in self.open.extract_if(.., |(_, to)| *to == label) {
            let distance = i16::try_from(here - at - 1).expect("a short program");
            self.code[at] |= u64::from(distance.cast_unsigned()) << 16;
        }
        self
    }

    /// Bytes of the packet at the place in [`AT`], to or from the stack.
    fn bytes(&mut self, helper: i32, length: i32) -> &mut Self {
        self.put(MOV, 1, PACKET, 0, 0)
            .put(MOV, 2, AT, 0, 0)
            .put(MOV, 3, STACK, 0, 0)
            .put(ADD_IMM, 3, 0, 0, SCRATCH.into())
            .put(MOV_IMM, 4, 0, 0, length)
            .put(MOV_IMM, 5, 0, 0, 0)
            .put(CALL, 0, 0, 0, helper)
    }

    /// Loads bytes at [`AT`], and gives up when they are not there.
    fn load(&mut self, length: i32) -> &mut Self {
        self.bytes(SKB_LOAD_BYTES, length)
            .jump(IF_OTHER, 0, 0, "pass")
    }

    /// Changes the two bytes at [`AT`] by `mask`.
    fn change_checksum(&mut self, mask: Mask) -> &mut Self {
        self.load(2)
            .put(LOAD_HALF, 1, STACK, SCRATCH, 0)
            .put(XOR_IMM, 1, 0, 0, mask.bits())
            .put(STORE_HALF, STACK, 1, SCRATCH, 0)
            .bytes(SKB_STORE_BYTES, 2)
    }
}

fn assemble(damage: Damage, share: u32, counter: i32) -> Vec<u64> {
    let few = (u32::MAX / 1000 * share).cast_signed();
    let mut program = Assembler::default();
    let is_tcp = |program: &mut Assembler, protocol_at: i32| {
        program
            .put(LOAD_BYTE_AT, 0, 0, 0, protocol_at)
            .jump(IF_OTHER, 0, 6, "pass");
    };
    let one_of_a_thousand = |program: &mut Assembler| {
        program
            .put(CALL, 0, 0, 0, GET_PRANDOM_U32)
            .jump(IF_AT_LEAST_32, 0, few, "pass");
    };
    program
        .put(MOV, PACKET, 1, 0, 0)
        .put(LOAD_HALF_AT, 0, 0, 0, 12)
        .jump(IF_EQUAL, 0, 0x0800, "IPv4")
        .jump(IF_OTHER, 0, 0x86dd, "pass");
    is_tcp(&mut program, 20);
    program.put(MOV_IMM, TCP, 0, 0, 54);
    match damage {
        Damage::Checksum(_) => {
            program.jump(GOTO, 0, 0, "TCP");
        }
        Damage::Header => {
            one_of_a_thousand(&mut program);
            // The length of the header, in the upper half of its byte, becomes one word.
            program
                .put(MOV, AT, TCP, 0, 0)
                .put(ADD_IMM, AT, 0, 0, 12)
                .load(1)
                .put(LOAD_BYTE, 1, STACK, SCRATCH, 0)
                .put(AND_IMM, 1, 0, 0, 0x0f)
                .put(OR_IMM, 1, 0, 0, 0x10)
                .put(STORE_BYTE, STACK, 1, SCRATCH, 0)
                .bytes(SKB_STORE_BYTES, 1)
                .jump(GOTO, 0, 0, "count");
        }
    }
    program.label("IPv4");
    is_tcp(&mut program, 23);
    match damage {
        Damage::Checksum(mask) => {
            program
                .put(LOAD_BYTE_AT, 0, 0, 0, 14)
                .put(AND_IMM, 0, 0, 0, 0x0f)
                .put(SHIFT_IMM, 0, 0, 0, 2)
                .put(MOV, TCP, 0, 0, 0)
                .put(ADD_IMM, TCP, 0, 0, 14)
                .label("TCP");
            one_of_a_thousand(&mut program);
            program
                .put(MOV, AT, TCP, 0, 0)
                .put(ADD_IMM, AT, 0, 0, 16)
                .change_checksum(mask)
                // Anywhere behind the ports: a packet of another flow would be damaged in another way.
                .put(CALL, 0, 0, 0, GET_PRANDOM_U32)
                .put(LOAD_WORD, 1, PACKET, 0, 0)
                .put(SUB, 1, TCP, 0, 0)
                .put(ADD_IMM, 1, 0, 0, -4)
                .put(MODULO, 0, 1, 0, 0)
                .put(MOV, AT, TCP, 0, 0)
                .put(ADD_IMM, AT, 0, 0, 4)
                .put(ADD, AT, 0, 0, 0)
                .load(1)
                .put(CALL, 0, 0, 0, GET_PRANDOM_U32)
                .put(AND_IMM, 0, 0, 0, 7)
                .put(MOV_IMM, 2, 0, 0, 1)
                .put(SHIFT, 2, 0, 0, 0)
                .put(LOAD_BYTE, 1, STACK, SCRATCH, 0)
                .put(XOR, 1, 2, 0, 0)
                .put(STORE_BYTE, STACK, 1, SCRATCH, 0)
                .bytes(SKB_STORE_BYTES, 1);
        }
        Damage::Header => {
            one_of_a_thousand(&mut program);
            program.put(MOV_IMM, AT, 0, 0, 24).change_checksum(Mask::In);
        }
    }
    program
        .label("count")
        // Whoever has found the sum right before does not vouch for it any more.
        .put(MOV, 1, PACKET, 0, 0)
        .put(MOV_IMM, 2, 0, 0, CSUM_LEVEL_RESET)
        .put(CALL, 0, 0, 0, CSUM_LEVEL)
        .put(STORE_WORD_IMM, STACK, 0, SCRATCH, 0)
        // The second half of the wide load is zero; 1 marks the value as a map.
        .put(LOAD_WIDE, 1, 1, 0, counter)
        .put(0, 0, 0, 0, 0)
        .put(MOV, 2, STACK, 0, 0)
        .put(ADD_IMM, 2, 0, 0, SCRATCH.into())
        .put(CALL, 0, 0, 0, MAP_LOOKUP_ELEM)
        .jump(IF_EQUAL, 0, 0, "pass")
        .put(MOV_IMM, 1, 0, 0, 1)
        .put(ATOMIC_ADD, 0, 1, 0, 0)
        // On to the next classifier.
        .label("pass")
        .put(MOV_IMM, 0, 0, 0, -1)
        .put(EXIT, 0, 0, 0, 0);
    assert!(program.open.is_empty(), "every jump has a target");
    program.code
}
