//! The pages that show the built-in endpoints in a browser, as part of the binary.

use crate::{Page, Server};

/// Nothing but what is served here; scripts and styles only from files. A browser's idea of
/// `'self'` need not include WebSockets, so they are named.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      img-src 'self' data:; connect-src 'self' ws: wss:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, content type and bytes of every page.
const PAGES: [(&str, &str, &str); 17] = [
    ("/", HTML, include_str!("index.html")),
    ("/index.js", SCRIPT, include_str!("index.js")),
    ("/echo.html", HTML, include_str!("echo.html")),
    ("/echo.js", SCRIPT, include_str!("echo.js")),
    ("/questions.html", HTML, include_str!("questions.html")),
    ("/questions.js", SCRIPT, include_str!("questions.js")),
    ("/chat.html", HTML, include_str!("chat.html")),
    ("/chat.js", SCRIPT, include_str!("chat.js")),
    ("/canvas.html", HTML, include_str!("canvas.html")),
    ("/canvas.js", SCRIPT, include_str!("canvas.js")),
    ("/ticker.html", HTML, include_str!("ticker.html")),
    ("/ticker.js", SCRIPT, include_str!("ticker.js")),
    ("/connection.js", SCRIPT, include_str!("connection.js")),
    ("/panel.js", SCRIPT, include_str!("panel.js")),
    ("/fallback.js", SCRIPT, include_str!("fallback.js")),
    (
        "/style.css",
        "text/css; charset=utf-8",
        include_str!("style.css"),
    ),
    ("/favicon.svg", "image/svg+xml", include_str!("favicon.svg")),
];

/// Adds the built-in pages: `/` and those it links to.
#[must_use]
pub fn install(server: Server) -> Server {
    PAGES.iter().fold(server, |server, &(path, mime, body)| {
        let page = Page::new(mime, body)
            .header("Content-Security-Policy", POLICY)
            .header("Referrer-Policy", "no-referrer");
        server.page(path, page)
    })
}
