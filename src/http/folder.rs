//! A folder of files as pages.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::page::{Page, Parts};
use super::source::{Found, PageSource};

/// The file that stands for its folder.
const INDEX: &str = "index.html";
/// The one folder with a hidden name that is there to be seen (RFC 8615).
const WELL_KNOWN: &str = ".well-known";
/// How often an open is tried again that met a rename on its way.
const ATTEMPTS: usize = 8;

/// Serves the files of a folder and of those in it.
///
/// No path leads out of the folder, and no symbolic link that points out of it is followed; files
/// whose name begins with a dot are not served. `index.html` stands for its folder; a path that
/// names a folder without its last `/` is redirected. The content type follows from the name, text
/// is UTF-8. A file is read in parts while it is sent.
///
/// A file is open only while a part of it is read, so that slow clients hold no descriptors. One
/// that shrinks while it is being sent, or is no longer there under its name, breaks its transfer
/// off.
#[derive(Debug)]
pub struct Folder(Arc<Root>);

#[derive(Debug)]
struct Root {
    folder: OwnedFd,
    /// Without any symbolic link in it.
    path: PathBuf,
}

impl Folder {
    /// Opens a folder. What is renamed to its path later is not served.
    ///
    /// # Errors
    /// If there is no such folder, or it may not be read.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&path, flags, Mode::empty())?;
        Ok(Self(Arc::new(Root { folder, path })))
    }
}

impl Root {
    /// Opens what `name` means in the folder. Never waits for the other end of a pipe.
    fn file(&self, name: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..ATTEMPTS {
            match rustix::fs::openat2(&self.folder, name, flags, Mode::empty(), resolve) {
                Ok(file) => return Ok(file.into()),
                Err(Errno::AGAIN) => {}
                // Older than Linux 5.6, or forbidden by a filter of system calls.
                Err(Errno::NOSYS | Errno::PERM) => return self.file_checked(name),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// The same where the kernel cannot do it: what the name means is looked up first, then opened
    /// without any symbolic link at its end. Whoever may rename folders in the folder at that moment
    /// could lead it elsewhere.
    fn file_checked(&self, name: &Path) -> io::Result<File> {
        let real = fs::canonicalize(self.path.join(name))?;
        let inside = real.strip_prefix(&self.path).map_err(|_| Errno::XDEV)?;
        let inside = if inside.as_os_str().is_empty() {
            Path::new(".")
        } else {
            inside
        };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.folder, inside, flags, Mode::empty())?;
        Ok(file.into())
    }
}

impl PageSource for Folder {
    fn find(&self, path: &str) -> io::Result<Found> {
        let Some(mut name) = decode(path) else {
            return Ok(Found::Missing);
        };
        let is_folder = path.ends_with('/');
        if is_folder {
            name.push(INDEX);
        }
        let file = match self.0.file(&name) {
            Ok(file) => file,
            Err(error) => return missing(error),
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() && !is_folder {
            return Ok(Found::Redirect(format!("{path}/")));
        }
        if !metadata.is_file() {
            return Ok(Found::Missing);
        }
        let tag = format!(
            "{:x}-{:x}-{:x}",
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.len()
        );
        let content_type = content_type(&name);
        let parts = Reopened {
            root: Arc::clone(&self.0),
            name,
            identity: Identity::of(&metadata),
            file: Some(file),
            at: 0,
        };
        let page = Page::parts(content_type, metadata.len(), parts).etag(&tag);
        Ok(Found::Page(match metadata.modified() {
            Ok(modified) => page.modified(modified),
            Err(_) => page,
        }))
    }
}

/// A file that is opened for each part of it.
struct Reopened {
    root: Arc<Root>,
    name: PathBuf,
    identity: Identity,
    /// Open since it was found, for its first part.
    file: Option<File>,
    at: u64,
}

/// What tells a file from another that has its name later, or that it has become. A number may be
/// given again to a file that is made when this one has gone, but not with the same time, if the
/// file system knows it.
struct Identity {
    device: u64,
    inode: u64,
    created: Option<SystemTime>,
    modified: (i64, i64),
    len: u64,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            created: metadata.created().ok(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            len: metadata.len(),
        }
    }

    /// Whether it is still this file, though perhaps more of it.
    fn is_still(&self, now: &Self) -> bool {
        let is_same =
            (self.device, self.inode, self.created) == (now.device, now.inode, now.created);
        let has_grown = self.created.is_some() && now.len > self.len;
        is_same && (now.modified == self.modified || has_grown)
    }
}

impl Reopened {
    fn open(&mut self) -> io::Result<File> {
        if let Some(file) = self.file.take() {
            return Ok(file);
        }
        let file = self.root.file(&self.name)?;
        if !self.identity.is_still(&Identity::of(&file.metadata()?)) {
            return Err(io::Error::other("it is another file by now"));
        }
        Ok(file)
    }
}

impl Parts for Reopened {
    fn next(&mut self, len: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; len];
        self.open()?.read_exact_at(&mut bytes, self.at)?;
        self.at += len as u64;
        Ok(Bytes::from(bytes))
    }
}

/// Nothing there, or nothing that is to be seen, as opposed to a machine that cannot look.
fn missing(error: io::Error) -> io::Result<Found> {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match errno {
        Some(
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::ACCESS
            | Errno::LOOP
            | Errno::XDEV
            | Errno::NAMETOOLONG
            | Errno::NXIO
            | Errno::INVAL,
        ) => Ok(Found::Missing),
        _ => Err(error),
    }
}

/// The relative path that a request's path names; `None` if it can name none: an escape that is
/// none, a NUL, a backslash, an encoded slash, or a component that is empty, `.`, `..` or hidden.
fn decode(path: &str) -> Option<PathBuf> {
    let path = path.strip_prefix('/')?;
    let mut name = PathBuf::new();
    let components = path.strip_suffix('/').unwrap_or(path);
    if !components.is_empty() {
        for component in components.split('/') {
            let bytes = unescape(component)?;
            let hidden = bytes.first() == Some(&b'.') && bytes != WELL_KNOWN.as_bytes();
            if bytes.is_empty() || hidden || bytes.iter().any(|byte| b"\0/\\".contains(byte)) {
                return None;
            }
            name.push(OsStr::from_bytes(&bytes));
        }
    } else if !path.is_empty() {
        return None;
    }
    let plain = name
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    plain.then_some(name)
}

/// Resolves `%XX` (RFC 3986 section 2.1).
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    Some(bytes)
}

/// The type that a name stands for. Modules are JavaScript as scripts are (RFC 9239).
fn content_type(name: &Path) -> String {
    let mime = mime_guess::from_path(name).first_or_octet_stream();
    match (mime.essence_str(), mime.type_()) {
        ("application/javascript", _) => "text/javascript; charset=utf-8".to_owned(),
        (_, mime_guess::mime::TEXT) => format!("{mime}; charset=utf-8"),
        _ => mime.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_name_something() {
        for (path, name) in [
            ("/", ""),
            ("/a", "a"),
            ("/a/b.html", "a/b.html"),
            ("/a/", "a"),
            ("/a%20b/%C3%A4", "a b/ä"),
            ("/%41%2e%2E", "A.."),
            ("/a..b", "a..b"),
            ("/.well-known/x", ".well-known/x"),
        ] {
            assert_eq!(decode(path), Some(PathBuf::from(name)), "{path}");
        }
    }

    #[test]
    fn paths_that_name_nothing() {
        for path in [
            "",
            "a",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/../a",
            "/a/..",
            "/a/../b",
            "/%2e%2e/a",
            "/%2E%2e",
            "/.%2e/",
            "/a/%2e%2e/%2e%2e/b",
            "/..%2fa",
            "/a%2Fb",
            "/a\\b",
            "/a%5cb",
            "/..%5ca",
            "/a%00",
            "/%00",
            "/%",
            "/%4",
            "/%zz",
            "/%+1",
            "/.git/config",
            "/%2ehtaccess",
            "/a/.b",
            "/%2e%2e%2f%2e%2e%2fetc/passwd",
            "/.well-known/../a",
            "/...",
        ] {
            assert_eq!(decode(path), None, "{path}");
        }
    }

    /// Both ways to open a file follow and refuse the same links.
    #[test]
    fn links_lead_nowhere_outside() {
        use std::io::Read;
        use std::os::unix::fs::symlink;

        let scratch = std::env::temp_dir().join(format!("sockeye-folder-{}", std::process::id()));
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(scratch.join("root/sub")).unwrap();
        fs::write(scratch.join("outside"), "outside").unwrap();
        fs::write(scratch.join("root/file"), "file").unwrap();
        for (target, name) in [
            ("../outside", "up"),
            ("/etc/passwd", "absolute"),
            ("/proc/self/root/etc/passwd", "magic"),
            ("..", "parent"),
            ("round", "round"),
            ("sub/../file", "inner"),
            ("../file", "sub/inner"),
        ] {
            symlink(target, scratch.join("root").join(name)).unwrap();
        }
        let folder = Folder::open(scratch.join("root")).unwrap();
        type Open = fn(&Root, &Path) -> io::Result<File>;
        for open in [Root::file as Open, Root::file_checked] {
            for name in [
                "up",
                "absolute",
                "magic",
                "parent",
                "parent/outside",
                "round",
                "none",
            ] {
                let found = open(&folder.0, Path::new(name)).map(drop);
                let error = found.expect_err(name);
                assert!(matches!(missing(error), Ok(Found::Missing)), "{name}");
            }
            for name in ["file", "inner", "sub/inner"] {
                let mut text = String::new();
                let mut file = open(&folder.0, Path::new(name)).expect(name);
                file.read_to_string(&mut text).unwrap();
                assert_eq!(text, "file", "{name}");
            }
            assert!(
                open(&folder.0, Path::new("sub"))
                    .unwrap()
                    .metadata()
                    .unwrap()
                    .is_dir()
            );
        }
        fs::remove_dir_all(scratch).unwrap();
    }

    #[test]
    fn content_types() {
        for (name, expected) in [
            ("a.html", "text/html; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.svg", "image/svg+xml"),
            ("a.png", "image/png"),
            ("a.wasm", "application/wasm"),
            ("a.woff2", "font/woff2"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("A.PNG", "image/png"),
            ("a", "application/octet-stream"),
            ("a.unheard-of", "application/octet-stream"),
        ] {
            assert_eq!(content_type(Path::new(name)), expected, "{name}");
        }
    }
}
