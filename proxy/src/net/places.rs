//! How many connections may live at once: a number that may change while they do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// Places where nothing else is said: more than a process can have descriptors.
const UNLIMITED: usize = u32::MAX as usize;

/// Places for connections. Over the limit they wait in the kernel's backlog: nobody is refused.
#[derive(Debug)]
pub struct Places {
    semaphore: Arc<Semaphore>,
    /// As they are wanted.
    most: AtomicUsize,
    /// As they are: places to be taken away are taken as they become free.
    existing: Arc<AtomicUsize>,
    taking: Mutex<Option<AbortHandle>>,
}

impl Places {
    /// So many; `None`: as many as are asked for.
    #[must_use]
    pub fn new(most: Option<usize>) -> Self {
        let most = most.unwrap_or(UNLIMITED).min(UNLIMITED);
        Self {
            semaphore: Arc::new(Semaphore::new(most)),
            most: AtomicUsize::new(most),
            existing: Arc::new(AtomicUsize::new(most)),
            taking: Mutex::default(),
        }
    }

    /// How many there are, or will be once enough have been given back; `None`: no limit.
    #[must_use]
    pub fn most(&self) -> Option<usize> {
        let most = self.most.load(Ordering::Relaxed);
        (most < UNLIMITED).then_some(most)
    }

    /// Waits for a place. `None` never comes: the places are never closed.
    pub async fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.semaphore).acquire_owned().await.ok()
    }

    /// So many from now on. Whoever has a place keeps it.
    ///
    /// # Panics
    /// Outside of a runtime: a smaller number waits there for places to become free.
    pub fn resize(&self, most: usize) {
        let most = most.min(UNLIMITED);
        let mut taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = taking.take() {
            before.abort();
        }
        self.most.store(most, Ordering::Relaxed);
        let existing = self.existing.load(Ordering::Acquire);
        if most >= existing {
            self.semaphore.add_permits(most - existing);
            self.existing.store(most, Ordering::Release);
            return;
        }
        let semaphore = Arc::clone(&self.semaphore);
        let count = Arc::clone(&self.existing);
        // The queue is fair: nobody gets a place before these are gone.
        let less = u32::try_from(existing - most).unwrap_or(u32::MAX);
        let task = tokio::spawn(async move {
            if let Ok(places) = semaphore.acquire_many_owned(less).await {
                places.forget();
                count.store(most, Ordering::Release);
            }
        });
        *taking = Some(task.abort_handle());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::yield_now;

    /// How many places can be had now.
    async fn free(places: &Places) -> usize {
        // What was begun by a change is done, and what was given up is given back.
        for _ in 0..4 {
            yield_now().await;
        }
        let mut taken = Vec::new();
        while let Ok(place) = Arc::clone(&places.semaphore).try_acquire_owned() {
            taken.push(place);
            assert!(taken.len() < 100);
        }
        taken.len()
    }

    #[tokio::test]
    async fn the_number_of_places_changes_under_those_who_have_one() {
        let places = Places::new(Some(3));
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(places.take().await);
        }
        assert_eq!(free(&places).await, 0);
        places.resize(5);
        assert_eq!((places.most(), free(&places).await), (Some(5), 2));
        // Two too many: the next two that are given back are gone.
        places.resize(1);
        assert_eq!((places.most(), free(&places).await), (Some(1), 0));
        held.truncate(1);
        assert_eq!(free(&places).await, 0);
        held.clear();
        assert_eq!(free(&places).await, 1);
        places.resize(0);
        assert_eq!(free(&places).await, 0);
        places.resize(2);
        assert_eq!(free(&places).await, 2);
    }

    #[tokio::test]
    async fn a_change_of_mind_leaves_no_trace() {
        let places = Places::new(Some(4));
        let held = [places.take().await, places.take().await];
        places.resize(1);
        assert_eq!(free(&places).await, 0);
        places.resize(3);
        assert_eq!(free(&places).await, 1);
        drop(held);
        assert_eq!(free(&places).await, 3);
    }

    #[test]
    fn there_may_be_no_limit() {
        assert_eq!(Places::new(None).most(), None);
        assert_eq!(Places::new(Some(7)).most(), Some(7));
    }
}
