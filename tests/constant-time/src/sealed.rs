//! The tag of a sealed body. The library leaves its comparison to the crate `aes-gcm`. Only a client with write access
//! to the store can forge one.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};

use crate::attempts::{Attempt, Group, control};

/// Returns the group of forged tags.
pub fn groups() -> Vec<Group> {
    let cipher = Aes256Gcm::new(&[3; 32].into());
    let (nonce, associated) = (Nonce::from([5; 12]), b"row");
    let mut sealed = *b"a body of an event";
    let tag = cipher.encrypt_inout_detached(&nonce, associated, InOutBuf::from(&mut sealed[..])).expect("a short body");
    let altered = |changes: &[usize]| {
        let mut tag: [u8; 16] = tag.into();
        changes.iter().for_each(|at| tag[*at] ^= 1);
        Tag::from(tag)
    };
    let every: Vec<_> = (0..16).collect();
    let cases = [
        ("wrong in its first byte", &[0][..]),
        ("wrong in the middle", &[8]),
        ("wrong in its last byte", &[15]),
        ("wrong in every byte", &every),
    ];
    let attempts = cases.map(|(name, changes)| {
        let (cipher, tag) = (cipher.clone(), altered(changes));
        let run = move || {
            let mut text = sealed;
            cipher.decrypt_inout_detached(&nonce, associated, InOutBuf::from(&mut text[..]), &tag).is_ok()
        };
        Attempt { name, accepted: false, run: Box::new(run) }
    });
    let group = Group { name: "tag of a sealed body: forged".to_owned(), attempts: attempts.into(), control: false };
    vec![group, control("the tag of a sealed body", 16)]
}
