//! The pages in a real browser: runs `tests/browser/run` with the binary of this build.
//!
//! Without a browser, without node, or before `npm ci` was run in `tests/browser`, this test says so
//! and passes; with `SOCKEYE_REQUIRE_BROWSER=1` it fails instead.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const CHROMIUM: &str = "chromium";

/// What is missing, if anything is.
fn missing() -> Option<String> {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| CHROMIUM.into());
    for tool in [&*chromium, "node", "npm"] {
        let version = Command::new(tool)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !version.is_ok_and(|status| status.success()) {
            return Some(format!("{tool} is missing"));
        }
    }
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/node_modules");
    let installed = modules.join("playwright-core").exists();
    (!installed).then(|| "`npm ci --prefix tests/browser` was not run".into())
}

#[test]
fn pages_in_a_browser() {
    if let Some(missing) = missing() {
        let required = std::env::var("SOCKEYE_REQUIRE_BROWSER").is_ok_and(|value| value == "1");
        assert!(!required, "{missing}");
        // Not `eprintln!`: of a test that passes nobody would see it.
        let _ = writeln!(
            std::io::stderr(),
            "pages_in_a_browser is skipped: {missing}"
        );
        return;
    }
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("browser");
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/run");
    let result = Command::new(run)
        .arg(env!("CARGO_BIN_EXE_sockeye"))
        .env("SOCKEYE_BROWSER_OUTPUT", &output)
        .stdin(Stdio::null())
        .output()
        .expect("tests/browser/run starts");
    assert!(
        result.status.success(),
        "{}{}",
        String::from_utf8_lossy(&result.stdout),
        String::from_utf8_lossy(&result.stderr)
    );
}
