//! The events of HealthSync. Only `document.uploaded` has a documented payload.

use crate::event::Undocumented;
use crate::payload::payload;
use crate::provider::EqualBytes;
use crate::{Phi, Time};

/// Without its id, an event cannot be distinguished from another one with the same bytes.
const BY_ID: EqualBytes = EqualBytes::SameEvent(&["/id"], "every event has an id");

crate::provider::events::events! { "healthsync":
    /// A document was uploaded.
    DocumentUploaded(DocumentUploaded) = "document.uploaded": BY_ID,
    /// A document's metadata changed.
    DocumentUpdated(Undocumented) = "document.updated": BY_ID,
    /// A document was deleted.
    DocumentDeleted(Undocumented) = "document.deleted": BY_ID,
    /// A document was shared.
    DocumentShared(Undocumented) = "document.shared": BY_ID,
    /// An analysis finished.
    AnalysisCompleted(Undocumented) = "analysis.completed": BY_ID,
    /// An analysis failed.
    AnalysisFailed(Undocumented) = "analysis.failed": BY_ID,
    /// A user's profile changed.
    UserUpdated(Undocumented) = "user.updated": BY_ID,
    /// A family member was added.
    FamilyMemberAdded(Undocumented) = "family_member.added": BY_ID,
    /// A family member was removed.
    FamilyMemberRemoved(Undocumented) = "family_member.removed": BY_ID,
    /// A share was created.
    ShareCreated(Undocumented) = "share.created": BY_ID,
    /// A share was accessed.
    ShareAccessed(Undocumented) = "share.accessed": BY_ID,
    /// A share expired.
    ShareExpired(Undocumented) = "share.expired": BY_ID,
    /// A share was revoked.
    ShareRevoked(Undocumented) = "share.revoked": BY_ID,
}

payload! {
    /// A document was uploaded.
    pub struct DocumentUploaded {
        /// The uploaded document.
        pub object: Option<Document> = "object",
    }

    /// A document.
    pub struct Document {
        /// The document's id, `doc_…`.
        pub id: Option<Phi<String>> = "id",
        /// The id of the document's user, `user_…`.
        pub user_id: Option<Phi<String>> = "user_id",
        /// The file name.
        pub filename: Option<Phi<String>> = "filename",
        /// The size, presumably in bytes.
        pub file_size: Option<Phi<u64>> = "file_size",
        /// The category, such as `lab_results`.
        pub category: Option<Phi<String>> = "category",
        /// When it was uploaded.
        pub uploaded_at: Option<Time> = "uploaded_at",
    }
}
