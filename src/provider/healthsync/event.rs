//! HealthSync's events. Only `document.uploaded` has a documented payload.

use crate::event::Undocumented;
use crate::payload::payload;
use crate::{Phi, Time};

crate::provider::events::events! { "healthsync":
    /// A document was uploaded.
    DocumentUploaded(DocumentUploaded) = "document.uploaded",
    /// A document's metadata changed.
    DocumentUpdated(Undocumented) = "document.updated",
    /// A document was deleted.
    DocumentDeleted(Undocumented) = "document.deleted",
    /// A document was shared with someone.
    DocumentShared(Undocumented) = "document.shared",
    /// An analysis finished.
    AnalysisCompleted(Undocumented) = "analysis.completed",
    /// An analysis failed.
    AnalysisFailed(Undocumented) = "analysis.failed",
    /// A user's profile changed.
    UserUpdated(Undocumented) = "user.updated",
    /// A member joined a family.
    FamilyMemberAdded(Undocumented) = "family_member.added",
    /// A member left a family.
    FamilyMemberRemoved(Undocumented) = "family_member.removed",
    /// A link to share was made.
    ShareCreated(Undocumented) = "share.created",
    /// Someone looked at a shared record.
    ShareAccessed(Undocumented) = "share.accessed",
    /// A link to share ran out.
    ShareExpired(Undocumented) = "share.expired",
    /// A link to share was revoked.
    ShareRevoked(Undocumented) = "share.revoked",
}

payload! {
    /// A document was uploaded.
    pub struct DocumentUploaded {
        /// The document.
        pub object: Option<Document> = "object",
    }

    /// A document.
    pub struct Document {
        /// Its id, `doc_…`.
        pub id: Option<Phi<String>> = "id",
        /// Whose it is, `user_…`.
        pub user_id: Option<Phi<String>> = "user_id",
        /// Its file name.
        pub filename: Option<Phi<String>> = "filename",
        /// Its size; in bytes, presumably.
        pub file_size: Option<Phi<u64>> = "file_size",
        /// What it is, such as `lab_results`.
        pub category: Option<Phi<String>> = "category",
        /// When it was uploaded.
        pub uploaded_at: Option<Time> = "uploaded_at",
    }
}
