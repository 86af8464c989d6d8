//! Slots of services: each has one SRV record at most, and keeps it for as long as it counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{By, Effect, Machine};
use crate::backend::names::choose::choose;
use crate::backend::names::question::Service;
use crate::config::model::names::Wish;
use crate::rules::scene::Millis;

/// Why a server goes down whose record is gone: HAProxy's words.
const REMOVED: &str = "entry removed from SRV record";

impl Machine {
    /// Gives every record of a service a slot in every backend that has the service.
    pub(super) fn give_services(&mut self, id: u64, now: Millis) {
        let slots: Vec<usize> = (0..self.slots.len())
            .filter(|index| {
                let place = self.slots[*index].service.as_ref();
                place.is_some_and(|place| place.inquiry == id)
            })
            .collect();
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let services: Vec<Service> = entry.services.iter().cloned().collect();
        let backends: BTreeSet<usize> = slots
            .iter()
            .map(|index| self.slots[*index].at.backend)
            .collect();
        for backend in backends {
            let of_backend = |index: &usize| self.slots[*index].at.backend == backend;
            let slots: Vec<usize> = slots.iter().copied().filter(of_backend).collect();
            self.fill(&slots, &services, now);
        }
        self.forget_unused();
    }

    fn fill(&mut self, slots: &[usize], services: &[Service], now: Millis) {
        for &index in slots {
            if !services.iter().any(|service| self.has(index, service)) {
                self.empty(index);
            }
        }
        for service in services {
            let found = slots
                .iter()
                .find(|index| self.has(**index, service))
                .or_else(|| {
                    slots
                        .iter()
                        .find(|index| self.slots[**index].host.is_none())
                });
            // More records than slots: they wait for one.
            if let Some(&index) = found {
                self.attach(index, service, now);
            }
        }
    }

    /// Whether a slot has this record.
    fn has(&self, index: usize, service: &Service) -> bool {
        let slot = &self.slots[index];
        let port = slot.service.as_ref().and_then(|place| place.port);
        slot.host.as_ref() == Some(&service.target) && port == Some(service.port)
    }

    fn empty(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        slot.inquiry = None;
        if let Some(place) = &mut slot.service {
            place.port = None;
            place.weight = None;
        }
        let host = slot.host.take();
        self.take_down(index, REMOVED);
        if host.is_some() {
            let change = Effect::Host {
                from: host,
                to: None,
            };
            self.change(index, change);
        }
    }

    fn attach(&mut self, index: usize, service: &Service, now: Millis) {
        let slot = &mut self.slots[index];
        let Some(place) = &mut slot.service else {
            return;
        };
        place.port = Some(service.port);
        let weight = service.server_weight();
        let weighs = !slot.ignore_weight && place.weight.replace(weight) != Some(weight);
        let before = slot.host.replace(Arc::clone(&service.target));
        let additional = {
            // Every record has a port of its own, so two of them may share an address.
            let wish = Wish {
                allow_duplicates: true,
                ..slot.wish.clone()
            };
            choose(
                service.addresses.iter().copied(),
                &wish,
                slot.address,
                |_| false,
            )
        };
        if let Some(ip) = additional {
            self.give_address(index, ip, By::Additional);
        }
        if before.is_none() {
            let change = Effect::Host {
                from: None,
                to: Some(Arc::clone(&service.target)),
            };
            self.change(index, change);
        }
        if weighs {
            self.change(index, Effect::Weight(weight));
        }
        if additional.is_some() {
            self.slots[index].inquiry = None;
            self.bring_up(index, false);
        } else {
            let slot = &self.slots[index];
            let (section, kind) = (slot.section, slot.wish.family.into());
            let inquiry = self.inquiry(section, &service.target, kind, now);
            self.slots[index].inquiry = Some(inquiry);
        }
    }

    /// Drops the inquiries about hosts of records that are gone.
    pub(super) fn forget_unused(&mut self) {
        let used: BTreeSet<u64> = self
            .slots
            .iter()
            .flat_map(|slot| {
                let service = slot.service.as_ref().map(|place| place.inquiry);
                slot.inquiry.into_iter().chain(service)
            })
            .collect();
        self.entries.retain(|id, _| used.contains(id));
    }
}
