//! Counts checks that agree: a server changes sides only after enough of them in a row.

/// How far a server is from changing sides. From 0 to `rise - 1` it is down, from `rise` to
/// `rise + fall - 1` it is up; one dissenting check takes it back to the end of its side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meter {
    rise: u32,
    fall: u32,
    health: u32,
}

impl Meter {
    /// Of a server that was not checked yet: up, and down after the first failure.
    #[must_use]
    pub fn new(rise: u32, fall: u32) -> Self {
        Self {
            rise: rise.max(1),
            fall: fall.max(1),
            health: rise.max(1),
        }
    }

    /// Good checks that bring a server up.
    #[must_use]
    pub fn rise(&self) -> u32 {
        self.rise
    }

    /// Bad checks that bring it down.
    #[must_use]
    pub fn fall(&self) -> u32 {
        self.fall
    }

    /// Where it is, from 0 to `rise + fall - 1`.
    #[must_use]
    pub fn health(&self) -> u32 {
        self.health
    }

    /// Whether the checks call the server up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.health >= self.rise
    }

    /// Whether nothing could be better.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.health == self.full()
    }

    fn full(&self) -> u32 {
        self.rise + self.fall - 1
    }

    /// A check passed; false where that is nothing new.
    pub fn pass(&mut self) -> bool {
        if self.is_full() {
            return false;
        }
        self.health += 1;
        if self.is_up() {
            self.health = self.full();
        }
        true
    }

    /// A check failed; false where that is nothing new.
    pub fn fail(&mut self) -> bool {
        if self.health == 0 {
            return false;
        }
        self.health -= 1;
        if !self.is_up() {
            self.health = 0;
        }
        true
    }

    /// Somebody knows better: it is up.
    pub fn fill(&mut self) {
        self.health = self.full();
    }

    /// Somebody knows better: it is down.
    pub fn clear(&mut self) {
        self.health = 0;
    }

    /// Up, and down after one failure.
    pub fn doubt(&mut self) {
        self.health = self.rise;
    }

    /// As [`Meter::doubt`], after two failures; nothing where it is closer already.
    pub fn weaken(&mut self) {
        if self.health > self.rise {
            self.health = self.rise + 1;
        }
    }

    /// How many checks it is into its side, and how many that side has: HAProxy's `2/3 UP`.
    #[must_use]
    pub fn position(&self) -> (u32, u32) {
        if self.is_up() {
            (self.health - self.rise + 1, self.fall)
        } else {
            (self.health, self.rise)
        }
    }
}
