//! The relay's programs, loaded from the object that the daemon carries and attached to nothing.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aya::maps::{Array, HashMap, MapData, RingBuf};
use aya::programs::{ProgramError, SchedClassifier, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use underpass::offload::object::OBJECT;
use underpass_common::relay::{Flow, Key, Terms};
use underpass_tests::netns::Netns;

/// To the next program, and to the stack after the last one.
pub(crate) const NEXT: i32 = -1;
/// The frame goes no further.
pub(crate) const DROP: i32 = 2;
/// The frame goes to another interface.
pub(crate) const REDIRECT: i32 = 7;

/// One of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// What looks at frames that arrive.
    In,
    /// What looks at frames that leave.
    Out,
    /// What looks for the words of routers.
    Icmp,
}

impl Which {
    fn name(self) -> &'static str {
        match self {
            Self::In => "underpass_relay_in",
            Self::Out => "underpass_relay_out",
            Self::Icmp => "underpass_relay_icmp",
        }
    }
}

/// What comes with a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Around {
    /// `skb->mark`.
    pub(crate) mark: u32,
    /// The payload of its segments, if it is of several.
    pub(crate) gso_size: u32,
}

/// What a program made of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) verdict: i32,
    pub(crate) frame: Vec<u8>,
    pub(crate) mark: u32,
    /// The mean time of a run.
    pub(crate) time: Duration,
}

/// The programs, with one flow in slot 1 of their maps.
pub(crate) struct Object {
    ebpf: Ebpf,
    keys: HashMap<MapData, Key, u32>,
    flows: Array<MapData, Flow>,
    events: RingBuf<MapData>,
}

const SLOT: u32 = 1;

/// Runs a test with the programs in a namespace of its own: copies of frames that they make arrive there.
pub(crate) fn with_object(test: impl FnOnce(&mut Object) + Send) {
    static NEXT_NAME: AtomicU32 = AtomicU32::new(0);
    let number = NEXT_NAME.fetch_add(1, Ordering::Relaxed);
    let ns = Netns::new(&format!("up-{}-packets{number}", std::process::id())).unwrap();
    ns.run(|| test(&mut Object::load()));
}

impl Object {
    fn load() -> Self {
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("RELAY_FLOWS", 2)
            .map_max_entries("RELAY_KEYS", 8)
            .load(OBJECT)
            .unwrap();
        for which in [Which::In, Which::Out, Which::Icmp] {
            program(&mut ebpf, which).load().unwrap();
        }
        Self {
            keys: HashMap::try_from(ebpf.take_map("RELAY_KEYS").unwrap()).unwrap(),
            flows: Array::try_from(ebpf.take_map("RELAY_FLOWS").unwrap()).unwrap(),
            events: RingBuf::try_from(ebpf.take_map("RELAY_EVENTS").unwrap()).unwrap(),
            ebpf,
        }
    }

    /// Lays the flow down in the place of the one before it.
    pub(crate) fn enter(&mut self, flow: &Flow) {
        let known: Vec<Key> = self.keys.keys().map(Result::unwrap).collect();
        for key in known {
            self.keys.remove(&key).unwrap();
        }
        for (end, terms) in (0..).zip(&flow.terms) {
            self.keys.insert(key(terms), SLOT * 2 + end, 0).unwrap();
        }
        self.flows.set(SLOT, flow, 0).unwrap();
        while self.events.next().is_some() {}
    }

    /// The flow as it is now.
    pub(crate) fn flow(&self) -> Flow {
        self.flows.get(&SLOT, 0).unwrap()
    }

    /// What the daemon has been told since it was asked last, in order.
    pub(crate) fn events(&mut self) -> Vec<u32> {
        let mut events = Vec::new();
        while let Some(event) = self.events.next() {
            let word = |at: usize| u32::from_ne_bytes(event[at..at + 4].try_into().unwrap());
            assert_eq!(word(0), SLOT);
            events.push(word(4));
        }
        events
    }

    /// Has the kernel run a program on a frame.
    pub(crate) fn run(&mut self, which: Which, frame: &[u8], around: Around) -> Ran {
        self.repeat(which, frame, around, 1)
    }

    /// As [`Object::run`]; `None` for a frame that the kernel does not take for a test.
    pub(crate) fn try_run(&mut self, which: Which, frame: &[u8], around: Around) -> Option<Ran> {
        self.try_repeat(which, frame, around, 1).ok()
    }

    /// As [`Object::run`], `repeat` times on the same buffer.
    pub(crate) fn repeat(
        &mut self,
        which: Which,
        frame: &[u8],
        around: Around,
        repeat: u32,
    ) -> Ran {
        self.try_repeat(which, frame, around, repeat).unwrap()
    }

    fn try_repeat(
        &mut self,
        which: Which,
        frame: &[u8],
        around: Around,
        repeat: u32,
    ) -> Result<Ran, ProgramError> {
        let mut out = vec![0; frame.len() + 256];
        let context = context(around);
        let mut context_out = [0; CONTEXT];
        let result = program(&mut self.ebpf, which).test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ctx_out: Some(&mut context_out),
            repeat,
            ..TestRunOptions::default()
        })?;
        out.truncate(result.data_size_out as usize);
        Ok(Ran {
            verdict: result.return_value.cast_signed(),
            frame: out,
            mark: u32::from_ne_bytes(context_out[MARK..MARK + 4].try_into().unwrap()),
            time: result.duration,
        })
    }

    /// What the verifier looked at to accept a program, and how long it is: instructions, bytes.
    pub(crate) fn size(&mut self, which: Which) -> (u32, u32) {
        let info = program(&mut self.ebpf, which).info().unwrap();
        (
            info.verified_instruction_count().unwrap(),
            info.size_translated().unwrap(),
        )
    }
}

fn program(ebpf: &mut Ebpf, which: Which) -> &mut SchedClassifier {
    ebpf.program_mut(which.name()).unwrap().try_into().unwrap()
}

/// The key of the segments of an end.
pub(crate) fn key(terms: &Terms) -> Key {
    Key {
        remote: terms.remote,
        local: terms.local,
        ports: terms.ports.rotate_left(16),
    }
}

// Offsets in `struct __sk_buff`, and its size.
const MARK: usize = 8;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;
const CONTEXT: usize = 192;

fn context(around: Around) -> [u8; CONTEXT] {
    let mut context = [0; CONTEXT];
    let mut put = |at: usize, value: u32| {
        context[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    };
    put(MARK, around.mark);
    if around.gso_size != 0 {
        put(GSO_SEGS, 2);
        put(GSO_SIZE, around.gso_size);
    }
    context
}
