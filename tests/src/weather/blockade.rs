//! A link on which nothing passes in one direction, for as long as a test wants.

use anyhow::Result;

use super::{met, run};
use crate::netns::Netns;

/// Which packets of a host are kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Those that arrive.
    In,
    /// Those that leave.
    Out,
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Self::In => "ingress",
            Self::Out => "egress",
        }
    }
}

/// Nothing passes a device in one direction until this is dropped. One at a time for each host, and none in bad weather.
pub struct Blockade {
    host: Netns,
    dev: &'static str,
    way: Way,
}

/// A device that is never up: what is sent there is lost.
const NOWHERE: &str = "nowhere";
/// A classic BPF program, as tc takes it, that matches everything.
const ALL: &str = "1,6 0 0 4294967295";

impl Blockade {
    /// Nothing passes `dev` of `host` this `way` from now on.
    ///
    /// # Errors
    /// When the kernel lacks ifb, cls_bpf or act_mirred.
    pub fn new(host: &Netns, dev: &'static str, way: Way) -> Result<Self> {
        run(host, "ip", &format!("link add {NOWHERE} type ifb"))?;
        // From here on there is something to remove.
        let blockade = Self {
            host: host.clone(),
            dev,
            way,
        };
        run(host, "tc", &format!("qdisc add dev {dev} clsact"))?;
        let filter = format!(
            "filter add dev {dev} {} prio 1 protocol all bpf bytecode",
            way.word()
        );
        let action = format!("action mirred egress redirect dev {NOWHERE}");
        let words = filter.split(' ').chain([ALL]).chain(action.split(' '));
        super::tool(host, "tc", words)?;
        Ok(blockade)
    }

    /// How many packets have been kept out.
    ///
    /// # Errors
    /// When tc does not tell.
    pub fn met(&self) -> Result<u64> {
        Ok(met(&self.host, self.dev, self.way.word())?.iter().sum())
    }
}

impl Drop for Blockade {
    fn drop(&mut self) {
        // They go with the host at the latest.
        let _ = run(
            &self.host,
            "tc",
            &format!("qdisc del dev {} clsact", self.dev),
        );
        let _ = run(&self.host, "ip", &format!("link del {NOWHERE}"));
    }
}
