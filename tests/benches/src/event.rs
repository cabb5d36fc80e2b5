//! Verification, envelope and typed event, compared with the same work written by hand.

use medhook::{Cair, Delivery, Fasten, Receiver, cair, fasten};

use crate::by_hand::ByHand;
use crate::report::{Figure, Report, Row, Target};
use crate::rounds::{Subject, medians};
use crate::signed::{self, STANDARD_SECRET, TEXT_SECRET, lasting};
use crate::verify::{receiver, secret};

pub fn run(report: &mut Report) {
    fasten_export(report);
    chart_report(report);
}

fn fasten_export(report: &mut Report) {
    let body = lasting(signed::fasten("7d4b9f0e-52a1-4c36-9b8e-1f0a6c2d3e45", 1024));
    let headers = signed::standard("msg_1", &body);
    let receiver = receiver(Fasten::live(secret(STANDARD_SECRET)));
    let by_hand = ByHand::standard_webhooks();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let mut subjects = [
        Subject::new("verify", || receiver.verify(&headers, body.clone()).expect("genuine").signature_scope()),
        Subject::new("verify + envelope", || opened(&receiver, &headers, &body)),
        Subject::new("verify + envelope + event", || {
            let event = opened(&receiver, &headers, &body).decode().expect("Fasten's");
            assert!(matches!(event, fasten::Event::EhiExportSuccess(_)));
            event
        }),
        Subject::new("by hand", || by_hand.fasten(header, &body).expect("genuine")),
    ];
    let size = format!("{} B", body.len());
    rows(report, "Fasten export", &size, &medians(&mut subjects));
}

fn chart_report(report: &mut Report) {
    let body = lasting(signed::chart_report(30 * 1024));
    let headers = signed::hmac(&body);
    let cair = Cair::hmac_sha256(signed::HMAC_HEADER, secret(TEXT_SECRET)).prefix(signed::HMAC_PREFIX);
    let receiver = receiver(cair);
    let by_hand = ByHand::body_hmac();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let mut subjects = [
        Subject::new("verify", || receiver.verify(&headers, body.clone()).expect("genuine").signature_scope()),
        Subject::new("verify + envelope", || opened(&receiver, &headers, &body)),
        Subject::new("verify + envelope + event", || {
            let event = opened(&receiver, &headers, &body).decode().expect("Cair's");
            assert!(matches!(event, cair::Event::ChartAnalysis(_)));
            event
        }),
        Subject::new("by hand", || by_hand.chart(header, &body).expect("genuine")),
    ];
    let size = format!("{:.0} KiB", body.len() as f64 / 1024.0);
    rows(report, "Cair chart report", &size, &medians(&mut subjects));
}

fn opened(receiver: &Receiver, headers: &http::HeaderMap, body: &bytes::Bytes) -> Delivery {
    let verified = receiver.verify(headers, body.clone()).expect("genuine");
    receiver.open(verified).expect("fresh")
}

fn rows(report: &mut Report, what: &str, size: &str, figures: &[f64]) {
    let [verify, envelope, event, by_hand] = [0, 1, 2, 3].map(|index| Figure::Nanoseconds(figures[index]));
    for (bench, ours, other) in [
        ("verify + envelope", envelope, ("verify alone", verify)),
        ("verify + envelope + event", event, ("by hand", by_hand)),
    ] {
        let (bench, size) = (format!("{what}: {bench}"), size.to_owned());
        report.add(Row { bench, size, ours, other: Some(other), target: Target::None });
    }
}
