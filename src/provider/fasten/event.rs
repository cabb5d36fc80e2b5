//! The events of Fasten Connect: <https://docs.connect.fastenhealth.com/webhooks/events>.
//!
//! Every field is optional, because the documentation, the portal's simulator and the API catalog disagree about
//! which are required. Ids are opaque strings (some look like UUIDs but are not); an empty id counts as absent.

use std::collections::BTreeMap;

use serde::de::MapAccess;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::payload::{Drift, FromPayload, open_enum, payload};
use crate::provider::EqualBytes;
use crate::{Phi, Time};

/// Without its id, an event cannot be distinguished from another one with the same bytes.
const BY_ID: EqualBytes = EqualBytes::SameEvent(&["/id"], "every event has an id");

crate::provider::events::events! { "fasten":
    /// An export of a patient's records is ready.
    EhiExportSuccess(EhiExportSuccess) = "patient.ehi_export_success": BY_ID,
    /// An export of a patient's records failed.
    EhiExportFailed(EhiExportFailed) = "patient.ehi_export_failed": BY_ID,
    /// A patient connected a health system (opt-in).
    ConnectionSuccess(ConnectionSuccess) = "patient.connection_success": BY_ID,
    /// A patient's authorization was revoked (opt-in). Sent in bulk.
    AuthorizationRevoked(AuthorizationRevoked) = "patient.authorization_revoked": BY_ID,
    /// A patient requested a health system that is not listed (opt-in).
    RequestHealthSystem(RequestHealthSystem) = "patient.request_health_system": BY_ID,
    /// A patient requested support (opt-in, beta).
    RequestSupport(RequestSupport) = "patient.request_support": BY_ID,
    /// A test event, sent from the portal.
    Test(TestPing) = "webhook.test": BY_ID,
}

payload! {
    /// An export of a patient's records is ready.
    pub struct EhiExportSuccess {
        /// Links to the export. Prefer [`urls`](EhiExportSuccess::urls), which also reads the older field.
        pub download_links: Vec<DownloadLink> = "download_links",
        /// The older field, deprecated since October 2025. The portal's simulator still sends only this one.
        pub download_link: Option<DownloadLink> = "download_link",
        /// The id of the patient's connection.
        pub org_connection_id: Option<Phi<String>> = "org_connection_id",
        /// The id that correlates this event with the export request.
        pub task_id: Option<Phi<String>> = "task_id",
        /// The id of your organization.
        pub org_id: Option<Phi<String>> = "org_id",
        /// Resource counts of the export.
        pub stats: Option<ExportStats> = "stats",
    }

    /// Resource counts of an export.
    pub struct ExportStats {
        /// The total number of resources.
        pub total_resources: Option<Phi<u64>> = "total_resources",
        /// The number of resources per FHIR resource type.
        pub total_by_resource_type: Option<Phi<BTreeMap<String, u64>>> = "total_by_resource_type",
    }

    /// An export of a patient's records failed.
    pub struct EhiExportFailed {
        /// The reason for the failure.
        pub failure_reason: Option<FailureReason> = "failure_reason",
        /// The id of the patient's connection.
        pub org_connection_id: Option<Phi<String>> = "org_connection_id",
        /// The id that correlates this event with the export request.
        pub task_id: Option<Phi<String>> = "task_id",
        /// The id of your organization.
        pub org_id: Option<Phi<String>> = "org_id",
    }

    /// A patient connected a health system.
    pub struct ConnectionSuccess {
        /// The id of the connection. Store it: export requests need it.
        pub org_connection_id: Option<Phi<String>> = "org_connection_id",
        /// The id of the health system's endpoint. May be missing in TEFCA mode.
        pub endpoint_id: Option<Phi<String>> = "endpoint_id",
        /// The id of the health system's portal. May be missing in TEFCA mode.
        pub portal_id: Option<Phi<String>> = "portal_id",
        /// The id of the health system's brand. May be missing in TEFCA mode.
        pub brand_id: Option<Phi<String>> = "brand_id",
        /// The status of the connection.
        pub connection_status: Option<ConnectionStatus> = "connection_status",
        /// The type of the EHR system, such as `epic`.
        pub platform_type: Option<Phi<String>> = "platform_type",
        /// The id of the request. The documentation spells the key `request-id` in its table and `request_id` in its
        /// sample; both are read.
        pub request_id: Option<Phi<String>> = "request_id" | "request-id",
        /// Your own id of the patient, echoed by Fasten.
        pub external_id: Option<Phi<String>> = "external_id",
        /// Your own id of this connection attempt, echoed by Fasten.
        pub external_state: Option<Phi<String>> = "external_state",
        /// SMART scopes, separated by spaces.
        pub scope: Option<Phi<String>> = "scope",
        /// When the consent expires. Absent where the EHR system does not report it.
        pub consent_expires_at: Option<Time> = "consent_expires_at",
        /// The id of the TEFCA directory entry. TEFCA mode only.
        pub tefca_directory_id: Option<Phi<String>> = "tefca_directory_id",
    }

    /// A patient's authorization was revoked.
    pub struct AuthorizationRevoked {
        /// The id of the revoked connection.
        pub org_connection_id: Option<Phi<String>> = "org_connection_id",
        /// The status of the connection: always `revoked`.
        pub connection_status: Option<ConnectionStatus> = "connection_status",
        /// The type of the EHR system, such as `epic`.
        pub platform_type: Option<Phi<String>> = "platform_type",
        /// The id of the health system's endpoint.
        pub endpoint_id: Option<Phi<String>> = "endpoint_id",
        /// The id of the health system's portal.
        pub portal_id: Option<Phi<String>> = "portal_id",
        /// The id of the health system's brand.
        pub brand_id: Option<Phi<String>> = "brand_id",
    }

    /// A patient requested a health system that is not listed.
    pub struct RequestHealthSystem {
        /// The patient's e-mail address.
        pub email: Option<Phi<String>> = "email",
        /// The health system's name.
        pub name: Option<Phi<String>> = "name",
        /// The health system's website.
        pub website: Option<Phi<String>> = "website",
        /// The health system's street address.
        pub street_address: Option<Phi<String>> = "street_address",
    }

    /// A patient requested support.
    pub struct RequestSupport {
        /// The patient's e-mail address.
        pub email: Option<Phi<String>> = "email",
        /// The patient's name.
        pub name: Option<Phi<String>> = "name",
        /// The patient's message, as free text.
        pub body: Option<Phi<String>> = "body",
    }

    /// A test event, sent from the portal.
    pub struct TestPing {
        /// The text `world`.
        pub hello: Option<Phi<String>> = "hello",
        /// A random string.
        pub random: Option<Phi<String>> = "random",
    }
}

impl EhiExportSuccess {
    /// Returns every link to the export, from either field and in any documented form.
    ///
    /// Fetching a link needs your API key. Check the host before you send the key to it.
    pub fn urls(&self) -> impl Iterator<Item = &Phi<String>> {
        let older = self.download_link.as_ref().filter(|_| self.download_links.is_empty());
        self.download_links.iter().chain(older).filter_map(|link| link.url.as_ref())
    }
}

/// A link to a part of an export. Sent as an object or as a bare URL.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct DownloadLink {
    /// The URL. Treat it as a secret: older documentation calls it a signed URL.
    pub url: Option<Phi<String>>,
    /// The export format, such as `jsonl`.
    pub export_type: Option<Phi<String>>,
    /// The media type, such as `application/fhir+ndjson`.
    pub content_type: Option<Phi<String>>,
}

payload! {
    /// A link in its object form.
    struct LinkObject {
        /// The URL.
        pub url: Option<Phi<String>> = "url",
        /// The export format.
        pub export_type: Option<Phi<String>> = "export_type",
        /// The media type.
        pub content_type: Option<Phi<String>> = "content_type",
    }
}

impl FromPayload for DownloadLink {
    fn text(text: &str) -> Option<Self> {
        Some(DownloadLink { url: Some(text.into()), ..DownloadLink::default() })
    }

    fn object<'de, A: MapAccess<'de>>(object: A, drift: &mut Drift) -> Result<Option<Self>, A::Error> {
        let link = LinkObject::object(object, drift)?;
        Ok(link.map(|LinkObject { url, export_type, content_type }| DownloadLink { url, export_type, content_type }))
    }
}

impl Serialize for DownloadLink {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let DownloadLink { url, export_type, content_type } = self.clone();
        LinkObject { url, export_type, content_type }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DownloadLink {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(deserializer, &mut Drift::default())?
            .ok_or_else(|| serde::de::Error::custom("a link must be a string or an object"))
    }
}

open_enum! {
    /// The reason why an export failed.
    pub enum FailureReason {
        /// The patient's authorization could not be renewed.
        TokenRefreshFailure = "token_refresh_failure",
        /// The granted scopes do not include access to the patient record.
        ScopePatientMissing = "scope_patient_missing",
        /// The patient's own record could not be fetched.
        ResourcePatientFailure = "resource_patient_failure",
        /// The health system's answer was not FHIR.
        ResourceInvalidContent = "resource_invalid_content",
        /// No documents were found through TEFCA.
        TefcaNoDocumentsFound = "tefca_no_documents_found",
        /// The reason is withheld, because it may contain health data. Ask Fasten.
        SuppressedPleaseContact = "suppressed_please_contact",
    }
}

open_enum! {
    /// The status of a connection.
    pub enum ConnectionStatus {
        /// The connection works.
        Authorized = "authorized",
        /// The authorization was revoked.
        Revoked = "revoked",
        /// The tokens are being refreshed. Documented only in the REST API's schema of the same object.
        Refreshing = "refreshing",
    }
}
