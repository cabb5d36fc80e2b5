//! Fasten Connect's events: <https://docs.connect.fastenhealth.com/webhooks/events>.
//!
//! Every field is optional: the documentation, the portal's simulator and the API's catalogue disagree about which are
//! required. Ids are opaque texts (some are not the UUIDs they look like); an empty one counts as absent.

use std::collections::BTreeMap;

use serde::de::MapAccess;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::payload::{Drift, FromPayload, open_enum, payload};
use crate::{Phi, Time};

crate::provider::events::events! { "fasten":
    /// An export of a patient's records is ready.
    EhiExportSuccess(EhiExportSuccess) = "patient.ehi_export_success",
    /// An export of a patient's records failed.
    EhiExportFailed(EhiExportFailed) = "patient.ehi_export_failed",
    /// A patient connected a health system (opt-in).
    ConnectionSuccess(ConnectionSuccess) = "patient.connection_success",
    /// A patient's authorization was revoked (opt-in). Comes in bursts.
    AuthorizationRevoked(AuthorizationRevoked) = "patient.authorization_revoked",
    /// A patient asks for a health system that is not listed (opt-in).
    RequestHealthSystem(RequestHealthSystem) = "patient.request_health_system",
    /// A patient asks for help (opt-in, beta).
    RequestSupport(RequestSupport) = "patient.request_support",
    /// The portal's test button.
    Test(TestPing) = "webhook.test",
}

payload! {
    /// An export of a patient's records is ready.
    pub struct EhiExportSuccess {
        /// Where to fetch it. Prefer [`urls`](EhiExportSuccess::urls), which reads the older field, too.
        pub download_links: Vec<DownloadLink> = "download_links",
        /// The older field, deprecated since October 2025: the simulator still sends it alone.
        pub download_link: Option<DownloadLink> = "download_link",
        /// The patient's connection.
        pub org_connection_id: Option<Phi<String>> = "org_connection_id",
        /// Correlates with the request for the export.
        pub task_id: Option<Phi<String>> = "task_id",
        /// Your organization.
        pub org_id: Option<Phi<String>> = "org_id",
        /// What the export holds.
        pub stats: Option<ExportStats> = "stats",
    }

    /// What an export holds.
    pub struct ExportStats {
        /// How many resources in all.
        pub total_resources: Option<Phi<u64>> = "total_resources",
        /// How many of each FHIR resource type.
        pub total_by_resource_type: Option<Phi<BTreeMap<String, u64>>> = "total_by_resource_type",
    }

    /// An export of a patient's records failed.
    pub struct EhiExportFailed {
        /// Why.
        pub failure_reason: Option<FailureReason> = "failure_reason",
        /// The patient's connection.
        pub org_connection_id: Option<Phi<String>> = "org_connection_id",
        /// Correlates with the request for the export.
        pub task_id: Option<Phi<String>> = "task_id",
        /// Your organization.
        pub org_id: Option<Phi<String>> = "org_id",
    }

    /// A patient connected a health system.
    pub struct ConnectionSuccess {
        /// The connection: store it, exports are asked for by it.
        pub org_connection_id: Option<Phi<String>> = "org_connection_id",
        /// The health system's endpoint; may be missing under TEFCA, as the next two.
        pub endpoint_id: Option<Phi<String>> = "endpoint_id",
        /// The health system's portal.
        pub portal_id: Option<Phi<String>> = "portal_id",
        /// The health system's brand.
        pub brand_id: Option<Phi<String>> = "brand_id",
        /// Where the connection stands.
        pub connection_status: Option<ConnectionStatus> = "connection_status",
        /// The records system, such as `epic`.
        pub platform_type: Option<Phi<String>> = "platform_type",
        /// The request. The documentation's table spells it with a hyphen, its sample with an underscore.
        pub request_id: Option<Phi<String>> = "request_id" | "request-id",
        /// Your own name for the patient, sent back.
        pub external_id: Option<Phi<String>> = "external_id",
        /// Your own name for this attempt to connect, sent back.
        pub external_state: Option<Phi<String>> = "external_state",
        /// SMART scopes, separated by spaces.
        pub scope: Option<Phi<String>> = "scope",
        /// When the consent ends, where the records system tells.
        pub consent_expires_at: Option<Time> = "consent_expires_at",
        /// The directory entry, under TEFCA.
        pub tefca_directory_id: Option<Phi<String>> = "tefca_directory_id",
    }

    /// A patient's authorization was revoked.
    pub struct AuthorizationRevoked {
        /// The connection that no longer works.
        pub org_connection_id: Option<Phi<String>> = "org_connection_id",
        /// Where the connection stands: `revoked`.
        pub connection_status: Option<ConnectionStatus> = "connection_status",
        /// The records system, such as `epic`.
        pub platform_type: Option<Phi<String>> = "platform_type",
        /// The health system's endpoint.
        pub endpoint_id: Option<Phi<String>> = "endpoint_id",
        /// The health system's portal.
        pub portal_id: Option<Phi<String>> = "portal_id",
        /// The health system's brand.
        pub brand_id: Option<Phi<String>> = "brand_id",
    }

    /// A patient asks for a health system that is not listed.
    pub struct RequestHealthSystem {
        /// The patient's e-mail address.
        pub email: Option<Phi<String>> = "email",
        /// The health system's name.
        pub name: Option<Phi<String>> = "name",
        /// The health system's site.
        pub website: Option<Phi<String>> = "website",
        /// The health system's address.
        pub street_address: Option<Phi<String>> = "street_address",
    }

    /// A patient asks for help.
    pub struct RequestSupport {
        /// The patient's e-mail address.
        pub email: Option<Phi<String>> = "email",
        /// The patient's name.
        pub name: Option<Phi<String>> = "name",
        /// What the patient wrote: any text.
        pub body: Option<Phi<String>> = "body",
    }

    /// The portal's test button.
    pub struct TestPing {
        /// `world`.
        pub hello: Option<Phi<String>> = "hello",
        /// A random text.
        pub random: Option<Phi<String>> = "random",
    }
}

impl EhiExportSuccess {
    /// Every link to the export, in whichever field and form it came.
    ///
    /// Each needs your API key to fetch. Check the host before you send the key there.
    pub fn urls(&self) -> impl Iterator<Item = &Phi<String>> {
        let older = self.download_link.as_ref().filter(|_| self.download_links.is_empty());
        self.download_links.iter().chain(older).filter_map(|link| link.url.as_ref())
    }
}

/// A link to a part of an export. On the wire it is an object, or the URL alone.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct DownloadLink {
    /// The URL. Treat it as a secret: older documentation calls it signed.
    pub url: Option<Phi<String>>,
    /// Such as `jsonl`.
    pub export_type: Option<Phi<String>>,
    /// Such as `application/fhir+ndjson`.
    pub content_type: Option<Phi<String>>,
}

payload! {
    /// A link in its object form.
    struct LinkObject {
        /// The URL.
        pub url: Option<Phi<String>> = "url",
        /// The format.
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
            .ok_or_else(|| serde::de::Error::custom("neither a link nor an object"))
    }
}

open_enum! {
    /// Why an export failed.
    pub enum FailureReason {
        /// The patient's authorization could not be renewed.
        TokenRefreshFailure = "token_refresh_failure",
        /// The patient granted no access to patient records.
        ScopePatientMissing = "scope_patient_missing",
        /// The patient's own record could not be fetched.
        ResourcePatientFailure = "resource_patient_failure",
        /// The health system answered with something that is no FHIR.
        ResourceInvalidContent = "resource_invalid_content",
        /// No documents were found over TEFCA.
        TefcaNoDocumentsFound = "tefca_no_documents_found",
        /// Withheld, since it may hold health data: ask Fasten.
        SuppressedPleaseContact = "suppressed_please_contact",
    }
}

open_enum! {
    /// Where a connection stands.
    pub enum ConnectionStatus {
        /// It works.
        Authorized = "authorized",
        /// It was revoked.
        Revoked = "revoked",
        /// Its tokens are being renewed (told by the REST API's schema of the same object).
        Refreshing = "refreshing",
    }
}
