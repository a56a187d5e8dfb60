//! Lists whose pages do not fit together.

use std::sync::atomic::{AtomicUsize, Ordering};

use determined::{Error, ErrorKind, Model, ModelQuery};
use serde_json::{Value, json};

use crate::hasty;
use crate::support::{RawMaster, answer, json as answer_json};

/// A master with these answers to the first, second … request for a page; after the last it fails.
fn pages(bodies: impl IntoIterator<Item = Value>) -> RawMaster {
    let bodies: Vec<String> = bodies.into_iter().map(|body| body.to_string()).collect();
    let asked = AtomicUsize::new(0);
    RawMaster::start(
        move |_, stream| match bodies.get(asked.fetch_add(1, Ordering::SeqCst)) {
            Some(body) => answer_json(stream, 200, body),
            None => answer_json(stream, 500, r#"{"message":"asked too often"}"#),
        },
    )
}

fn page(ids: &[i32], end: impl Into<Value>, total: impl Into<Value>) -> Value {
    let models: Vec<Value> = ids
        .iter()
        .map(|id| json!({"id": id, "name": format!("m{id}")}))
        .collect();
    json!({"models": models, "pagination": {"endIndex": end.into(), "total": total.into()}})
}

fn ids(master: &RawMaster) -> Result<Vec<i32>, Error> {
    let models = hasty(master).iter_models_with(ModelQuery::new().page_size(2))?;
    models
        .map(|model| model.map(|model| model.model_id))
        .collect()
}

fn offsets(master: &RawMaster) -> Vec<String> {
    let requests = master.requests();
    let queries = requests
        .iter()
        .filter_map(|seen| seen.target.split_once('?'));
    let offset = |query: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix("offset=").map(str::to_owned))
    };
    queries.filter_map(|(_, query)| offset(query)).collect()
}

#[test]
fn each_page_is_asked_for_once_and_each_object_comes_once() {
    let master = pages([page(&[1, 2], 2, 5), page(&[3, 4], 4, 5), page(&[5], 5, 5)]);
    assert_eq!(ids(&master).unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!(offsets(&master), ["0", "2", "4"]);
}

#[test]
fn a_list_that_never_advances_is_an_error_and_not_a_loop() {
    let stuck = || page(&[1, 2], 2, 4);
    for bodies in [
        vec![stuck(), stuck(), stuck()],
        vec![page(&[], 0, 4)],
        vec![page(&[1, 2], 0, 4)],
        vec![page(&[1, 2], -1, 4)],
        vec![page(&[1, 2], 2, 4), page(&[1], 1, 4)],
        vec![page(&[1, 2], 2, 4), page(&[], 0, 4)],
        vec![json!({"models": [], "pagination": {"total": 4}})],
    ] {
        let shown = json!(bodies).to_string();
        let error = ids(&pages(bodies)).expect_err(&shown);
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{shown}: {error}");
        let text = error.to_string();
        assert!(
            text.contains("does not advance") && text.contains("/api/v1/models"),
            "{text}"
        );
    }
}

#[test]
fn a_list_that_shrinks_while_it_is_read_ends_where_it_ends() {
    let shrunk = pages([page(&[1, 2], 2, 5), page(&[5], 3, 3)]);
    assert_eq!(ids(&shrunk).unwrap(), [1, 2, 5]);
    let gone = pages([page(&[1, 2], 2, 5), page(&[], 2, 2)]);
    assert_eq!(ids(&gone).unwrap(), [1, 2]);
    let empty = pages([page(&[1, 2], 2, 5), page(&[], 0, 0)]);
    assert_eq!(ids(&empty).unwrap(), [1, 2]);
}

#[test]
fn a_list_that_became_shorter_than_its_next_page_ends_without_an_error() {
    let asked = AtomicUsize::new(0);
    let refusal =
        r#"{"error":{"code":3,"reason":"InvalidArgument","error":"offset out of bounds"}}"#;
    let master = RawMaster::start(
        move |_, stream| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => answer_json(stream, 200, &page(&[1, 2], 2, 5).to_string()),
            _ => answer_json(stream, 400, refusal),
        },
    );
    assert_eq!(ids(&master).unwrap(), [1, 2]);
    assert_eq!(master.count("/api/v1/models"), 2);

    // Of the first page it cannot be true.
    let master = RawMaster::start(move |_, stream| answer_json(stream, 400, refusal));
    assert_eq!(ids(&master).unwrap_err().status(), Some(400));
}

#[test]
fn a_list_that_grows_while_it_is_read_is_read_to_its_end() {
    let master = pages([
        page(&[1, 2], 2, 3),
        page(&[3, 4], 4, 6),
        page(&[5, 6], 6, 6),
    ]);
    assert_eq!(ids(&master).unwrap(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_list_of_nothing_but_empty_pages_is_an_error_and_not_a_loop() {
    let master = pages((1..200).map(|end| page(&[], end, 1_000_000_000)));
    let error = ids(&master).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
    assert!(error.to_string().contains("does not advance"), "{error}");
}

#[test]
fn an_account_of_the_list_that_makes_no_sense_ends_it() {
    for (bodies, expected) in [
        (vec![page(&[1, 2], 9, 5)], vec![1, 2]),
        (vec![page(&[1], 1, -1)], vec![1]),
        (vec![page(&[1], Value::Null, Value::Null)], vec![1]),
        (vec![json!({"models": [{"id": 1}]})], vec![1]),
        (
            vec![json!({"models": [{"id": 1}], "pagination": null})],
            vec![1],
        ),
        (
            vec![json!({"models": null, "pagination": {"endIndex": 0, "total": 0}})],
            vec![],
        ),
        (
            vec![json!({"pagination": {"endIndex": 0, "total": 0}})],
            vec![],
        ),
        // More than was asked for, and an empty page in between.
        (
            vec![page(&[1, 2, 3], 3, 5), page(&[], 4, 5), page(&[5], 5, 5)],
            vec![1, 2, 3, 5],
        ),
    ] {
        let shown = json!(bodies).to_string();
        assert_eq!(ids(&pages(bodies)).expect(&shown), expected, "{shown}");
    }
    for account in [
        json!("2"),
        json!({"endIndex": "two"}),
        json!({"endIndex": 1e300, "total": 1}),
    ] {
        let error = ids(&pages([json!({"models": [], "pagination": account})])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidResponse, "{error}");
    }
}

#[test]
fn a_page_that_fails_is_the_last_thing_an_iterator_gives() {
    let master = pages([page(&[1, 2], 2, 5)]);
    let mut models = hasty(&master)
        .iter_models_with(ModelQuery::new().page_size(2))
        .unwrap();
    let id = |model: Option<Result<Model, Error>>| model.unwrap().unwrap().model_id;
    assert_eq!((id(models.next()), id(models.next())), (1, 2));
    assert_eq!(models.next().unwrap().unwrap_err().status(), Some(500));
    for _ in 0..3 {
        assert!(models.next().is_none());
    }
    assert_eq!(master.count("/api/v1/models"), 2);
}

#[test]
fn a_page_that_does_not_come_at_first_is_asked_for_again() {
    let asked = AtomicUsize::new(0);
    let master = RawMaster::start(
        move |_, stream| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => answer_json(stream, 200, &page(&[1, 2], 2, 3).to_string()),
            1 => answer(
                stream,
                502,
                &[("content-type", "text/html")],
                b"<h1>Bad Gateway</h1>",
            ),
            _ => answer_json(stream, 200, &page(&[3], 3, 3).to_string()),
        },
    );
    let models = master
        .client()
        .get_models_with(ModelQuery::new().page_size(2))
        .unwrap();
    let ids: Vec<i32> = models.iter().map(|model| model.model_id).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(offsets(&master), ["0", "2", "2"]);
}

#[test]
fn only_one_page_is_fetched_ahead_of_what_is_read() {
    let master = pages([page(&[1, 2], 2, 100), page(&[3, 4], 4, 100)]);
    let mut models = hasty(&master)
        .iter_models_with(ModelQuery::new().page_size(2))
        .unwrap();
    models.next().unwrap().unwrap();
    assert_eq!(master.count("/api/v1/models"), 1);
    drop(models);
    assert_eq!(master.count("/api/v1/models"), 1);
}
