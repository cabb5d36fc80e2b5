//! One delivery, step by step, as both sides see it.

use medhook::{Delivery, healthsync};
use medhook_conformance::Site;

use super::site::DemoSite;
use crate::clock::{in_words, now};
use crate::failure::Failure;

/// The provider of the delivery that is followed.
pub(super) const PROVIDER: &str = "healthsync";

/// Delivers a genuine event and returns a line for each of its steps.
pub(super) async fn followed(site: &DemoSite) -> Result<String, Failure> {
    let case = site.player()?.genuine(&format!("{}steps", site.mark))?;
    let case = case.ok_or_else(|| Failure::new(format!("the list has no genuine case of {PROVIDER}")))?;
    let request = site.sender.request(&case)?;
    let answer = site.deliver(&case).await??;
    let delivery = site.handler.last().filter(|_| answer == case.expected.answer());
    let delivery = delivery.ok_or_else(|| Failure::new(format!("the delivery to follow was answered {answer}")))?;

    let age = delivery.occurred_at().and_then(medhook::Time::unix).unwrap_or_default();
    let age = in_words(now()?.abs_diff(age));
    let remembered = delivery.retention().map_or(0, |retention| retention.total.as_secs());
    Ok(format!(
        "One delivery, step by step; its data is made up, so that it may be shown:\n  \
         head, body              {} {}, {} headers, {} bytes\n  \
         verify                  the body's signature is valid, secret \"{}\"\n  \
         envelope, fresh         {}, happened {age} ago\n  \
         claim, handler, settle  acquired, answered {}, committed for {}\n  \
         event                   {}\n",
        request.method(),
        request.uri(),
        request.headers().len(),
        request.body().len(),
        delivery.secret_label(),
        delivery.kind().unwrap_or("no kind"),
        answer.status,
        in_words(remembered),
        event(&delivery),
    ))
}

/// The typed event, and some of its fields.
fn event(delivery: &Delivery) -> String {
    match delivery.decode() {
        Ok(healthsync::Event::DocumentUploaded(uploaded)) => {
            let document = uploaded.object.unwrap_or_default();
            let name = document.filename.map_or("no name".to_owned(), |name| name.into_exposed());
            format!("DocumentUploaded: {name}, {} bytes", document.file_size.map_or(0, |size| size.into_exposed()))
        }
        Ok(other) => format!("{other:?}"),
        Err(error) => error.to_string(),
    }
}
