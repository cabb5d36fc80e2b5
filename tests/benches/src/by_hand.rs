//! The same work as one writes it into a handler: signature, freshness, a set of ids seen, `serde_json`. `tests/count`
//! compiles this file, too.

use std::collections::BTreeMap;
use std::sync::Mutex;

use base64ct::{Base64, Encoding as _};
use hmac::Mac;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::setting::{Seen, now};
use crate::signed::{self, HmacSha256};

/// The reason for a rejection, which a handler turns into a status.
#[derive(Debug)]
pub struct Rejected;

pub struct ByHand {
    key: HmacSha256,
    seen: Mutex<Seen>,
}

impl ByHand {
    pub fn standard_webhooks() -> Self {
        ByHand { key: signed::standard_key(), seen: Mutex::default() }
    }

    pub fn body_hmac() -> Self {
        ByHand { key: signed::text_key(), seen: Mutex::default() }
    }

    /// Verifies, deduplicates and decodes a Fasten delivery.
    pub fn receive<'h>(&self, header: impl Fn(&str) -> Option<&'h str>, body: &[u8]) -> Result<Export, Rejected> {
        let (id, export) = self.fasten(header, body)?;
        if self.remember(id)? { Ok(export) } else { Err(Rejected) }
    }

    /// Records an event's id and returns whether it is new.
    pub fn remember(&self, id: String) -> Result<bool, Rejected> {
        Ok(self.seen.lock().map_err(|_| Rejected)?.insert(id))
    }

    /// Verifies and decodes a Fasten delivery without deduplication.
    pub fn fasten<'h>(
        &self,
        header: impl Fn(&str) -> Option<&'h str>,
        body: &[u8],
    ) -> Result<(String, Export), Rejected> {
        let envelope = self.envelope(header, body)?;
        let export = serde_json::from_str(envelope.data.get()).map_err(|_| Rejected)?;
        Ok((envelope.id, export))
    }

    /// Verifies a delivery and reads its envelope, not its payload.
    pub fn envelope<'h, 'b>(
        &self,
        header: impl Fn(&str) -> Option<&'h str>,
        body: &'b [u8],
    ) -> Result<Envelope<'b>, Rejected> {
        self.verify(header, body)?;
        let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|_| Rejected)?;
        if envelope.kind != "patient.ehi_export_success" || envelope.api_mode != "live" {
            return Err(Rejected);
        }
        Ok(envelope)
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

#[derive(Deserialize)]
pub struct Envelope<'b> {
    id: String,
    #[serde(rename = "type")]
    kind: &'b str,
    api_mode: &'b str,
    #[serde(borrow)]
    data: &'b RawValue,
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
