//! Whether a frontend's addresses take connections, and how that changes while the process runs.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// How long an order is waited for at most.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a frontend's addresses do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// They take connections.
    #[default]
    Open,
    /// They refuse them, and may be opened again.
    Paused,
    /// They are closed for good.
    Stopped,
}

/// Opens and closes the addresses of a frontend, on every worker.
#[derive(Debug)]
pub struct Valve {
    order: watch::Sender<Order>,
    /// How many of those who accept have not obeyed yet.
    owing: watch::Sender<usize>,
}

impl Default for Valve {
    fn default() -> Self {
        Self {
            order: watch::Sender::new(Order::default()),
            owing: watch::Sender::new(0),
        }
    }
}

impl Valve {
    /// What is in force.
    #[must_use]
    pub fn order(&self) -> Order {
        *self.order.borrow()
    }

    /// What one who accepts looks at.
    #[must_use]
    pub fn tap(&self) -> Tap<'_> {
        Tap {
            valve: self,
            orders: self.order.subscribe(),
            owes: false,
        }
    }

    /// Gives an order, and waits until all have obeyed.
    pub async fn turn(&self, order: Order) {
        self.owing.send_replace(self.order.receiver_count());
        self.order.send_replace(order);
        let mut owing = self.owing.subscribe();
        // One that has just ended, as its worker does, does not answer.
        let _ = timeout(PATIENCE, owing.wait_for(|owing| *owing == 0)).await;
    }
}

/// Follows a valve.
#[derive(Debug)]
pub struct Tap<'a> {
    valve: &'a Valve,
    orders: watch::Receiver<Order>,
    /// It has seen an order, and not yet said that it has obeyed.
    owes: bool,
}

impl Tap<'_> {
    /// Waits for another order.
    pub async fn turned(&mut self) {
        if self.owes || self.orders.changed().await.is_ok() {
            self.owes = true;
        }
    }

    /// What is to be done now.
    pub fn order(&mut self) -> Order {
        self.owes |= self.orders.has_changed().unwrap_or(false);
        *self.orders.borrow_and_update()
    }

    /// It is done.
    pub fn obeyed(&mut self) {
        if std::mem::take(&mut self.owes) {
            self.valve
                .owing
                .send_modify(|owing| *owing = owing.saturating_sub(1));
        }
    }
}

impl Drop for Tap<'_> {
    /// Who accepts no more is not waited for.
    fn drop(&mut self) {
        self.order();
        self.obeyed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_is_waited_for() {
        let valve = Valve::default();
        let (mut one, mut two) = (valve.tap(), valve.tap());
        assert_eq!(one.order(), Order::Open);
        // Nothing was ordered: there is nothing to have obeyed.
        one.obeyed();
        let mut turn = Box::pin(valve.turn(Order::Paused));
        tokio::select! {
            biased;
            () = &mut turn => panic!("nobody has obeyed"),
            () = one.turned() => {}
        }
        assert_eq!(one.order(), Order::Paused);
        one.obeyed();
        one.obeyed();
        tokio::select! {
            biased;
            () = &mut turn => panic!("one has not obeyed"),
            () = two.turned() => {}
        }
        drop(two);
        turn.await;
        drop(one);
        assert_eq!(valve.order(), Order::Paused);
        valve.turn(Order::Stopped).await;
        assert_eq!(valve.tap().order(), Order::Stopped);
    }
}
