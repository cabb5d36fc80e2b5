//! Reads where an event has its id and its kind, if not in a signed part of the body: CloudEvents, and headers that are
//! not signed.

use medhook::{CloudEvents, Custom};

use crate::dialect::{OptionMistake, header_name};
use crate::failure::Failure;
use crate::receive::keys::TableKeys;

/// The keys of CloudEvents and of unsigned headers.
pub(super) const UNSIGNED: &[&str] = &["unsigned_id_header", "unsigned_kind_header", "cloud_events"];

/// The headers from which parts of an event are read, and the mode of CloudEvents.
#[derive(Debug, Clone)]
pub(super) struct UnsignedParts {
    id_header: Option<String>,
    kind_header: Option<String>,
    cloud_events: Option<CloudEvents>,
}

impl UnsignedParts {
    pub(super) fn take(keys: &mut TableKeys) -> Result<Self, Failure> {
        let modes = [("structured", CloudEvents::Structured), ("binary-unsigned", CloudEvents::BinaryUnsigned)];
        let cloud_events = keys.choice("cloud_events", &modes)?;
        let (id_header, kind_header) = (header(keys, "unsigned_id_header")?, header(keys, "unsigned_kind_header")?);
        let body_keys = ["id_pointer", "kind_pointer", "time_pointer"];
        let of_body = body_keys.into_iter().find(|key| keys.has(key));
        let of_headers = [("unsigned_id_header", &id_header), ("unsigned_kind_header", &kind_header)];
        let of_headers = of_headers.iter().find(|(_, header)| header.is_some()).map(|(key, _)| *key);
        let other = match cloud_events {
            Some(CloudEvents::Structured) => of_body.or(of_headers),
            Some(_) => of_headers,
            None => None,
        };
        match other {
            Some(key) => Err(keys.wrong(key, "`cloud_events` reads this part of an event; remove one of them")),
            None => Ok(UnsignedParts { id_header, kind_header, cloud_events }),
        }
    }

    /// Returns whether the events are in structured mode, so that the body has all attributes.
    pub(super) fn is_structured(&self) -> bool {
        self.cloud_events == Some(CloudEvents::Structured)
    }

    /// Returns whether a header can have the id of an event.
    pub(super) fn has_id(&self) -> bool {
        self.id_header.is_some() || self.cloud_events == Some(CloudEvents::BinaryUnsigned)
    }

    pub(super) fn apply(&self, mut custom: Custom) -> Custom {
        if let Some(header) = &self.id_header {
            custom = custom.unsigned_id_header(header);
        }
        if let Some(header) = &self.kind_header {
            custom = custom.unsigned_kind_header(header);
        }
        if let Some(mode) = self.cloud_events {
            custom = custom.cloud_events(mode);
        }
        custom
    }
}

fn header(keys: &mut TableKeys, key: &'static str) -> Result<Option<String>, Failure> {
    let header = keys.text(key)?;
    if let Some(name) = &header {
        header_name(key, name).map_err(|OptionMistake { key, problem }| keys.wrong(key, problem))?;
    }
    Ok(header)
}
