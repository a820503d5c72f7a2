//! Small files, read and written in one piece.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use super::failure::{CANNOT_WRITE, Failure, NO_INPUT};

/// Reads a file; `expected` says what it should hold.
pub(super) fn read(path: &Path, expected: &str) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure(NO_INPUT, format!("{}: {error}; expected {expected}", path.display())))
}

/// Writes a file atomically: under another name in the same folder, then renamed. A reader, also after a crash, finds
/// the old file or the new one.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let temporary = temporary(path);
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| cannot_write(path, &error))
}

/// Whether [`write`] will work. Call it before the hours of work whose result it should write.
pub(super) fn check_writable(path: &Path) -> Result<(), Failure> {
    let temporary = temporary(path);
    if path.is_dir() {
        return Err(Failure(CANNOT_WRITE, format!("cannot write {}: it is a folder", path.display())));
    }
    File::create(&temporary).and_then(|_| fs::remove_file(&temporary)).map_err(|error| cannot_write(path, &error))
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure(CANNOT_WRITE, format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_atomically_and_leave_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        check_writable(&path).unwrap();
        assert!(!path.exists());
        write(&path, b"old").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(read(&path, "bytes").unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let nowhere = folder.path().join("no/such/folder");
        assert!(matches!(write(&nowhere, b""), Err(Failure(CANNOT_WRITE, _))));
        assert!(matches!(check_writable(&nowhere), Err(Failure(CANNOT_WRITE, _))));
        assert!(matches!(check_writable(folder.path()), Err(Failure(CANNOT_WRITE, _))));
        let Failure(code, what) = read(&nowhere, "weights").unwrap_err();
        assert!(code == NO_INPUT && what.ends_with("; expected weights"), "{what}");
    }
}
