//! The same work as one writes it into a handler: signature, freshness, `serde_json`, and each event handled once, by
//! its id. `tests/count` compiles this file, too.
//!
//! An id is claimed for a limited time before the handler runs. Success records it as handled, and every other end of
//! the handler, a panic or a canceled request included, releases it. The number of ids is limited. It does no more than
//! that:
//! - a lease is not renewed, and has no token: a handler that outlives it can release the claim of another;
//! - when the cache is full, the oldest id makes room, even a claimed one or one whose replay would be accepted;
//! - a sender that hangs up cancels the handler, and no timeout and no limit of concurrent handlers applies to it;
//! - one secret, one kind of event, and only the fields of the payload that the handler reads.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding as _};
use hmac::Mac;
use lru::LruCache;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::setting::{CAPACITY, IdHasher, now};
use crate::signed::{self, HmacSha256};

/// The delivery is not genuine, not fresh, or not what the handler expects.
#[derive(Debug)]
pub struct Rejected;

pub struct ByHand {
    key: HmacSha256,
    pub ids: Ids,
}

impl ByHand {
    pub fn standard_webhooks() -> Self {
        ByHand { key: signed::standard_key(), ids: Ids::default() }
    }

    pub fn body_hmac() -> Self {
        ByHand { key: signed::text_key(), ids: Ids::default() }
    }

    /// Verifies and decodes a Fasten delivery, and handles its event unless that was or is being done. `handle` returns
    /// a status. Returns the status of the answer.
    pub async fn receive<'h>(
        &self,
        header: impl Fn(&str) -> Option<&'h str>,
        body: &[u8],
        handle: impl AsyncFnOnce(Export) -> u16,
    ) -> u16 {
        let Ok((id, export)) = self.fasten(header, body) else { return 401 };
        let claim = match self.ids.claim(&id) {
            Ok(claim) => claim,
            Err(State::Handled) => return 200,
            Err(State::Claimed) => return 409,
        };
        let status = handle(export).await;
        if (200..300).contains(&status) {
            claim.commit();
        }
        status
    }

    /// Verifies and decodes a Fasten delivery without deduplication.
    pub fn fasten<'h>(
        &self,
        header: impl Fn(&str) -> Option<&'h str>,
        body: &[u8],
    ) -> Result<(String, Export), Rejected> {
        self.envelope(header, body)?.export()
    }

    /// Verifies a delivery and reads its envelope, not its payload.
    pub fn envelope<'h, 'b>(
        &self,
        header: impl Fn(&str) -> Option<&'h str>,
        body: &'b [u8],
    ) -> Result<Envelope<'b>, Rejected> {
        self.verify(header, body)?;
        read(body)
    }

    /// Verifies signature and freshness of a Fasten delivery.
    pub fn verify<'h>(&self, header: impl Fn(&str) -> Option<&'h str>, body: &[u8]) -> Result<(), Rejected> {
        let id = header("webhook-id").ok_or(Rejected)?;
        let timestamp = header("webhook-timestamp").ok_or(Rejected)?;
        let signatures = header("webhook-signature").ok_or(Rejected)?;
        let sent: i64 = timestamp.parse().map_err(|_| Rejected)?;
        if sent.abs_diff(now()) > 300 {
            return Err(Rejected);
        }
        let mut mac = self.key.clone();
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        mac.update(body);
        let genuine = signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,")).any(|signature| {
            let mut tag = [0; 32];
            Base64::decode(signature, &mut tag).is_ok_and(|tag| mac.clone().verify_slice(tag).is_ok())
        });
        if genuine { Ok(()) } else { Err(Rejected) }
    }

    /// Verifies and decodes a chart report from Cair, and returns the digest that identifies it: it has no id.
    pub fn chart<'h>(
        &self,
        header: impl Fn(&str) -> Option<&'h str>,
        body: &[u8],
    ) -> Result<([u8; 32], Chart), Rejected> {
        let signature = header(signed::HMAC_HEADER).ok_or(Rejected)?;
        let signature = signature.strip_prefix(signed::HMAC_PREFIX).ok_or(Rejected)?;
        let mut tag = [0; 32];
        let tag = base16ct::mixed::decode(signature, &mut tag).map_err(|_| Rejected)?;
        let mut mac = self.key.clone();
        mac.update(body);
        mac.verify_slice(tag).map_err(|_| Rejected)?;
        let chart = serde_json::from_slice(body).map_err(|_| Rejected)?;
        Ok((Sha256::digest(body).into(), chart))
    }
}

/// Decodes a verified delivery into its id and its payload.
pub fn decode(body: &[u8]) -> Result<(String, Export), Rejected> {
    read(body)?.export()
}

fn read(body: &[u8]) -> Result<Envelope<'_>, Rejected> {
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|_| Rejected)?;
    if envelope.kind != "patient.ehi_export_success" || envelope.api_mode != "live" {
        return Err(Rejected);
    }
    Ok(envelope)
}

/// The ids of events that are being handled or were handled, each until its time. The least recent one makes room.
pub struct Ids(Mutex<LruCache<String, (State, Instant), IdHasher>>);

#[derive(Clone, Copy, Debug)]
pub enum State {
    Claimed,
    Handled,
}

/// The claim of an id, which is released when this is dropped.
pub struct Claim<'c> {
    ids: &'c Ids,
    id: &'c str,
}

impl Default for Ids {
    fn default() -> Self {
        Ids(Mutex::new(LruCache::with_hasher(CAPACITY, IdHasher::default())))
    }
}

const LEASE: Duration = Duration::from_secs(60);
const RETENTION: Duration = Duration::from_secs(72 * 3600);

impl Ids {
    /// Claims an id, or returns its state.
    pub fn claim<'c>(&'c self, id: &'c str) -> Result<Claim<'c>, State> {
        let now = Instant::now();
        let mut ids = self.lock();
        match ids.peek(id) {
            Some((state, until)) if *until > now => Err(*state),
            _ => {
                ids.put(id.to_owned(), (State::Claimed, now + LEASE));
                Ok(Claim { ids: self, id })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<String, (State, Instant), IdHasher>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim<'_> {
    /// Records the event as handled.
    pub fn commit(self) {
        if let Some(entry) = self.ids.lock().get_mut(self.id) {
            *entry = (State::Handled, Instant::now() + RETENTION);
        }
        std::mem::forget(self);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.ids.lock().pop(self.id);
    }
}

#[derive(Deserialize)]
pub struct Envelope<'b> {
    id: String,
    #[serde(rename = "type")]
    kind: &'b str,
    api_mode: &'b str,
    #[serde(borrow)]
    data: &'b RawValue,
}

impl Envelope<'_> {
    fn export(self) -> Result<(String, Export), Rejected> {
        let export = serde_json::from_str(self.data.get()).map_err(|_| Rejected)?;
        Ok((self.id, export))
    }
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "read, as a handler would")]
pub struct Export {
    download_links: Vec<DownloadLink>,
    org_connection_id: Option<String>,
    task_id: Option<String>,
    org_id: Option<String>,
    stats: Option<Stats>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "read, as a handler would")]
struct DownloadLink {
    url: String,
    export_type: Option<String>,
    content_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "read, as a handler would")]
struct Stats {
    total_resources: Option<u64>,
    total_by_resource_type: Option<BTreeMap<String, u64>>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "read, as a handler would")]
pub struct Chart {
    id: Option<String>,
    status: Option<String>,
    completed_events: Vec<String>,
    report: Option<ChartReport>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "read, as a handler would")]
struct ChartReport {
    id: Option<String>,
    claim_id: Option<String>,
    coding_report: Option<CodingReport>,
    documentation_discrepancy_report: Option<Discrepancies>,
    ncd_lcd_analysis: Option<Coverage>,
    suggestions_for_fixing_issues_report: Option<Suggestions>,
    time_based_requirements_report: Option<Times>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "read, as a handler would")]
struct CodingReport {
    icd_10_codes: Vec<String>,
    cpt_codes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "read, as a handler would")]
struct Discrepancies {
    chief_complaint_hpi_discrepancy: Option<Finding>,
    ros_hpi_discrepancy: Option<Finding>,
    vitals_exam_discrepancy: Option<Finding>,
    report_summary: Option<String>,
    status: Option<String>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "read, as a handler would")]
struct Coverage {
    diagnoses_match_ncd_lcd: Option<Finding>,
    frequency_discrepancy: Option<Finding>,
    age_discrepancy: Option<Finding>,
    place_of_service_discrepancy: Option<Finding>,
    report_summary: Option<String>,
    status: Option<String>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "read, as a handler would")]
struct Suggestions {
    suggestions: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "read, as a handler would")]
struct Times {
    total_time_documented: Option<Finding>,
    start_time: Option<Finding>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "read, as a handler would")]
struct Finding {
    label: Option<String>,
    value: Option<String>,
    severity: Option<Severity>,
}

#[derive(Debug, Deserialize)]
enum Severity {
    Low,
    Medium,
    High,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_handled_once_and_released_after_a_failure() {
        let ids = Ids::default();
        let claim = ids.claim("msg_1").expect("new");
        assert!(matches!(ids.claim("msg_1"), Err(State::Claimed)));
        drop(claim);
        ids.claim("msg_1").expect("released").commit();
        assert!(matches!(ids.claim("msg_1"), Err(State::Handled)));
        ids.0.lock().unwrap().put("msg_2".to_owned(), (State::Claimed, Instant::now()));
        ids.claim("msg_2").expect("expired");
    }
}
