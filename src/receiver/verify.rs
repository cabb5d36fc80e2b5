//! Step 4, verification: the MACs are compared.

use super::body::Intake;
use crate::error::Reason;
use crate::rejection::Rejection;
use crate::verified::Verified;

impl<'a> Intake<'a> {
    /// Compares the MACs in constant time and returns the verified body.
    ///
    /// # Errors
    /// Returns [`Reason::SignatureMismatch`], or [`Reason::TooLarge`] if the body exceeds the limit.
    #[inline]
    pub fn finish(self) -> Result<Verified<'a>, Rejection> {
        if self.too_large {
            return Err(Reason::TooLarge.into());
        }
        let rest = self.body.bytes().get(self.hashed..).unwrap_or_default();
        let verification = self.check.finish(&self.generation.scheme, rest)?;
        Ok(Verified::assertion(self.body.into_bytes(), verification, self.generation, self.unsigned))
    }
}
