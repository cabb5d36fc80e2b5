//! Run with: `MEDIQUO_SECRET=.. cargo run -p example-actix-mediquo`
//!
//! Receives reports and consultations from MediQuo with actix-web. MediQuo's header is a shared secret, which
//! authenticates the sender but not the body, so expose this only over TLS.

use std::time::Duration;

use actix_web::dev::HttpServiceFactory;
use actix_web::{App, HttpResponse, HttpServer, web};
use medhook_actix::{
    ConfigError, Dedupe, Delivery, MediQuo, MemoryStore, Receiver, Secrets, Shutdown, Webhook, mediquo, post,
};

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Built outside `HttpServer::new`, whose closure runs once for every worker.
    let receiver = receiver(Secrets::from_env("MEDIQUO_SECRET")?)?;
    let shutdown = Shutdown::on_signals(Duration::from_secs(30))?.receivers([receiver.clone()]);
    let server = HttpServer::new(move || App::new().service(endpoint(receiver.clone())))
        .bind("127.0.0.1:8787")?
        .disable_signals() // `shutdown` handles them
        .run();
    let (handle, drained) = (server.handle(), shutdown.drained());
    actix_web::rt::spawn(async move {
        // Workers that stop drop handlers whose sender has disconnected, so handlers must finish first.
        drained.await;
        handle.stop(true).await;
    });
    shutdown.serve(server).await?;
    Ok(())
}

fn receiver(secrets: Secrets) -> Result<Receiver, ConfigError> {
    Receiver::builder("mediquo", MediQuo::new(secrets))
        .store(MemoryStore::new(100_000))
        // Links differ between attempts, so this key does not include them.
        .dedupe(Dedupe::by(mediquo::natural_key))
        .build()
}

fn endpoint(receiver: Receiver) -> impl HttpServiceFactory {
    web::resource("/webhooks/mediquo").route(post(receiver, on_event))
}

/// 2xx commits the event. Any other status releases it, so a retry would be handled; MediQuo does not document retries.
async fn on_event(Webhook(event): Webhook<mediquo::Event>, delivery: Delivery) -> HttpResponse {
    match event {
        mediquo::Event::PatientReportSent(sent) => {
            println!("a report of type {:?}", sent.report_type);
            HttpResponse::Accepted().finish()
        }
        mediquo::Event::PatientWaitingRoomPositionUpdate(_) => HttpResponse::NoContent().finish(),
        // A documented kind with an undocumented payload: store the bytes for review.
        mediquo::Event::Undecodable(_) => {
            println!("an event of {} bytes does not decode", delivery.body().len());
            HttpResponse::Accepted().finish()
        }
        _ => HttpResponse::Ok().finish(),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::test::{call_service, init_service};
    use medhook_actix::{Secret, testing};

    use super::*;

    const SECRET: &str = "agreed-upon-with-the-support-team";

    #[actix_web::test]
    async fn a_report_is_handled_once_and_a_forged_one_is_rejected() {
        let receiver = receiver(Secret::new(SECRET).unwrap().into()).unwrap();
        let app = init_service(App::new().service(endpoint(receiver))).await;
        // Created once, because the time is part of the event's key.
        let report = testing::mediquo("patient_report_sent");
        for (secret, status) in [
            (SECRET, StatusCode::ACCEPTED),
            (SECRET, StatusCode::OK), // a duplicate
            ("another-secret", StatusCode::UNAUTHORIZED),
        ] {
            let request = report.clone().secret(secret).actix_request("/webhooks/mediquo").to_request();
            assert_eq!(call_service(&app, request).await.status(), status);
        }
    }
}
