//! What is bound to an operating system: file modes, lock files, configuration directories, file names.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Where programs of this user keep their configuration: `$XDG_CONFIG_HOME` or `~/.config` on Linux and its kin,
/// `~/Library/Application Support` on macOS, `%LOCALAPPDATA%` or `~/.config` on Windows. `None` without a home directory.
///
/// These are the directories that the Python SDK uses, so that both find the same files.
pub(crate) fn configuration_base(
    variable: impl Fn(&str) -> Option<PathBuf>,
    home: Option<&Path>,
) -> Option<PathBuf> {
    if cfg!(target_os = "macos") {
        return home.map(|home| home.join("Library").join("Application Support"));
    }
    let name = if cfg!(windows) {
        "LOCALAPPDATA"
    } else {
        "XDG_CONFIG_HOME"
    };
    variable(name).or_else(|| home.map(|home| home.join(".config")))
}

/// The spelling under which an environment variable is looked up: Windows does not tell `Path` from `PATH`.
pub(crate) fn variable_key(name: &str) -> String {
    if cfg!(windows) {
        name.to_uppercase()
    } else {
        name.to_owned()
    }
}

/// Creates `path` and what is missing above it, each for this user alone (mode 0700).
pub(crate) fn create_private_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Creates `path`, which must not exist, as a file that this user alone can read (mode 0600).
pub(crate) fn create_private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    private(&mut options);
    options.open(path)
}

/// Takes the exclusive lock that `path` stands for, unless another holds it: then the answer is `None`. Where files cannot be locked, the error
/// is of the kind [`Unsupported`](io::ErrorKind::Unsupported).
///
/// This is `flock` on Unix, as in Python's `filelock`. The lock ends when the file is dropped; the file itself stays,
/// because unlinking it would let two holders lock two different files of the same name.
pub(crate) fn try_lock_file(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    private(&mut options);
    let file = options.open(path)?;
    match file.try_lock() {
        // Some programs do unlink their lock files: a lock on a file that has lost its name guards nothing.
        Ok(()) => Ok(has_name(&file, path)?.then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        // Of the file system, which has no locks: it may say so in many ways.
        Err(TryLockError::Error(error)) => Err(io::Error::new(io::ErrorKind::Unsupported, error)),
    }
}

/// Takes the rights of all others on a file away (mode 0600).
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

fn private(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    #[cfg(not(unix))]
    let _ = options;
}

#[cfg(unix)]
fn has_name(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let open = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Windows unlinks no file that is open.
#[cfg(not(unix))]
fn has_name(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

/// The mode of a file as `stat` gives it, type bits included: `0o100644`. Made up where the system has no modes.
pub(crate) fn mode(metadata: &fs::Metadata) -> u32 {
    #[cfg(unix)]
    {
        std::os::unix::fs::MetadataExt::mode(metadata)
    }
    #[cfg(not(unix))]
    {
        match (metadata.is_dir(), metadata.permissions().readonly()) {
            (true, _) => 0o040_755,
            (false, false) => 0o100_644,
            (false, true) => 0o100_444,
        }
    }
}

/// Gives a file the permission bits of `mode` (`0o644`), where the system has them.
#[cfg(test)]
pub(crate) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    #[cfg(not(unix))]
    let _ = (path, mode);
    Ok(())
}

/// What tells this run of the machine from those before it, where the system says.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
pub(crate) fn boot_id() -> Option<String> {
    // No such file but on Linux.
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .map(|id| id.trim().to_owned())
}

/// Why this system cannot have a file of that name in a directory, if it cannot. `name` is one part of a path.
pub(crate) fn file_name_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("the name is empty")
    } else if name == "." || name == ".." {
        Some("the name leads to another directory")
    } else if name.contains(['/', '\0']) {
        Some("the name holds a slash or a NUL")
    } else if cfg!(windows) {
        windows_name_problem(name)
    } else {
        None
    }
}

fn windows_name_problem(name: &str) -> Option<&'static str> {
    const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
    if name.contains(['\\', ':', '<', '>', '"', '|', '?', '*']) || name.contains(char::is_control) {
        return Some("the name holds a character that Windows does not allow");
    }
    if name.ends_with(['.', ' ']) {
        return Some("Windows drops the last dot or blank of the name");
    }
    // A device keeps its meaning with any extension: `nul.txt` is the null device.
    let stem = name.split('.').next().unwrap_or(name).trim_end();
    let numbered = |device: &str| {
        let (head, tail) = stem.split_at_checked(device.len())?;
        let mut digits = tail.chars();
        let digit = matches!(digits.next(), Some('0'..='9' | '¹' | '²' | '³'));
        (head.eq_ignore_ascii_case(device) && digit && digits.next().is_none()).then_some(())
    };
    let reserved = DEVICES
        .iter()
        .any(|device| stem.eq_ignore_ascii_case(device))
        || numbered("COM").is_some()
        || numbered("LPT").is_some();
    reserved.then_some("Windows reserves the name for a device")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_admits_one_holder_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth.json.lock");
        let first = try_lock_file(&path).unwrap();
        assert!(first.is_some());
        assert!(try_lock_file(&path).unwrap().is_none());
        drop(first);
        assert!(try_lock_file(&path).unwrap().is_some());
        assert!(path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_on_a_file_that_lost_its_name_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth.json.lock");
        let file = try_lock_file(&path).unwrap().unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!has_name(&file, &path).unwrap());
        fs::write(&path, "").unwrap();
        assert!(!has_name(&file, &path).unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn what_is_private_has_no_rights_for_others() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("a/b");
        create_private_directory(&inner).unwrap();
        let file = inner.join("auth.json");
        create_private_file(&file).unwrap();
        assert_eq!(mode(&fs::metadata(&inner).unwrap()) & 0o777, 0o700);
        assert_eq!(mode(&fs::metadata(&file).unwrap()), 0o100_600);
        assert!(create_private_file(&file).is_err());

        set_mode(&file, 0o644).unwrap();
        assert_eq!(mode(&fs::metadata(&file).unwrap()), 0o100_644);
        make_private(&file).unwrap();
        assert_eq!(mode(&fs::metadata(&file).unwrap()), 0o100_600);
    }

    #[test]
    fn a_file_name_is_one_part_of_a_path() {
        for name in ["", ".", "..", "a/b", "a\0b"] {
            assert!(file_name_problem(name).is_some(), "{name:?}");
        }
        for name in ["a", "...", ".git", "état.bin"] {
            assert_eq!(file_name_problem(name), None, "{name:?}");
        }
    }

    #[test]
    fn windows_names_of_devices_are_known() {
        for name in [
            "nul", "NUL.txt", "com1", "LPT9.log", "COM²", "a:b", "a\\b", "a.", "a ",
        ] {
            assert!(windows_name_problem(name).is_some(), "{name:?}");
        }
        for name in ["null", "com", "com10", "console", "lpt", "a.nul", "état"] {
            assert_eq!(windows_name_problem(name), None, "{name:?}");
        }
    }
}
