//! When an established flow has been idle too long: decided from times alone.
//!
//! A side is active when it sends or takes bytes. `timeout tunnel`, where set, replaces the
//! timeouts of both sides while both directions are open; once one has ended, `client-fin` and
//! `server-fin` do, where set.

use std::time::{Duration, Instant};

use crate::config::model::Timeouts;
use crate::conn::Side;

/// What an established flow's clocks run against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleLimits {
    client: Option<Duration>,
    server: Option<Duration>,
    tunnel: Option<Duration>,
    client_fin: Option<Duration>,
    server_fin: Option<Duration>,
}

impl IdleLimits {
    /// The client's side from the frontend, the server's and the tunnel from the backend, as far
    /// as each is set.
    #[must_use]
    pub fn new(frontend: &Timeouts, backend: &Timeouts) -> Self {
        Self {
            client: frontend.client,
            server: backend.server,
            tunnel: backend.tunnel.or(frontend.tunnel),
            client_fin: frontend.client_fin,
            server_fin: backend.server_fin,
        }
    }

    /// The limit of a side of its own; `None` where the tunnel's holds, or none does.
    fn own(&self, side: Side, half_closed: bool) -> Option<Duration> {
        let (plain, fin) = match side {
            Side::Client => (self.client, self.client_fin),
            Side::Server => (self.server, self.server_fin),
        };
        let plain = plain.filter(|_| self.tunnel.is_none());
        if half_closed { fin.or(plain) } else { plain }
    }

    /// The moment at which the flow will have been idle too long, and the side to blame, given
    /// when each side was last active. `half_closed`: one direction has ended. A tunnel that was
    /// idle is the client's fault.
    #[must_use]
    pub fn deadline(&self, active: [Instant; 2], half_closed: bool) -> Option<(Instant, Side)> {
        let sides = Side::BOTH.into_iter().filter_map(|side| {
            let limit = self.own(side, half_closed)?;
            Some((active[side.index()].checked_add(limit)?, side))
        });
        // A tunnel is idle when nothing moves in it at all.
        let covered = |side| self.own(side, half_closed).is_some();
        let tunnel = self
            .tunnel
            .filter(|_| !Side::BOTH.into_iter().all(covered))
            .and_then(|limit| active[0].max(active[1]).checked_add(limit))
            .map(|at| (at, Side::Client));
        // The first minimum: of two that fall together the client is to blame.
        tunnel.into_iter().chain(sides).min_by_key(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn limits() -> IdleLimits {
        IdleLimits::new(
            &Timeouts {
                client: Some(10 * S),
                client_fin: Some(S),
                ..Timeouts::default()
            },
            &Timeouts {
                server: Some(20 * S),
                ..Timeouts::default()
            },
        )
    }

    #[test]
    fn the_side_that_was_silent_longest_is_to_blame() {
        let now = Instant::now();
        assert_eq!(
            limits().deadline([now, now], false),
            Some((now + 10 * S, Side::Client))
        );
        assert_eq!(
            limits().deadline([now + 15 * S, now], false),
            Some((now + 20 * S, Side::Server))
        );
    }

    #[test]
    fn a_tunnel_limit_replaces_both_and_blames_the_client() {
        let now = Instant::now();
        let tunnel = IdleLimits {
            tunnel: Some(60 * S),
            ..limits()
        };
        for active in [[now, now], [now, now - S], [now - S, now]] {
            assert_eq!(
                tunnel.deadline(active, false),
                Some((now + 60 * S, Side::Client))
            );
        }
    }

    #[test]
    fn half_closed_flows_have_limits_of_their_own() {
        let now = Instant::now();
        assert_eq!(
            limits().deadline([now, now], true),
            Some((now + S, Side::Client))
        );
    }

    #[test]
    fn no_limit_no_deadline() {
        let now = Instant::now();
        let none = IdleLimits::new(&Timeouts::default(), &Timeouts::default());
        assert_eq!(none.deadline([now, now], false), None);
    }
}
