//! The machine the figures are of.

use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// Where and when servers were compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The day, in the machine's time zone.
    pub date: String,
    /// The processor's name.
    pub processor: String,
    /// How many cores this process may use.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The compiler's version.
    pub rustc: String,
}

impl Machine {
    /// This one, now.
    pub(crate) fn this(cores: usize) -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Machine {
            date: jiff::Zoned::now().date().to_string(),
            processor: processor(&cpuinfo)
                .unwrap_or("unknown processor")
                .to_owned(),
            cores,
            kernel: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            rustc: rustc().unwrap_or_else(|| "unknown rustc".to_owned()),
        }
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        let cores = if self.cores == 1 { "core" } else { "cores" };
        format!(
            "{}, {} {cores} of {}, Linux {}, {}",
            self.date, self.cores, self.processor, self.kernel, self.rustc
        )
    }
}

fn processor(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

/// Such as `rustc 1.95.0`.
fn rustc() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    (words.len() == 2).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Fast Thing @ 3GHz\nflags\t: x\n";
        assert_eq!(processor(cpuinfo), Some("Fast Thing @ 3GHz"));
        assert_eq!(processor(""), None);
    }

    #[test]
    fn this_machine_has_a_kernel_and_a_date() {
        let line = Machine::this(2).line();
        assert!(
            line.contains(", 2 cores of ") && line.contains("Linux "),
            "{line}"
        );
        assert!(line.starts_with("20"), "{line}");
    }
}
