//! The page in a browser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use loadtest::report::{Report, html};

use crate::sample;

const BROWSER: &str = "/usr/bin/chromium";
const LIMIT: Duration = Duration::from_secs(60);

/// Text in every place that takes text, which would run if it were not escaped.
fn hostile() -> Report {
    let attack = |name: &str| {
        format!("\"><script>console.log('{name}')</script><img src=x onerror=console.log(1)>")
    };
    let mut report = sample::full();
    report.scenario = attack("scenario");
    report.target = attack("target");
    report.started = attack("started");
    report.settings.insert(attack("setting"), attack("value"));
    report.details.insert(attack("detail"), 1.0);
    report.faults[0].what = attack("fault");
    report.client.bottleneck = Some(attack("bottleneck"));
    report.failed_requirements.push(attack("requirement"));
    report
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    for report in [sample::full(), Report::default()] {
        let page = html::page(&report).to_lowercase();
        for part in ["@import", "url(", " src=", "xlink"] {
            assert!(
                !page.contains(part),
                "`{part}` in the page of {}",
                report.scenario
            );
        }
        let links = page.matches("href=").count();
        let empty = page.matches("href=\"data:,\"").count();
        assert_eq!((links, empty), (1, 1), "only the empty icon");
    }
}

#[test]
fn no_text_of_a_report_becomes_a_tag() {
    for report in [sample::full(), hostile()] {
        let page = html::page(&report).to_lowercase();
        for part in ["<script", "<img", "<iframe", "<object"] {
            assert!(
                !page.contains(part),
                "`{part}` in the page of {}",
                report.scenario
            );
        }
    }
    let texts = html::page(&hostile()).matches("&lt;script&gt;").count();
    assert!(texts >= 9, "{texts} of the texts are shown");
}

#[test]
fn charts_are_drawn_for_what_there_is() {
    let charts = |report: &Report| html::page(report).matches("<svg ").count();
    assert_eq!(charts(&sample::full()), 6);
    assert_eq!(charts(&Report::default()), 0);
    let mut report = sample::full();
    report.latency = None;
    report.handshake = None;
    for sample in &mut report.series {
        (
            sample.server_memory,
            sample.server_cpu,
            sample.p50_us,
            sample.p99_us,
        ) = (None, None, None, None);
    }
    assert_eq!(charts(&report), 2, "throughput and connections");
}

#[test]
fn a_browser_shows_the_page_without_a_word_on_its_console() {
    let Some(browser) = Browser::new() else {
        return;
    };
    // First that an error would be seen at all.
    let broken = browser.open(
        "broken.html",
        "<script>console.log('said'); missing()</script>",
    );
    assert!(
        broken.said("said") && broken.said("missing is not defined"),
        "{}",
        broken.log
    );

    for (name, report) in [
        ("full.html", sample::full()),
        ("empty.html", Report::default()),
        ("hostile.html", hostile()),
    ] {
        let shown = browser.open(name, &html::page(&report));
        assert!(!shown.log.contains("CONSOLE"), "{name}: {}", shown.log);
        assert!(
            !shown.dom.contains("<script") && !shown.dom.contains("<img"),
            "{name}"
        );
        assert_eq!(
            shown.dom.matches("<svg ").count(),
            html::page(&report).matches("<svg ").count()
        );
        assert!(shown.dom.contains("</html>"), "{name}: {}", shown.dom);
    }
}

struct Browser {
    folder: tempfile::TempDir,
}

struct Shown {
    dom: String,
    log: String,
}

impl Shown {
    fn said(&self, text: &str) -> bool {
        self.log
            .lines()
            .any(|line| line.contains("CONSOLE") && line.contains(text))
    }
}

impl Browser {
    fn new() -> Option<Self> {
        if !Path::new(BROWSER).exists() {
            println!("skipped: there is no {BROWSER}");
            return None;
        }
        Some(Self {
            folder: tempfile::tempdir().expect("a folder"),
        })
    }

    fn open(&self, name: &str, page: &str) -> Shown {
        let file = self.folder.path().join(name);
        fs::write(&file, page).expect("written");
        let profile = self.folder.path().join(format!("{name}.profile"));
        let Output {
            stdout,
            stderr,
            status,
        } = run(
            Command::new(BROWSER)
                .args([
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-quic",
                    "--no-first-run",
                ])
                .args([
                    "--disable-background-networking",
                    "--disable-component-update",
                    "--disable-sync",
                ])
                .args(["--enable-logging=stderr", "--v=0", "--dump-dom"])
                .arg(format!("--user-data-dir={}", profile.display()))
                .arg(format!("file://{}", file.display())),
            &file,
        );
        let (dom, log) = (
            String::from_utf8_lossy(&stdout).into(),
            String::from_utf8_lossy(&stderr).into(),
        );
        assert!(status.success(), "{status}: {log}");
        Shown { dom, log }
    }
}

/// Runs a command with a limit; its output goes through files, so that none of it can fill a pipe.
fn run(command: &mut Command, name: &Path) -> Output {
    let path = |end: &str| -> PathBuf { name.with_extension(end) };
    let create = |end| fs::File::create(path(end)).expect("created");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(create("out"))
        .stderr(create("err"))
        .spawn()
        .expect("it starts");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("our child") {
            break status;
        }
        if start.elapsed() > LIMIT {
            child.kill().expect("our child");
            child.wait().expect("our child");
            panic!(
                "no answer in {LIMIT:?}: {}",
                fs::read_to_string(path("err")).unwrap_or_default()
            );
        }
        thread::sleep(Duration::from_millis(20));
    };
    Output {
        status,
        stdout: fs::read(path("out")).expect("read"),
        stderr: fs::read(path("err")).expect("read"),
    }
}
