//! The rounds of a comparison.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::build::{Builder, Launch};
use super::cell::{self, Cell, Metric};
use super::flags::Flags;
use super::isolate;
use super::machine::Machine;
use super::order::order;
use super::plot;
use super::process::{self, Interrupt};
use super::results::{CellResult, Comparison, ServerInfo, ServerSamples};
use super::sample::Sampler;
use super::servers::{self, Contender};
use super::table::{self, Style};

/// Compares the servers, prints the tables and writes the files that the flags ask for.
///
/// The exit code is 0, 1 if a requirement does not hold or a sample failed, 2 if the comparison
/// could not be done, 130 if a signal ended it; what it had measured by then is still written.
pub fn run(flags: &Flags) -> ExitCode {
    let interrupt = match Interrupt::watch() {
        Ok(interrupt) => interrupt,
        Err(error) => return cannot(&format!("cannot handle signals: {error}")),
    };
    let comparison = match compare(flags, &interrupt) {
        Ok(comparison) => comparison,
        Err(_) if interrupt.is_set() => return interrupted(),
        Err(error) => return cannot(&error),
    };
    if let Err(error) = write(flags, &comparison) {
        return cannot(&error);
    }
    if comparison.interrupted {
        return interrupted();
    }
    judge(flags, &comparison)
}

fn interrupted() -> ExitCode {
    eprintln!("interrupted");
    ExitCode::from(130)
}

fn cannot(error: &str) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(2)
}

/// A server that takes part.
struct Entrant {
    contender: Contender,
    launch: Launch,
}

fn compare(flags: &Flags, interrupt: &Interrupt) -> Result<Comparison, String> {
    let contenders = servers::chosen(&flags.server, &flags.add)?;
    let cells = cells(flags);
    check_requirements(flags, &contenders, &cells)?;
    let cores = cores(flags)?;
    // Tools may fetch what they build from, so this comes before the network goes.
    let (mut infos, mut entrants) = build(flags, contenders, interrupt)?;
    let network = isolate::isolate(!flags.no_netns);
    let available = process::cores().map_or(0, |cores| cores.len());
    let sampler = Sampler {
        client: client(flags)?,
        cores,
        warmup: flags.warmup(),
        duration: flags.duration(),
        timeout: flags.sample_timeout(),
        interrupt: interrupt.clone(),
    };
    raise_descriptor_limit();
    leave_out_what_does_not_start(flags, &sampler, &cells, &mut infos, &mut entrants)?;
    let rounds = Rounds {
        flags,
        sampler: &sampler,
        entrants: &entrants,
    };
    let (cells, complete) = rounds.all(&cells);
    if cells.is_empty() && !complete {
        return Err("interrupted".to_owned());
    }
    Ok(Comparison {
        machine: Machine::this(available),
        network,
        settings: settings(flags, cores),
        servers: infos,
        cells,
        interrupted: !complete,
    })
}

/// A typing error in a condition should not take an hour to be found.
fn check_requirements(
    flags: &Flags,
    contenders: &[Contender],
    cells: &[Cell],
) -> Result<(), String> {
    for requirement in &flags.require {
        let find = |name: &str| contenders.iter().find(|contender| contender.name == name);
        if let Some(name) = requirement.servers().find(|name| find(name).is_none()) {
            return Err(format!("--require {requirement}: {name} takes no part"));
        }
        let told = |cell: &Cell| {
            let takes_part = |name: &str| find(name).is_some_and(|one| one.takes_part(*cell));
            requirement.can_be_told(*cell, takes_part)
        };
        if !cells.iter().any(told) {
            return Err(format!(
                "--require {requirement}: no cell of this comparison can tell"
            ));
        }
    }
    Ok(())
}

/// The server's core and the client's.
fn cores(flags: &Flags) -> Result<Option<(usize, usize)>, String> {
    if flags.no_pin {
        return Ok(None);
    }
    let cores = process::cores().map_err(|error| format!("cannot tell the cores: {error}"))?;
    pair(&cores).map(Some)
}

fn pair(cores: &[usize]) -> Result<(usize, usize), String> {
    match cores {
        [server, client, ..] => Ok((*server, *client)),
        _ => Err(
            "only one core: server and client would share it; --no-pin measures that all the same"
                .to_owned(),
        ),
    }
}

/// What is measured: rate cells last, after those that their rates come from.
fn cells(flags: &Flags) -> Vec<Cell> {
    let mut wanted = match (&flags.cell[..], flags.quick) {
        ([], false) => cell::matrix(),
        ([], true) => cell::quick(),
        (cells, _) => cells.to_vec(),
    };
    if flags.rate.is_none() {
        wanted.extend(wanted.clone().into_iter().filter_map(Cell::saturation));
    }
    wanted.sort_by_key(|cell| cell.saturation().is_some());
    let mut cells: Vec<Cell> = Vec::new();
    for cell in wanted {
        if !cells.contains(&cell) {
            cells.push(cell);
        }
    }
    cells
}

/// Builds every server. One that was not asked for by name is left out if it cannot be built.
fn build(
    flags: &Flags,
    contenders: Vec<Contender>,
    interrupt: &Interrupt,
) -> Result<(Vec<ServerInfo>, Vec<Entrant>), String> {
    let mut builder = Builder::new(&flags.workspace, !flags.no_build, interrupt);
    let (mut infos, mut entrants) = (Vec::new(), Vec::new());
    for contender in contenders {
        let built = builder.build(&contender);
        if interrupt.is_set() {
            return Err("interrupted".to_owned());
        }
        let mut info = ServerInfo {
            name: contender.name.clone(),
            ..ServerInfo::default()
        };
        match built {
            Ok(launch) => {
                info.version.clone_from(&launch.version);
                entrants.push(Entrant { contender, launch });
            }
            Err(error) => leave_out(flags, &mut info, error)?,
        }
        infos.push(info);
    }
    Ok((infos, entrants))
}

fn leave_out(flags: &Flags, info: &mut ServerInfo, why: String) -> Result<(), String> {
    if flags.asks_for(&info.name) {
        return Err(format!("{}: {why}", info.name));
    }
    eprintln!("{} is left out: {why}", info.name);
    info.left_out = Some(why);
    Ok(())
}

/// Starts each server once, so that one that cannot run does not fail in every sample.
fn leave_out_what_does_not_start(
    flags: &Flags,
    sampler: &Sampler,
    cells: &[Cell],
    infos: &mut [ServerInfo],
    entrants: &mut Vec<Entrant>,
) -> Result<(), String> {
    let mut good = Vec::new();
    for entrant in entrants.drain(..) {
        let takes_part = |cell: &&Cell| entrant.contender.takes_part(**cell);
        let started = cells
            .iter()
            .find(takes_part)
            .map_or(Ok(()), |&cell| sampler.try_start(cell, &entrant.launch));
        let info = infos
            .iter_mut()
            .find(|info| info.name == entrant.contender.name);
        match (started, info) {
            (Err(why), Some(info)) => leave_out(flags, info, why)?,
            _ => good.push(entrant),
        }
    }
    *entrants = good;
    if entrants.is_empty() {
        Err("no server left to measure".to_owned())
    } else {
        Ok(())
    }
}

fn client(flags: &Flags) -> Result<std::path::PathBuf, String> {
    match &flags.client {
        Some(client) => Ok(client.clone()),
        None => {
            std::env::current_exe().map_err(|error| format!("cannot find this executable: {error}"))
        }
    }
}

/// What a server may open follows from the limit it inherits.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        eprintln!("cannot raise the descriptor limit: {error}");
    }
}

fn settings(flags: &Flags, cores: Option<(usize, usize)>) -> BTreeMap<String, String> {
    let time = |duration: Duration| humantime::format_duration(duration).to_string();
    let pinned = cores.map_or("off".to_owned(), |(server, client)| {
        format!("server on core {server} and client on core {client}")
    });
    [
        ("rounds", flags.rounds().to_string()),
        ("duration", time(flags.duration())),
        ("warmup", time(flags.warmup())),
        ("seed", flags.seed.to_string()),
        ("pin", pinned),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

struct Rounds<'a> {
    flags: &'a Flags,
    sampler: &'a Sampler,
    entrants: &'a [Entrant],
}

impl Rounds<'_> {
    /// All samples of all cells, and whether they are all; if not, without the cells that have none.
    /// Rate cells come in rounds of their own, when the throughput that their rate comes from is known.
    fn all(&self, cells: &[Cell]) -> (Vec<CellResult>, bool) {
        let mut results: Vec<CellResult> = cells.iter().map(|&cell| self.empty(cell)).collect();
        let samples: usize = results.iter().map(|result| result.servers.len()).sum();
        let progress = progress(samples as u64 * u64::from(self.flags.rounds()));
        let closed = cells
            .iter()
            .take_while(|cell| cell.saturation().is_none())
            .count();
        let mut complete = self.rounds(&mut results, 0..closed, &progress);
        for i in closed..results.len() {
            results[i].rate = self
                .flags
                .rate
                .map(u64::from)
                .or_else(|| self.half_of_saturation(&results, cells[i]));
        }
        complete = complete && self.rounds(&mut results, closed..cells.len(), &progress);
        progress.finish_and_clear();
        if !complete {
            results.retain(|result| result.servers.iter().any(|one| !one.samples.is_empty()));
        }
        (results, complete)
    }

    fn empty(&self, cell: Cell) -> CellResult {
        let takes_part = |entrant: &&Entrant| entrant.contender.takes_part(cell);
        let unable = |entrant: &Entrant| {
            let contender = &entrant.contender;
            let here = contender.placements.contains(&cell.placement);
            let why = contender.unable(cell).filter(|_| here)?;
            Some((contender.name.clone(), why.to_owned()))
        };
        let servers = self
            .entrants
            .iter()
            .filter(takes_part)
            .map(|entrant| ServerSamples {
                name: entrant.contender.name.clone(),
                samples: Vec::new(),
            });
        CellResult {
            cell,
            rate: None,
            left_out: self.entrants.iter().filter_map(unable).collect(),
            servers: servers.collect(),
        }
    }

    /// Every cell once in each round, every server once in each cell: so slow changes of the
    /// machine hit all cells and servers alike. Returns false if it was interrupted.
    fn rounds(
        &self,
        results: &mut [CellResult],
        which: std::ops::Range<usize>,
        progress: &ProgressBar,
    ) -> bool {
        for round in 0..self.flags.rounds() {
            for i in which.clone() {
                let result = &mut results[i];
                if progress.is_hidden() {
                    let rounds = self.flags.rounds();
                    eprintln!("round {} of {rounds}, {}", round + 1, result.cell);
                }
                for server in order(self.flags.seed, i, round, result.servers.len()) {
                    let samples = &mut result.servers[server];
                    progress.set_message(format!(
                        "round {}, {}, {}",
                        round + 1,
                        result.cell,
                        samples.name
                    ));
                    let launch = self.launch(&samples.name);
                    let sample = self.sampler.take(result.cell, launch, result.rate, round);
                    if self.sampler.interrupt.is_set() {
                        return false;
                    }
                    if let Some(error) = &sample.error {
                        progress
                            .suspend(|| eprintln!("{} at {}: {error}", samples.name, result.cell));
                    }
                    samples.samples.push(sample);
                    progress.inc(1);
                }
            }
        }
        true
    }

    fn launch(&self, name: &str) -> &Launch {
        let entrant = self
            .entrants
            .iter()
            .find(|entrant| entrant.contender.name == name);
        &entrant.expect("only entrants have samples").launch
    }

    /// One rate for all: half of what the slowest of the main servers does in the closed loop, so
    /// that each has the same load and none is saturated.
    fn half_of_saturation(&self, results: &[CellResult], cell: Cell) -> Option<u64> {
        let saturation = cell.saturation()?;
        let result = results.iter().find(|result| result.cell == saturation)?;
        let main = self
            .entrants
            .iter()
            .filter(|entrant| entrant.contender.main);
        let slowest = main
            .filter_map(|entrant| {
                result
                    .server(&entrant.contender.name)?
                    .spread(Metric::Throughput)
            })
            .map(|spread| spread.median)
            .min_by(f64::total_cmp)?;
        Some(((slowest / 2.0) as u64).max(1))
    }
}

/// A progress line; drawn only between samples, so that it disturbs none.
fn progress(samples: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{pos}/{len} {bar:30} {elapsed} (eta {eta}) {msg}");
    ProgressBar::new(samples).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn write(flags: &Flags, comparison: &Comparison) -> Result<(), String> {
    let is_output = |file: &Option<std::path::PathBuf>| file.as_deref() == Some(Path::new("-"));
    if !is_output(&flags.json) && !is_output(&flags.markdown) {
        put(Path::new("-"), &table::render(comparison, Style::Terminal))?;
    }
    if let Some(file) = &flags.json {
        let json = serde_json::to_string_pretty(comparison).map_err(|error| error.to_string())?;
        put(file, &format!("{json}\n"))?;
    }
    if let Some(file) = &flags.markdown {
        put(file, &table::render(comparison, Style::Markdown))?;
    }
    if let Some(file) = &flags.plot {
        match plot::svg(comparison) {
            Some(svg) => put(file, &svg)?,
            None => eprintln!("no plot: no closed-loop cell has a ratio to the floor"),
        }
    }
    Ok(())
}

fn put(file: &Path, text: &str) -> Result<(), String> {
    let written = if file == Path::new("-") {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
    } else {
        std::fs::write(file, text)
    };
    written.map_err(|error| format!("{}: {error}", file.display()))
}

fn judge(flags: &Flags, comparison: &Comparison) -> ExitCode {
    let failures: Vec<String> = flags
        .require
        .iter()
        .flat_map(|requirement| requirement.failures(comparison))
        .collect();
    for failure in &failures {
        eprintln!("does not hold: {failure}");
    }
    let failed = comparison.failed_samples();
    if failed > 0 {
        eprintln!("{failed} samples failed");
    }
    ExitCode::from(u8::from(failed > 0 || !failures.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::super::cell::Placement;
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        flags: Flags,
    }

    fn flags(args: &[&str]) -> Flags {
        Cli::try_parse_from(std::iter::once(&"compare").chain(args))
            .unwrap()
            .flags
    }

    fn names(cells: &[Cell]) -> Vec<String> {
        cells.iter().map(Cell::to_string).collect()
    }

    #[test]
    fn a_rate_cell_comes_after_the_one_its_rate_comes_from() {
        let cells = cells(&flags(&[
            "--cell",
            "rate:64,32",
            "--cell",
            "idle",
            "--cell",
            "idle:15000",
        ]));
        assert_eq!(names(&cells), ["idle:15000", "64,32,1", "rate:64,32"]);
    }

    #[test]
    fn a_given_rate_needs_no_other_cell() {
        let cells = cells(&flags(&["--cell", "rate:64,32", "--rate", "1k"]));
        assert_eq!(names(&cells), ["rate:64,32"]);
    }

    #[test]
    fn the_whole_matrix_is_the_default() {
        assert_eq!(cells(&flags(&[])).len(), cell::matrix().len());
        assert!(cells(&flags(&["--quick"])).len() < cells(&flags(&[])).len());
        assert!(
            cells(&flags(&[]))
                .iter()
                .any(|cell| cell.placement == Placement::TwoCores)
        );
    }

    #[test]
    fn one_core_is_refused() {
        assert_eq!(pair(&[4, 5, 6]), Ok((4, 5)));
        assert!(pair(&[0]).unwrap_err().contains("--no-pin"));
        assert_eq!(cores(&flags(&["--no-pin"])), Ok(None));
    }

    #[test]
    fn a_condition_on_a_server_that_takes_no_part_is_refused() {
        let flags = flags(&["--server", "floor", "--require", "bun/floor<2"]);
        let contenders = servers::chosen(&flags.server, &[]).unwrap();
        let error = check_requirements(&flags, &contenders, &cells(&flags)).unwrap_err();
        assert!(error.contains("bun takes no part"), "{error}");
    }

    #[test]
    fn a_condition_that_no_cell_can_tell_is_refused() {
        let check = |args: &[&str]| {
            let flags = flags(args);
            check_requirements(&flags, &servers::all(&[]), &cells(&flags))
        };
        for condition in [
            "floor@9,9,9<1",
            "memory:floor<1",
            // It takes part only where nothing is pinned.
            "sockeye<1",
        ] {
            let error = check(&["--cell", "64,32,1", "--require", condition]).unwrap_err();
            assert!(error.contains("no cell"), "{error}");
        }
        let hub = ["--cell", "broadcast:10,125", "--require", "bun/floor<2"];
        assert!(check(&hub).is_err());
        assert_eq!(check(&["--cell", "idle", "--require", "floor<1"]), Ok(()));
        assert_eq!(check(&["--require", "memory:floor@idle<1"]), Ok(()));
        // A rate cell brings the one its rate comes from.
        let brought = ["--cell", "rate:64,32", "--require", "cpu:floor@64,32,1<9"];
        assert_eq!(check(&brought), Ok(()));
    }

    #[test]
    fn bad_flags_are_refused() {
        for args in [
            ["--cell", "64"],
            ["--rounds", "0"],
            ["--rate", "0.5k/s"],
            ["--require", "x"],
            ["--add", "y"],
        ] {
            assert!(
                Cli::try_parse_from(std::iter::once(&"compare").chain(&args)).is_err(),
                "{args:?}"
            );
        }
    }
}
