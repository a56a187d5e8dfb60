//! The master's own folder, where checkpoints are kept.

use super::state::random_hex;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::{env, io};

/// How the names of all such folders begin.
const PREFIX: &str = "determined-mock-";

/// A file that is locked for as long as the owner of the folder lives.
const LOCK: &str = "lock";

/// A folder of its own among the temporary files, removed when dropped.
///
/// A process that is killed drops nothing. What it leaves is removed when another process makes its first folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Closed, and so let go, after the folder was removed.
    _lock: File,
}

impl Folder {
    pub(super) fn new() -> io::Result<Self> {
        static SWEPT: Once = Once::new();
        let among = env::temp_dir();
        SWEPT.call_once(|| sweep(&among));
        loop {
            if let Some(folder) = Self::new_in(&among)? {
                return Ok(folder);
            }
        }
    }

    /// A new folder, or none if it was swept away before it was locked.
    fn new_in(among: &Path) -> io::Result<Option<Self>> {
        let path = among.join(format!("{PREFIX}{}", random_hex::<8>()));
        fs::create_dir(&path)?;
        // Storage paths are compared as text, so no link may stand in them.
        let path = path.canonicalize()?;
        let lock = File::create(path.join(LOCK))?;
        // Where files cannot be locked, nothing is swept either.
        let _ = lock.lock();
        let is_there = path.join(LOCK).exists();
        Ok(is_there.then_some(Self { path, _lock: lock }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system, which clears its temporary files.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders whose owner did not come to drop them. They are locked meanwhile, so that none is taken from an owner who
/// is just about to lock it.
fn sweep(among: &Path) {
    let Ok(entries) = fs::read_dir(among) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // A folder without this file is one that is just being made.
        if let Ok(lock) = File::open(entry.path().join(LOCK))
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_removed_with_all_that_it_holds() {
        let folder = Folder::new().unwrap();
        let path = folder.path().to_owned();
        fs::create_dir_all(path.join("a/b")).unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_swept_away_and_nothing_else() {
        let among = tempfile::tempdir().unwrap();
        let left = among.path().join(format!("{PREFIX}left"));
        fs::create_dir_all(left.join("checkpoints")).unwrap();
        File::create(left.join(LOCK)).unwrap();
        let just_begun = among.path().join(format!("{PREFIX}begun"));
        fs::create_dir(&just_begun).unwrap();
        let of_others = among.path().join("others");
        fs::create_dir(&of_others).unwrap();
        File::create(of_others.join(LOCK)).unwrap();
        let living = Folder::new_in(among.path()).unwrap().unwrap();

        sweep(among.path());

        assert!(!left.exists());
        assert!(just_begun.exists() && of_others.exists() && living.path().exists());
    }

    #[test]
    fn no_folder_is_swept_away_while_it_is_made() {
        let among = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let sweeping = scope.spawn(|| {
                for _ in 0..200 {
                    sweep(among.path());
                }
            });
            while !sweeping.is_finished() {
                if let Some(folder) = Folder::new_in(among.path()).unwrap() {
                    assert!(folder.path().join(LOCK).exists());
                    fs::create_dir(folder.path().join("checkpoints")).unwrap();
                }
            }
        });
    }
}
