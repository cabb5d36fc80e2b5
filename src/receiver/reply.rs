//! Step 2 again, after step 4: the reply to a verified body that is a handshake.

use std::sync::Arc;

use super::Receiver;
use crate::observe;
use crate::reply::Reply;
use crate::verified::Verified;

impl Receiver {
    /// Returns the reply to a verified body that is a handshake
    /// ([`Handshake::ping_pong`](crate::Handshake::ping_pong)), which must be sent instead of calling
    /// [`open`](Receiver::open); or `None` if the body is a delivery. [`receive`](Receiver::receive) does this itself.
    ///
    /// ```
    /// use medhook::{Custom, Handshake, HmacSha256Body, NoDedupe, Receiver, Secret, testing};
    ///
    /// let key = "made-up-metriport-key";
    /// let scheme = HmacSha256Body::new("x-sig");
    /// let metriport = Custom::new("metriport", scheme, Secret::new(key)?)
    ///     .handshake(Handshake::ping_pong("/ping", "pong"));
    /// let receiver = Receiver::builder("in", metriport).store(NoDedupe).build()?;
    ///
    /// let ping = r#"{"ping":"abc"}"#;
    /// let signing = testing::Signing::hmac_sha256("x-sig");
    /// let headers = signing.headers(key, "", "", ping.as_bytes()).expect("signed");
    /// let verified = receiver.verify(&headers, ping.into())?;
    /// let reply = receiver.reply_to(&verified).expect("a ping");
    /// assert_eq!(reply.body, r#"{"pong":"abc"}"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn reply_to(&self, verified: &Verified<'_>) -> Option<Reply> {
        if !Arc::ptr_eq(verified.endpoint(), &self.0.endpoint) {
            return None;
        }
        let (name, reply) = verified.generation().handshakes.answer_body(verified.body())?;
        observe::handshake(verified.endpoint(), name);
        Some(reply)
    }
}
