//! Run with: `MEDIQUO_SECRET=.. cargo run -p example-actix-mediquo`
//!
//! actix-web behind MediQuo: reports and consultations. MediQuo's header is a shared secret, which proves the sender
//! and nothing about the body, so let this be reached over TLS only.

use std::time::Duration;

use actix_web::dev::HttpServiceFactory;
use actix_web::{App, HttpResponse, HttpServer, web};
use medhook_actix::{
    ConfigError, Dedupe, Delivery, MediQuo, MemoryStore, Receiver, Secrets, Shutdown, Verify, Webhook, mediquo,
};

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Built once, outside `HttpServer::new`: its closure runs once for every worker.
    let receiver = receiver(Secrets::from_env("MEDIQUO_SECRET")?)?;
    let shutdown = Shutdown::on_signals(Duration::from_secs(30))?.receivers([receiver.clone()]);
    let server = HttpServer::new(move || App::new().service(endpoint(receiver.clone())))
        .bind("127.0.0.1:8787")?
        .disable_signals() // `shutdown` handles them
        .run();
    let (handle, drained) = (server.handle(), shutdown.drained());
    actix_web::rt::spawn(async move {
        // Not earlier: workers that stop drop the handlers whose sender hung up.
        drained.await;
        handle.stop(true).await;
    });
    shutdown.serve(server).await?;
    Ok(())
}

fn receiver(secrets: Secrets) -> Result<Receiver, ConfigError> {
    Receiver::builder("mediquo", MediQuo::new(secrets))
        .store(MemoryStore::new(100_000))
        // Links differ between attempts; this key leaves them out.
        .dedupe(Dedupe::by(mediquo::natural_key))
        .build()
}

fn endpoint(receiver: Receiver) -> impl HttpServiceFactory {
    web::resource("/webhooks/mediquo").wrap(Verify::new(receiver)).route(web::post().to(on_event))
}

/// 2xx: handled, and not handed over again. Anything else: it is if MediQuo tries again, which is not documented.
async fn on_event(Webhook(event): Webhook<mediquo::Event>, delivery: Delivery) -> HttpResponse {
    match event {
        mediquo::Event::PatientReportSent(sent) => {
            println!("a report of type {:?}", sent.report_type);
            HttpResponse::Accepted().finish()
        }
        mediquo::Event::PatientWaitingRoomPositionUpdate(_) => HttpResponse::NoContent().finish(),
        // A documented kind whose payload is another than documented: keep the bytes for a human.
        mediquo::Event::Undecodable(_) => {
            println!("{} bytes that nobody could read", delivery.body().len());
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
    async fn a_report_is_handled_once_and_a_forged_one_never() {
        let receiver = receiver(Secret::new(SECRET).unwrap().into()).unwrap();
        let app = init_service(App::new().service(endpoint(receiver))).await;
        // Made once: its time is part of what makes it the same event.
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
