//! The receiver and the handler behind one path, for servers of any framework.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use medhook::{Bytes, Delivery, Outcome, Reason, Receiver};
use medhook_conformance::Answer;

use crate::stage::Stage;

type Handle = Box<dyn Fn(Delivery, Bytes) -> BoxFuture<'static, u16> + Send + Sync>;

/// A receiver, the handler behind it, and a listener for its responses.
pub struct Route {
    pub receiver: Receiver,
    handle: Handle,
    note: Box<dyn Fn(Answer) + Send + Sync>,
}

/// The deliveries and responses of a route.
#[derive(Debug, Default)]
pub struct Watched {
    bodies: Mutex<Vec<Bytes>>,
    answers: Mutex<Vec<Answer>>,
}

impl Watched {
    /// Takes the bodies that the handler got since the last call.
    pub fn bodies(&self) -> Vec<Bytes> {
        std::mem::take(&mut *self.bodies.lock().unwrap())
    }

    /// Takes the responses since the last call.
    pub fn answers(&self) -> Vec<Answer> {
        std::mem::take(&mut *self.answers.lock().unwrap())
    }
}

impl Route {
    /// Creates a route whose responses are not recorded.
    pub fn new<F>(receiver: Receiver, handle: impl Fn(Delivery) -> F + Send + Sync + 'static) -> Route
    where
        F: Future<Output = u16> + Send + 'static,
    {
        Route { receiver, handle: Box::new(move |delivery, _| Box::pin(handle(delivery))), note: Box::new(drop) }
    }

    /// Creates a route whose handler responds with 200, and a record of its traffic.
    pub fn watched(receiver: Receiver) -> (Route, Arc<Watched>) {
        let watched = Arc::new(Watched::default());
        let (handled, noted) = (watched.clone(), watched.clone());
        let route = Route {
            receiver,
            handle: Box::new(move |_, body| {
                handled.bodies.lock().unwrap().push(body);
                Box::pin(std::future::ready(200))
            }),
            note: Box::new(move |answer| noted.answers.lock().unwrap().push(answer)),
        };
        (route, watched)
    }

    /// Creates a route for each stage.
    pub fn stages(stages: &Arc<[Stage]>) -> Arc<[Route]> {
        let route = |n: usize| {
            let (handled, noted) = (stages.clone(), stages.clone());
            Route {
                receiver: stages[n].receiver.clone(),
                handle: Box::new(move |delivery, body| {
                    let stages = handled.clone();
                    Box::pin(async move { stages[n].handler.handle(&delivery, body).await })
                }),
                note: Box::new(move |answer| noted[n].note(answer)),
            }
        };
        (0..stages.len()).map(route).collect()
    }

    /// Handles a delivery whose body reached the handler as `body`.
    pub fn handle(&self, delivery: Delivery, body: Bytes) -> BoxFuture<'static, u16> {
        (self.handle)(delivery, body)
    }

    /// Records a response.
    pub fn note(&self, status: u16, outcome: Option<&Outcome>, reason: Option<&Reason>) {
        (self.note)(Answer { status, outcome: outcome.copied(), reason: reason.copied() });
    }
}
