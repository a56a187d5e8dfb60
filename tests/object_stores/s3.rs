//! Amazon S3 and what speaks like it: pieces, pages, interruptions.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use determined::{CancelToken, Determined, DownloadMode, DownloadOptions, ErrorKind};

use crate::bucket::refuse;
use crate::support::After;
use crate::world::{
    MIB, UUID, World, assert_holds, is_to_bucket, key_of, noise, odd_files, paged_world, world,
    world_with,
};

#[test]
fn odd_names_come_out_as_they_are_and_siblings_stay_where_they_are() {
    let files = odd_files();
    let world = world(&files);
    world
        .bucket
        .put(&format!("my/prefix/{UUID}-sibling/evil"), b"x");
    world.bucket.put(&key_of(""), b"");
    assert_eq!(world.download().unwrap(), world.path());
    assert_holds(&world.path(), &files);
    assert_eq!(world.left(), [""; 0]);
    for seen in world.server.requests() {
        if is_to_bucket(&seen) {
            let authorization = seen.header("authorization").unwrap();
            assert!(
                authorization.starts_with("AWS4-HMAC-SHA256 Credential=kkkk/"),
                "{authorization}"
            );
        }
    }
    // What came directly is kept like what came through the master.
    let before = world.server.requests().len();
    world.download().unwrap();
    assert_eq!(
        world.server.requests()[before..]
            .iter()
            .filter(|seen| is_to_bucket(seen))
            .count(),
        0
    );
}

#[test]
fn a_listing_of_many_pages_is_read_to_its_end() {
    let names: Vec<String> = (0..95).map(|n| format!("part/{n:03} of 95")).collect();
    let files: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), noise(10, 7)))
        .collect();
    for gives_tokens in [true, false] {
        let world = paged_world(&files, 10, gives_tokens);
        world.download().unwrap();
        assert_holds(&world.path(), &files);
        assert_eq!(world.server.count("/ckpts"), 10);
    }
}

#[test]
fn a_large_object_comes_in_pieces() {
    let files = [("large", noise(35 * MIB + 5, 1)), ("small", noise(10, 2))];
    let world = world(&files);
    world.download().unwrap();
    assert_holds(&world.path(), &files);
    let end = 35 * MIB + 4;
    assert_eq!(
        world.asked("large"),
        [
            "0-16777215".to_owned(),
            "16777216-33554431".to_owned(),
            format!("33554432-{end}")
        ]
    );
    assert_eq!(world.asked("small"), ["0-"]);
}

#[test]
fn a_download_that_failed_goes_on_where_it_was() {
    let mut files = vec![
        ("large", noise(40 * MIB, 1)),
        ("last", noise(10, 3)),
        ("small", noise(10, 2)),
    ];
    let is_ill = Arc::new(Mutex::new(true));
    let ill = Arc::clone(&is_ill);
    let world = world_with(&files, move |seen, stream| {
        let is_last = seen.path().ends_with("/last")
            || seen
                .header("range")
                .is_some_and(|range| range.starts_with("bytes=3355"));
        (*ill.lock().unwrap() && is_last).then(|| refuse(stream, 403, "AccessDenied"))
    });
    let checkpoint = world.checkpoint();
    let options = world.options().parallelism(1);
    let error = checkpoint.download_with(options.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("AccessDenied it is"), "{error}");
    assert!(!world.path().exists());

    *is_ill.lock().unwrap() = false;
    let before = world.asked("large").len();
    assert_eq!(before, 3);
    checkpoint.download_with(options.clone()).unwrap();
    assert_holds(&world.path(), &files);
    assert_eq!(world.asked("large").len(), before + 1);
    assert_eq!(world.left(), [""; 0]);

    // An object that changed meanwhile is fetched anew, whole.
    fs::remove_dir_all(world.path()).unwrap();
    *is_ill.lock().unwrap() = true;
    checkpoint.download_with(options.clone()).unwrap_err();
    *is_ill.lock().unwrap() = false;
    files[0].1 = noise(40 * MIB, 9);
    world.bucket.change(&key_of("large"), files[0].1.clone());
    let before = world.asked("large").len();
    checkpoint.download_with(options).unwrap();
    assert_holds(&world.path(), &files);
    assert_eq!(world.asked("large").len(), before + 3);
}

#[test]
fn a_killed_download_goes_on_where_it_was() {
    const URL: &str = "FETCH_UNTIL_KILLED_FROM";
    const PATH: &str = "FETCH_UNTIL_KILLED_TO";
    if let (Ok(url), Ok(path)) = (std::env::var(URL), std::env::var(PATH)) {
        let options = crate::support::options(&url);
        let client = Determined::new(options).unwrap();
        let options = DownloadOptions::new().path(path).mode(DownloadMode::Direct);
        client
            .get_checkpoint(UUID)
            .unwrap()
            .download_with(options)
            .unwrap();
        unreachable!("the store never sends the last piece");
    }
    let files = [("large", noise(40 * MIB, 1)), ("small", noise(10, 2))];
    let stuck = Arc::new(Mutex::new(0));
    let times = Arc::clone(&stuck);
    let world = world_with(&files, move |seen, stream| {
        if !seen
            .header("range")
            .is_some_and(|range| range.starts_with("bytes=3355"))
        {
            return None;
        }
        let is_first = {
            let mut times = times.lock().unwrap();
            *times += 1;
            *times == 1
        };
        is_first.then(|| {
            let head = "HTTP/1.1 206 Partial\r\ncontent-range: bytes 33554432-41943039/41943040\r\ncontent-length: 8388608\r\n\r\n";
            stream.write_all(head.as_bytes())?;
            stream.write_all(&[0; 1000])?;
            std::thread::sleep(Duration::from_secs(60));
            Ok(After::Close)
        })
    });
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "s3::a_killed_download_goes_on_where_it_was"])
        .env(URL, &world.server.url)
        .env(PATH, world.path())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_waiting = || {
        let journal = world.scratch.path().join(".c.partial/direct.journal");
        let noted = fs::read_to_string(journal).unwrap_or_default();
        *stuck.lock().unwrap() == 0
            || noted.lines().filter(|line| line.starts_with('[')).count() < 3
    };
    while is_waiting() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!world.path().exists());
    let before = world.asked("large").len();
    world.download().unwrap();
    assert_holds(&world.path(), &files);
    assert_eq!(world.asked("large").len(), before + 1);
    assert_eq!(world.asked("small").len(), 1);
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn what_stutters_is_asked_again() {
    let files = [("a", noise(3 * MIB, 1)), ("b", noise(10, 2))];
    let times = Arc::new(Mutex::new(BTreeMap::<String, u32>::new()));
    let content = files[0].1.clone();
    let world = world_with(&files, move |seen, stream| {
        if !is_to_bucket(seen) {
            return None;
        }
        let mut times = times.lock().unwrap();
        let time = times.entry(seen.path().to_owned()).or_default();
        *time += 1;
        match (seen.path().rsplit('/').next().unwrap(), *time) {
            ("ckpts", 1) => Some(refuse(stream, 503, "SlowDown")),
            ("ckpts", 2) => Some(Ok(After::Close)),
            ("b", 1 | 2) => Some(refuse(stream, 500, "InternalError")),
            // Cut in the middle of the body.
            ("a", 1) => Some({
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                    content.len()
                );
                stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(&content[..MIB]))
                    .map(|()| After::Close)
            }),
            _ => None,
        }
    });
    world.download().unwrap();
    assert_holds(&world.path(), &files);
    // It went on behind what had arrived.
    let asked = world.asked("a");
    assert_eq!(asked.len(), 2);
    let start: usize = asked[1].split('-').next().unwrap().parse().unwrap();
    assert!(start > 0 && start <= MIB, "{asked:?}");
}

#[test]
fn what_stays_broken_is_given_up() {
    let files = [("a", noise(10, 1))];
    let world = world_with(&files, |seen, stream| {
        seen.path()
            .ends_with("/a")
            .then(|| refuse(stream, 503, "SlowDown"))
    });
    let started = Instant::now();
    let error = world.download().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert!(error.to_string().contains("SlowDown"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(world.left(), [""; 0]);
}

#[test]
fn cancelling_ends_all_threads_within_a_second() {
    let files = [("a", noise(64 * MIB, 1))];
    let world = world_with(&files, |seen, stream| {
        seen.header("range").map(|range| {
            let range = range.replace('=', " ");
            let head = format!("HTTP/1.1 206 Partial\r\ncontent-range: {range}/67108864\r\ncontent-length: 16777216\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            std::thread::sleep(Duration::from_secs(20));
            Ok(After::Close)
        })
    });
    let token = CancelToken::new();
    let button = token.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        button.cancel();
    });
    let checkpoint = world.checkpoint();
    let started = Instant::now();
    let error = checkpoint
        .download_with(world.options().cancel(&token))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert!(started.elapsed() < Duration::from_secs(15));
    assert!(!world.path().exists());
}

#[test]
fn one_failure_ends_the_other_threads_at_once() {
    let files = [("a", noise(64 * MIB, 1))];
    let world = world_with(&files, |seen, stream| {
        seen.header("range").map(|range| {
            if range.starts_with("bytes=3355") {
                std::thread::sleep(Duration::from_millis(500));
                return refuse(stream, 403, "AccessDenied");
            }
            std::thread::sleep(Duration::from_secs(20));
            Ok(After::Close)
        })
    });
    let checkpoint = world.checkpoint();
    let started = Instant::now();
    let error = checkpoint.download_with(world.options()).unwrap_err();
    assert!(error.to_string().contains("AccessDenied"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[test]
fn progress_counts_what_is_there_already() {
    let files = [("large", noise(40 * MIB, 1)), ("small", noise(10, 2))];
    let is_ill = Arc::new(Mutex::new(true));
    let ill = Arc::clone(&is_ill);
    let world = world_with(&files, move |seen, stream| {
        (*ill.lock().unwrap() && seen.path().ends_with("/small")).then(|| refuse(stream, 403, "No"))
    });
    world
        .checkpoint()
        .download_with(world.options().parallelism(1))
        .unwrap_err();
    *is_ill.lock().unwrap() = false;
    let last = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&last);
    let options = world
        .options()
        .on_progress(move |progress| *seen.lock().unwrap() = Some(progress.clone()));
    world.checkpoint().download_with(options).unwrap();
    let last = last.lock().unwrap().clone().unwrap();
    assert_eq!(
        (last.bytes_done, last.files_done),
        (40 * MIB as u64 + 10, 2)
    );
    assert_eq!(
        (last.bytes_total, last.files_total),
        (Some(40 * MIB as u64 + 10), Some(2))
    );
}

#[test]
fn progress_knows_what_the_listing_says() {
    let world = world(&[("a", noise(10, 1))]);
    world.bucket.put(&key_of("more"), &noise(30, 2));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let options = world
        .options()
        .on_progress(move |progress| log.lock().unwrap().push(progress.clone()));
    world.checkpoint().download_with(options).unwrap();
    let seen = seen.lock().unwrap();
    let of = |n: usize| (seen[n].bytes_total, seen[n].files_total);
    assert_eq!(of(0), (Some(40), Some(2)));
    let last = seen.last().unwrap();
    assert_eq!((last.bytes_done, last.files_done), (40, 2));
    assert_eq!(of(seen.len() - 1), (Some(40), Some(2)));
}

#[test]
fn downloads_to_one_place_are_one() {
    let files = [("a", noise(3 * MIB, 1)), ("b", noise(10, 2))];
    let world = world_with(&files, |seen, _| {
        if is_to_bucket(seen) {
            std::thread::sleep(Duration::from_millis(200));
        }
        None
    });
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| world.download().unwrap());
        }
    });
    assert_holds(&world.path(), &files);
    assert_eq!((world.asked("a").len(), world.asked("b").len()), (1, 1));
    assert_eq!(world.left(), [""; 0]);
}

/// A world whose object `last` is refused until it is well again, and the switch for that.
fn ill_world(files: &[(&str, Vec<u8>)]) -> (World, Arc<Mutex<bool>>) {
    let is_ill = Arc::new(Mutex::new(true));
    let ill = Arc::clone(&is_ill);
    let world = world_with(files, move |seen, stream| {
        (*ill.lock().unwrap() && seen.path().ends_with("/last"))
            .then(|| refuse(stream, 403, "AccessDenied"))
    });
    (world, is_ill)
}

#[test]
fn what_was_lost_of_a_partial_download_is_fetched_again() {
    let files = [
        ("large", noise(20 * MIB, 1)),
        ("last", noise(10, 2)),
        ("a", noise(5, 3)),
    ];
    let (world, is_ill) = ill_world(&files);
    let options = world.options().parallelism(1);
    world
        .checkpoint()
        .download_with(options.clone())
        .unwrap_err();
    let partial = world.scratch.path().join(".c.partial/direct");
    fs::OpenOptions::new()
        .write(true)
        .open(partial.join("large"))
        .unwrap()
        .set_len(5)
        .unwrap();
    fs::remove_file(partial.join("a")).unwrap();
    *is_ill.lock().unwrap() = false;
    world.checkpoint().download_with(options).unwrap();
    assert_holds(&world.path(), &files);
    assert_eq!((world.asked("large").len(), world.asked("a").len()), (4, 2));
}

#[test]
fn what_is_not_in_the_bucket_any_more_does_not_come_out_of_a_partial_download() {
    let files = [("a", noise(10, 1)), ("last", noise(10, 2))];
    let (world, is_ill) = ill_world(&files);
    world.bucket.put(&key_of("extra"), b"extra");
    let options = world.options().parallelism(1);
    world
        .checkpoint()
        .download_with(options.clone())
        .unwrap_err();
    assert!(
        world
            .scratch
            .path()
            .join(".c.partial/direct/extra")
            .exists()
    );
    world.bucket.remove(&key_of("extra"));
    *is_ill.lock().unwrap() = false;
    world.checkpoint().download_with(options).unwrap();
    assert_holds(&world.path(), &files);
    assert!(!world.path().join("extra").exists());
}
