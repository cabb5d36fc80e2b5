//! The style sheet, the script and the icons. They need no session: the login page uses them.

/// Returns the content type and the content of a file of the page.
pub(in crate::receive::operations) fn asset(path: &str) -> Option<(&'static str, &'static [u8])> {
    Some(match path {
        "/assets/page.css" => ("text/css; charset=utf-8", include_bytes!("../../../../templates/page.css")),
        "/assets/page.js" => ("text/javascript; charset=utf-8", include_bytes!("../../../../templates/page.js")),
        "/assets/icon.svg" => ("image/svg+xml", include_bytes!("../../../../templates/icon.svg")),
        "/assets/icon-warn.svg" => ("image/svg+xml", include_bytes!("../../../../templates/icon-warn.svg")),
        "/assets/icon-bad.svg" => ("image/svg+xml", include_bytes!("../../../../templates/icon-bad.svg")),
        _ => return None,
    })
}
