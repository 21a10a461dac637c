//! Active speaker and audio level observers. Without media they observe nothing.

use super::{MockWorker, outbox::Answer, refusal::Refusal};
use crate::channel::{
    fbs::{request::Body, rtp_parameters::MediaKind},
    method::Method,
};

#[derive(Debug)]
pub(super) struct RtpObserver {
    pub router: String,
    pub role: Role,
    paused: bool,
    pub producers: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    ActiveSpeaker,
    AudioLevel { threshold: i8 },
}

impl RtpObserver {
    pub fn new(router: String, role: Role) -> Self {
        Self { router, role, paused: false, producers: Vec::new() }
    }

    fn add(&mut self, producer: &str) -> Result<(), Refusal> {
        if !self.producers.iter().any(|id| id == producer) {
            self.producers.push(producer.to_owned());
        } else if self.role == Role::ActiveSpeaker {
            return Err(Refusal::error("Producer already in map"));
        }
        Ok(())
    }
}

impl MockWorker {
    pub(super) fn rtp_observer_request(
        &mut self,
        id: &str,
        method: Method,
        body: Option<Body>,
    ) -> Answer {
        let Some(observer) = self.registry.rtp_observer_mut(id) else {
            return Err(Refusal::no_handler(id, method));
        };
        match (method, body) {
            (Method::RtpobserverPause, _) => observer.paused = true,
            (Method::RtpobserverResume, _) => observer.paused = false,
            (Method::RtpobserverAddProducer, Some(Body::RtpObserverAddProducerRequest(body))) => {
                self.check_observable(id, &body.producer_id, true)?;
                if let Some(observer) = self.registry.rtp_observer_mut(id) {
                    observer.add(&body.producer_id)?;
                }
                if let Some(producer) = self.registry.producer_mut(&body.producer_id)
                    && !producer.observers.iter().any(|observer| observer == id)
                {
                    producer.observers.push(id.to_owned());
                }
            }
            (
                Method::RtpobserverRemoveProducer,
                Some(Body::RtpObserverRemoveProducerRequest(body)),
            ) => {
                self.check_observable(id, &body.producer_id, false)?;
                if let Some(observer) = self.registry.rtp_observer_mut(id) {
                    observer.producers.retain(|producer| *producer != body.producer_id);
                }
                if let Some(producer) = self.registry.producer_mut(&body.producer_id) {
                    producer.observers.retain(|observer| observer != id);
                }
            }
            _ => return Err(Refusal::unknown_method(method)),
        }
        Ok(None)
    }

    /// Refuses producers of other routers, and video where only audio will do.
    fn check_observable(
        &self,
        id: &str,
        producer_id: &str,
        only_audio: bool,
    ) -> Result<(), Refusal> {
        let router = self.registry.rtp_observer(id).map(|observer| &observer.router);
        let producer = self
            .registry
            .producer(producer_id)
            .filter(|producer| Some(&producer.router) == router)
            .ok_or_else(|| Refusal::not_found("Producer not found"))?;
        if only_audio && producer.kind != MediaKind::Audio {
            return Err(Refusal::type_error("not an audio Producer"));
        }
        Ok(())
    }
}
