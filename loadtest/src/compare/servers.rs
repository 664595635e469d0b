//! The servers that are compared: what they are called, what they are built from, how they are
//! started.

use std::str::FromStr;

use super::cell::{Cell, Load, Placement};

/// What every ratio is relative to, if it is there.
pub(crate) const FLOOR: &str = "floor";

/// Those that broadcast, and on which path. One of each kind: it is the hub that is compared there.
const BROADCASTS: [(&str, &str); 5] = [
    ("sockeye-inline", "/relay/bench"),
    ("sockeye-worker", "/relay/bench"),
    ("sockeye", "/relay/bench"),
    ("tungstenite-16k", "/broadcast"),
    ("bun", "/broadcast"),
];

/// A server of the comparison.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Contender {
    /// Its name in flags and tables.
    pub(crate) name: String,
    /// What it is made from.
    pub(crate) recipe: Recipe,
    /// Its arguments besides the port; `N` is the number of threads.
    pub(crate) args: Vec<String>,
    /// What its printed URL lacks.
    pub(crate) path: String,
    /// The path on which each message goes to everyone else, if it takes part where that is measured.
    pub(crate) broadcast: Option<&'static str>,
    /// Where it takes part.
    pub(crate) placements: &'static [Placement],
    /// Whether the rate of rate cells must be within its reach.
    pub(crate) main: bool,
}

/// What a server is made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Recipe {
    /// The server of this repository.
    Sockeye,
    /// A binary of the workspace in `loadtest/peers`, and the crate whose version it shows.
    Cargo {
        binary: &'static str,
        library: Option<&'static str>,
    },
    /// A folder of `loadtest/peers` with a `package.json`; run by `program`, which is `node` or an
    /// executable of the package of that name.
    Npm {
        folder: &'static str,
        program: &'static str,
    },
    /// A command as it is, with nothing to build.
    Given(Vec<String>),
}

/// A server of `--add`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra {
    name: String,
    path: String,
    command: Vec<String>,
}

impl Extra {
    /// Whether this is its name.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name == name
    }
}

impl FromStr for Extra {
    type Err = String;

    fn from_str(text: &str) -> Result<Extra, String> {
        let (name, command) = text.split_once('=').ok_or("NAME[/PATH]=COMMAND wanted")?;
        let (name, path) = match name.find('/') {
            Some(slash) => name.split_at(slash),
            None => (name, "/"),
        };
        let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(known) {
            return Err(format!(
                "a name of letters, digits, - _ and . wanted, not {name:?}"
            ));
        }
        let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if command.is_empty() {
            return Err("no command".to_owned());
        }
        Ok(Extra {
            name: name.to_owned(),
            path: path.to_owned(),
            command,
        })
    }
}

/// Every server there is, ours first.
pub(crate) fn all(extras: &[Extra]) -> Vec<Contender> {
    const BOTH: &[Placement] = &[Placement::Pinned, Placement::TwoCores];
    const PINNED: &[Placement] = &[Placement::Pinned];
    const TWO_CORES: &[Placement] = &[Placement::TwoCores];

    let sockeye = |name, args, placements| {
        contender(
            name,
            Recipe::Sockeye,
            &format!("--listen 127.0.0.1:0 {args}"),
            placements,
            true,
        )
    };
    let cargo = |name, binary, library, args: &str, placements, main| {
        let recipe = Recipe::Cargo { binary, library };
        contender(
            name,
            recipe,
            &format!("--port 0 --threads N {args}"),
            placements,
            main,
        )
    };
    let npm = |name, program, placements, main| {
        let recipe = Recipe::Npm {
            folder: name,
            program,
        };
        contender(name, recipe, "--port 0 --threads 1", placements, main)
    };
    let tungstenite = |name, args, placements, main| {
        cargo(
            name,
            "tungstenite-peer",
            Some("tokio-tungstenite"),
            args,
            placements,
            main,
        )
    };
    let on_tokio = |name, binary, placements| cargo(name, binary, Some(name), "", placements, true);
    // With its default read buffer, which it zeroes at each read, and with the best one.
    let (batched, small) = ("--mode batched", "--mode batched --read-buffer 16384");
    let mut all = vec![
        sockeye("sockeye-inline", "--reactors N --workers 0", BOTH),
        sockeye("sockeye-worker", "--reactors 1 --workers 1", PINNED),
        // As it comes.
        sockeye("sockeye", "", TWO_CORES),
        cargo(FLOOR, "floor", None, "", BOTH, true),
        on_tokio("fastwebsockets", "fastwebsockets-peer", BOTH),
        on_tokio("tokio-websockets", "tokio-websockets-peer", BOTH),
        tungstenite("tungstenite-16k", small, BOTH, true),
        tungstenite("tungstenite-batched", batched, BOTH, false),
        tungstenite("tungstenite", "--mode idiomatic", PINNED, false),
        npm("bun", "bun", BOTH, true),
        npm("ws", "node", PINNED, false),
    ];
    all.extend(extras.iter().map(|extra| Contender {
        name: extra.name.clone(),
        recipe: Recipe::Given(extra.command.clone()),
        args: Vec::new(),
        path: extra.path.clone(),
        broadcast: None,
        placements: BOTH,
        main: false,
    }));
    all
}

fn contender(
    name: &str,
    recipe: Recipe,
    args: &str,
    placements: &'static [Placement],
    main: bool,
) -> Contender {
    let path = if recipe == Recipe::Sockeye {
        "/echo"
    } else {
        "/"
    };
    Contender {
        name: name.to_owned(),
        recipe,
        args: args.split_whitespace().map(str::to_owned).collect(),
        path: path.to_owned(),
        broadcast: BROADCASTS
            .iter()
            .find(|(one, _)| *one == name)
            .map(|&(_, path)| path),
        placements,
        main,
    }
}

/// Those with these names and the added ones, all of them if there are no names; two of the same name are an error.
pub(crate) fn chosen(names: &[String], extras: &[Extra]) -> Result<Vec<Contender>, String> {
    let all = all(extras);
    for (i, one) in all.iter().enumerate() {
        if all[..i].iter().any(|other| other.name == one.name) {
            return Err(format!("two servers are called {}", one.name));
        }
    }
    if let Some(unknown) = names
        .iter()
        .find(|name| all.iter().all(|one| one.name != **name))
    {
        let known: Vec<_> = all.iter().map(|one| one.name.as_str()).collect();
        return Err(format!(
            "no server {unknown:?}; there are {}",
            known.join(", ")
        ));
    }
    let added = |name: &str| extras.iter().any(|extra| extra.is(name));
    let wanted =
        |one: &Contender| names.is_empty() || names.contains(&one.name) || added(&one.name);
    Ok(all.into_iter().filter(wanted).collect())
}

impl Contender {
    /// What its URL lacks in this cell.
    pub(crate) fn path(&self, load: Load) -> &str {
        match (load, self.broadcast) {
            (Load::Broadcast { .. }, Some(path)) => path,
            _ => &self.path,
        }
    }

    /// Why it takes no part in this cell, though it does in others of the placement.
    pub(crate) fn unable(&self, cell: Cell) -> Option<&'static str> {
        let broadcasts = matches!(cell.load, Load::Broadcast { .. });
        (broadcasts && self.broadcast.is_none()).then_some("it does not broadcast here")
    }

    /// Whether it takes part in this cell.
    pub(crate) fn takes_part(&self, cell: Cell) -> bool {
        self.placements.contains(&cell.placement) && self.unable(cell).is_none()
    }

    /// Its arguments in this placement.
    pub(crate) fn args(&self, placement: Placement) -> Vec<String> {
        let threads = match placement {
            Placement::Pinned => "1",
            Placement::TwoCores => "2",
        };
        let put = |arg: &String| {
            if arg == "N" {
                threads.to_owned()
            } else {
                arg.clone()
            }
        };
        self.args.iter().map(put).collect()
    }
}

/// The name of our server that others are compared with in a placement.
pub(crate) fn ours(placement: Placement) -> &'static str {
    match placement {
        Placement::Pinned => "sockeye-inline",
        Placement::TwoCores => "sockeye",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Contender {
        chosen(&[name.to_owned()], &[]).unwrap().remove(0)
    }

    #[test]
    fn a_server_has_one_thread_pinned_and_two_on_two_cores() {
        let inline = named("sockeye-inline");
        let args = |placement| inline.args(placement).join(" ");
        assert_eq!(
            args(Placement::Pinned),
            "--listen 127.0.0.1:0 --reactors 1 --workers 0"
        );
        assert_eq!(
            args(Placement::TwoCores),
            "--listen 127.0.0.1:0 --reactors 2 --workers 0"
        );
        assert_eq!(
            named("tungstenite-batched")
                .args(Placement::TwoCores)
                .join(" "),
            "--port 0 --threads 2 --mode batched"
        );
        assert_eq!(
            named("sockeye").args(Placement::TwoCores).join(" "),
            "--listen 127.0.0.1:0"
        );
    }

    #[test]
    fn only_those_that_broadcast_are_in_such_a_cell() {
        let cell = "broadcast:1000,125".parse().unwrap();
        let all = all(&[]);
        let parts = all.iter().filter(|one| one.takes_part(cell));
        let names: Vec<_> = parts.map(|one| one.name.as_str()).collect();
        assert_eq!(
            names,
            ["sockeye-inline", "sockeye-worker", "tungstenite-16k", "bun"]
        );
        assert!(named("floor").unable(cell).is_some());
        assert_eq!(named("bun").path(cell.load), "/broadcast");
        let echo: Cell = "1,32,1".parse().unwrap();
        assert!(named("floor").unable(echo).is_none());
        assert_eq!(named("sockeye").path(echo.load), "/echo");
        for (name, _) in BROADCASTS {
            assert!(named(name).broadcast.is_some());
        }
    }

    #[test]
    fn every_peer_is_there() {
        let peers = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        let manifest = |file: &str| std::fs::read_to_string(peers.join(file)).unwrap_or_default();
        for one in all(&[]) {
            match one.recipe {
                Recipe::Cargo { binary, .. } => {
                    let folder = binary.trim_end_matches("-peer");
                    let name = format!("name = \"{binary}\"\n");
                    assert!(
                        manifest(&format!("{folder}/Cargo.toml")).contains(&name),
                        "{binary}"
                    );
                }
                Recipe::Npm { folder, .. } => {
                    let dependency = format!("\"{folder}\":");
                    assert!(manifest(&format!("{folder}/package.json")).contains(&dependency));
                }
                Recipe::Sockeye | Recipe::Given(_) => {}
            }
        }
    }

    #[test]
    fn our_server_takes_part_wherever_others_are_compared_with_it() {
        for placement in [Placement::Pinned, Placement::TwoCores] {
            let ours = named(ours(placement));
            assert!(ours.recipe == Recipe::Sockeye && ours.placements.contains(&placement));
            assert!(named(FLOOR).placements.contains(&placement));
        }
    }

    #[test]
    fn an_unknown_server_is_refused_with_those_there_are() {
        let error = chosen(&["flour".to_owned()], &[]).unwrap_err();
        assert!(
            error.contains("\"flour\"") && error.contains("fastwebsockets"),
            "{error}"
        );
    }

    #[test]
    fn a_server_can_be_added() {
        let extra: Extra = "old/echo=target/old/sockeye --listen 127.0.0.1:0"
            .parse()
            .unwrap();
        let added = chosen(&["old".to_owned()], std::slice::from_ref(&extra)).unwrap();
        assert_eq!(added.len(), 1);
        assert_eq!(added[0].path, "/echo");
        assert_eq!(
            added[0].recipe,
            Recipe::Given(
                ["target/old/sockeye", "--listen", "127.0.0.1:0"]
                    .map(String::from)
                    .to_vec()
            )
        );
        let names = |chosen: Vec<Contender>| chosen.into_iter().map(|one| one.name);
        let beside = chosen(&["floor".to_owned()], std::slice::from_ref(&extra)).unwrap();
        assert_eq!(names(beside).collect::<Vec<_>>(), ["floor", "old"]);
        let floor: Extra = "floor=other".parse().unwrap();
        assert_eq!(
            chosen(&[], &[floor]).unwrap_err(),
            "two servers are called floor"
        );
        for bad in ["old", "=x", "old=", "o ld=x", "old= "] {
            assert!(bad.parse::<Extra>().is_err(), "{bad}");
        }
    }
}
