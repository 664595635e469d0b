//! Building the servers: with cargo and npm, under the target folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::cell::{Cell, Placement};
use super::process::{self, Interrupt};
use super::servers::{Contender, Recipe};

/// The longest a build may take.
const PATIENCE: Duration = Duration::from_secs(30 * 60);
/// The most a build may print.
const MAX_OUTPUT: u64 = 16 << 20;

/// How a built server is started.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Launch {
    program: PathBuf,
    /// Those before the server's own.
    first_args: Vec<String>,
    contender: Contender,
    /// What it says in tables.
    pub(crate) version: String,
}

impl Launch {
    /// What is appended to the URL it prints.
    pub(crate) fn path(&self, cell: Cell) -> &str {
        self.contender.path(cell.load)
    }

    /// The command that starts it.
    pub(crate) fn command(&self, placement: Placement) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.first_args)
            .args(self.contender.args(placement));
        // A server's settings are those of the comparison only.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SOCKEYE_") {
                command.env_remove(name);
            }
        }
        command
    }
}

/// Where things are built.
#[derive(Debug)]
pub(crate) struct Builder<'a> {
    workspace: PathBuf,
    target: PathBuf,
    interrupt: &'a Interrupt,
    /// False: everything is used as it is.
    build: bool,
    done: BTreeMap<Recipe, Result<(), String>>,
}

impl<'a> Builder<'a> {
    /// In this workspace, whose target folder is `CARGO_TARGET_DIR` or `target`.
    pub(crate) fn new(workspace: &Path, build: bool, interrupt: &'a Interrupt) -> Builder<'a> {
        let workspace = fs::canonicalize(workspace).unwrap_or_else(|_| workspace.to_owned());
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| workspace.join("target"), |dir| workspace.join(dir));
        Builder {
            workspace,
            target,
            interrupt,
            build,
            done: BTreeMap::new(),
        }
    }

    /// Builds a server, each recipe once.
    ///
    /// # Errors
    ///
    /// In words: the tool that is missing, or the last line of what it says.
    pub(crate) fn build(&mut self, contender: &Contender) -> Result<Launch, String> {
        let recipe = &contender.recipe;
        if self.build && !self.done.contains_key(recipe) {
            if !matches!(recipe, Recipe::Given(_)) {
                eprintln!("building {}", contender.name);
            }
            let result = self.make(recipe);
            self.done.insert(recipe.clone(), result);
        }
        if let Some(Err(error)) = self.done.get(recipe) {
            return Err(error.clone());
        }
        let (program, first_args) = self.program(recipe);
        if !matches!(recipe, Recipe::Given(_)) && program.is_absolute() && !program.exists() {
            return Err("not built".to_owned());
        }
        Ok(Launch {
            program,
            first_args,
            contender: contender.clone(),
            version: self.version(recipe),
        })
    }

    fn make(&self, recipe: &Recipe) -> Result<(), String> {
        match recipe {
            Recipe::Sockeye => {
                let args = [
                    "build",
                    "--release",
                    "--quiet",
                    "--package",
                    "sockeye",
                    "--bin",
                    "sockeye",
                ];
                self.cargo(&self.workspace.join("Cargo.toml"), &args, &self.target)
            }
            Recipe::Cargo { binary, .. } => {
                let manifest = self.peers().join("Cargo.toml");
                if !manifest.exists() {
                    return Err("there is no loadtest/peers/Cargo.toml".to_owned());
                }
                let args = ["build", "--release", "--quiet", "--bin", binary];
                self.cargo(&manifest, &args, &self.target.join("peers"))
            }
            Recipe::Npm { folder, .. } => self.npm(folder),
            Recipe::Given(_) => Ok(()),
        }
    }

    fn cargo(&self, manifest: &Path, args: &[&str], target: &Path) -> Result<(), String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(args)
            .arg("--manifest-path")
            .arg(manifest)
            .arg("--target-dir")
            .arg(target);
        if manifest.with_file_name("Cargo.lock").exists() {
            command.arg("--locked");
        }
        self.run("cargo", &mut command)
    }

    /// Installs the packages of a folder into a copy of it.
    fn npm(&self, folder: &str) -> Result<(), String> {
        let source = self.peers().join(folder);
        let copy = self.npm_folder(folder);
        let installed = copy.join("node_modules").exists()
            && fs::read(source.join("package.json")).ok()
                == fs::read(copy.join("package.json")).ok();
        copy_files(&source, &copy).map_err(|error| format!("loadtest/peers/{folder}: {error}"))?;
        if installed {
            return Ok(());
        }
        let locked = copy.join("package-lock.json").exists();
        let mut command = Command::new("npm");
        command
            .arg(if locked { "ci" } else { "install" })
            .args(["--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&copy);
        let result = self.run("npm", &mut command);
        if result.is_err() {
            // So that the next run tries again.
            let _ = fs::remove_dir_all(copy.join("node_modules"));
        }
        result
    }

    fn run(&self, tool: &str, command: &mut Command) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let output = process::output(command, None, MAX_OUTPUT, deadline, self.interrupt)
            .map_err(|error| format!("{tool} {error}"))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(format!("{tool}: {}", output.epitaph))
        }
    }

    fn peers(&self) -> PathBuf {
        self.workspace.join("loadtest/peers")
    }

    fn npm_folder(&self, folder: &str) -> PathBuf {
        self.target.join("peers/npm").join(folder)
    }

    /// What to start, and its first arguments.
    fn program(&self, recipe: &Recipe) -> (PathBuf, Vec<String>) {
        match recipe {
            Recipe::Sockeye => (self.target.join("release/sockeye"), Vec::new()),
            Recipe::Cargo { binary, .. } => {
                (self.target.join("peers/release").join(binary), Vec::new())
            }
            Recipe::Npm { folder, program } => {
                let folder = self.npm_folder(folder);
                let program = match *program {
                    "node" => PathBuf::from("node"),
                    program => folder.join("node_modules/.bin").join(program),
                };
                (
                    program,
                    vec![folder.join("server.js").to_string_lossy().into_owned()],
                )
            }
            Recipe::Given(command) => (PathBuf::from(&command[0]), command[1..].to_vec()),
        }
    }

    /// The version of what is measured, or nothing.
    fn version(&self, recipe: &Recipe) -> String {
        let found = match recipe {
            Recipe::Sockeye => self.commit(),
            Recipe::Cargo { library, .. } => library.and_then(|library| {
                let lock = fs::read_to_string(self.peers().join("Cargo.lock")).ok()?;
                Some(format!("{library} {}", locked_version(&lock, library)?))
            }),
            Recipe::Npm { folder, .. } => {
                let manifest = self
                    .npm_folder(folder)
                    .join("node_modules")
                    .join(folder)
                    .join("package.json");
                fs::read(manifest)
                    .ok()
                    .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
                    .and_then(|package| Some(format!("{folder} {}", package["version"].as_str()?)))
            }
            Recipe::Given(command) => Some(command.join(" ")),
        };
        found.unwrap_or_default()
    }

    fn commit(&self) -> Option<String> {
        let output = Command::new("git")
            .args(["describe", "--always", "--dirty", "--exclude=*"])
            .current_dir(&self.workspace)
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        Some(format!(
            "commit {}",
            String::from_utf8_lossy(&output.stdout).trim()
        ))
    }
}

/// The version of a package in a Cargo.lock.
fn locked_version(lock: &str, package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    let version = lines.nth(1)?.strip_prefix("version = \"")?;
    Some(version.trim_end_matches('"').to_owned())
}

/// Copies the files of a folder, without its folders.
fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    let entries = fs::read_dir(from)?;
    fs::create_dir_all(to)?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::servers;

    fn named(name: &str) -> Contender {
        servers::chosen(&[name.to_owned()], &[]).unwrap().remove(0)
    }

    #[test]
    fn a_version_is_that_of_the_lock_file() {
        let lock = "[[package]]\nname = \"a-b\"\nversion = \"9.9.9\"\n\n\
                    [[package]]\nname = \"a\"\nversion = \"1.2.3\"\nsource = \"x\"\n";
        assert_eq!(locked_version(lock, "a"), Some("1.2.3".to_owned()));
        assert_eq!(locked_version(lock, "b"), None);
    }

    #[test]
    fn what_is_not_there_is_an_error_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::default();
        let mut builder = Builder::new(folder.path(), true, &interrupt);
        builder.target = folder.path().join("target");
        assert_eq!(
            builder.build(&named("floor")).unwrap_err(),
            "there is no loadtest/peers/Cargo.toml"
        );
        assert!(
            builder
                .build(&named("bun"))
                .unwrap_err()
                .contains("loadtest/peers/bun")
        );
        let error = builder.build(&named("sockeye")).unwrap_err();
        assert!(
            error.starts_with("cargo: exit status: 101: error:"),
            "{error}"
        );
        builder.build = false;
        builder.done.clear();
        assert_eq!(builder.build(&named("floor")).unwrap_err(), "not built");
    }

    #[test]
    fn a_peer_that_does_not_compile_leaves_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let peers = folder.path().join("loadtest/peers");
        fs::create_dir_all(peers.join("src/bin")).unwrap();
        let manifest =
            "[package]\nname = \"peers\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n";
        fs::write(peers.join("Cargo.toml"), manifest).unwrap();
        fs::write(peers.join("src/bin/floor.rs"), "fn main() {}").unwrap();
        fs::write(
            peers.join("src/bin/fastwebsockets-peer.rs"),
            "fn main() { nonsense }",
        )
        .unwrap();
        let interrupt = Interrupt::default();
        let mut builder = Builder::new(folder.path(), true, &interrupt);
        builder.target = folder.path().join("target");
        let error = builder.build(&named("fastwebsockets")).unwrap_err();
        assert!(error.contains("could not compile"), "{error}");
        let floor = builder.build(&named("floor")).unwrap();
        assert!(floor.program.exists());
        assert!(floor.program.ends_with("target/peers/release/floor"));
    }

    #[test]
    fn npm_folders_are_copied_beside_what_is_built() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("loadtest/peers/ws");
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("package.json"), r#"{"dependencies":{}}"#).unwrap();
        fs::write(source.join("server.js"), "").unwrap();
        let interrupt = Interrupt::default();
        let mut builder = Builder::new(folder.path(), true, &interrupt);
        builder.target = folder.path().join("target");
        let copy = builder.npm_folder("ws");
        // As if it had been installed before, so that the test needs no npm.
        let package = copy.join("node_modules/ws");
        fs::create_dir_all(&package).unwrap();
        fs::copy(source.join("package.json"), copy.join("package.json")).unwrap();
        fs::write(package.join("package.json"), r#"{"version":"8.1.2"}"#).unwrap();
        let launch = builder.build(&named("ws")).unwrap();
        assert_eq!(launch.program, Path::new("node"));
        assert_eq!(
            launch.first_args,
            [copy.join("server.js").to_string_lossy()]
        );
        assert_eq!(launch.version, "ws 8.1.2");
        assert!(copy.join("server.js").exists());
    }
}
