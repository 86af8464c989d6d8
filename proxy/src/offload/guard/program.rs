//! The program with its maps, attached or not.

use std::time::Duration;

use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, TestRun as _, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use underpass_common::guard::PROGRAM;

use super::GuardError;
use super::plan::Plan;
use super::tables::{SIZES, Tables, Writer};
use crate::offload::object::OBJECT;

/// What the program does with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It goes on to the stack.
    Pass,
    /// It is dropped.
    Drop,
    /// It is sent back on its interface.
    Transmit,
}

/// One loaded program. Nothing is refused until there is a plan.
pub struct Program {
    ebpf: Ebpf,
    writer: Writer,
}

impl Program {
    /// Loads the program.
    ///
    /// # Errors
    /// When the binary carries none, or the kernel refuses it.
    pub fn load() -> Result<Self, GuardError> {
        if OBJECT.is_empty() {
            return Err(GuardError::NoObject);
        }
        let speak = crate::observe::tracing::wants_programs();
        let log_level = u8::from(speak) * aya_log::Level::Debug as u8;
        let mut loader = EbpfLoader::new();
        loader.override_global(aya_log::LEVEL, &log_level, false);
        for (map, size) in SIZES {
            loader.map_max_entries(map, size);
        }
        let mut ebpf = loader.load(OBJECT)?;
        // Before the maps are taken out: loading needs their descriptors.
        xdp(&mut ebpf)?.load().map_err(GuardError::Program)?;
        let tables = Tables::from_maps(|name| ebpf.take_map(name))?;
        Ok(Self {
            ebpf,
            writer: Writer::new(tables),
        })
    }

    /// Puts `plan` in the place of the rules in force.
    ///
    /// # Errors
    /// When it cannot be carried out; the rules in force then stay.
    pub fn replace(&mut self, plan: &Plan) -> Result<(), GuardError> {
        self.writer.replace(plan)
    }

    /// The maps.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        self.writer.tables()
    }

    /// Attaches the program to an interface; dropping the link detaches it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn attach(&mut self, interface: u32, mode: XdpMode) -> Result<XdpLink, ProgramError> {
        let program: &mut Xdp = match self.ebpf.program_mut(PROGRAM) {
            Some(program) => program.try_into()?,
            None => return Err(ProgramError::NotLoaded),
        };
        let link = program.attach_to_if_index(interface, mode)?;
        program.take_link(link)
    }

    /// Has the kernel run the program on a frame `repeat` times; what it does with it, what it makes
    /// of it, and the mean time of a run. The frame must have at least the 14 bytes of its header.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn run(
        &mut self,
        frame: &[u8],
        repeat: u32,
    ) -> Result<(Action, Vec<u8>, Duration), GuardError> {
        let mut out = vec![0; frame.len() + 256];
        let result = xdp(&mut self.ebpf)?
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                repeat,
                ..TestRunOptions::default()
            })
            .map_err(GuardError::Program)?;
        out.truncate(result.data_size_out as usize);
        let action = match result.return_value {
            XDP_DROP => Action::Drop,
            XDP_TX => Action::Transmit,
            _ => Action::Pass,
        };
        Ok((action, out, result.duration))
    }
}

const XDP_DROP: u32 = 1;
const XDP_TX: u32 = 3;

fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, GuardError> {
    let program = ebpf
        .program_mut(PROGRAM)
        .ok_or(GuardError::Missing(PROGRAM))?;
    program.try_into().map_err(GuardError::Program)
}
