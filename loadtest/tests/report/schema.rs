//! The JSON is what its committed schema says.

use jsonschema::Validator;
use loadtest::report::{Latency, Quantiles, Report, SCHEMA, ServerUse, json};
use serde_json::{Value, json};

use crate::sample;

fn validator() -> Validator {
    let schema: Value = serde_json::from_str(json::SCHEMA_DOCUMENT).expect("the schema is JSON");
    assert!(
        jsonschema::meta::is_valid(&schema),
        "the schema is a schema"
    );
    jsonschema::draft202012::new(&schema).expect("the schema can be used")
}

fn as_value(report: &Report) -> Value {
    serde_json::from_str(&json::text(report)).expect("JSON")
}

#[track_caller]
fn assert_valid(report: &Report) {
    let errors: Vec<String> = validator()
        .iter_errors(&as_value(report))
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn reports_full_and_empty_follow_the_schema() {
    assert_valid(&sample::full());
    assert_valid(&sample::quiet());
    assert_valid(&Report {
        schema: SCHEMA,
        ..Report::default()
    });
    let empty_parts = Report {
        schema: SCHEMA,
        latency: Some(Latency::default()),
        handshake: Some(Quantiles::default()),
        server: Some(ServerUse {
            memory_per_connection: Some(12.5),
            ..ServerUse::default()
        }),
        ..Report::default()
    };
    assert_valid(&empty_parts);
}

#[test]
fn what_was_written_is_read_again() {
    let report = sample::full();
    assert_eq!(json::read(&json::text(&report)).expect("its own"), report);
}

#[test]
fn a_file_has_the_same_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.json");
    json::write(&sample::full(), &path).expect("written");
    assert_eq!(
        std::fs::read_to_string(path).expect("read"),
        json::text(&sample::full())
    );
}

#[test]
fn wrong_reports_do_not_follow_the_schema() {
    let wrong = [
        ("/schema", json!(2)),
        ("/seconds", Value::Null),
        ("/seconds", json!(-1)),
        ("/connections/opened", json!(1.5)),
        ("/messages/sent", json!("many")),
        ("/latency/raw/p99", Value::Null),
        ("/latency/raw/curve/0", json!([1])),
        ("/latency/raw/curve/0", json!([101, 2])),
        ("/latency/raw/curve/0", json!([1, 2, 3])),
        ("/server/memory_after", json!(-1)),
        ("/client", Value::Null),
        ("/details/steps", json!("seven")),
        ("/series/3/server_cpu", json!("busy")),
        ("/faults/0", json!({ "what": "no count" })),
        (
            "/faults/0",
            json!({ "what": "more", "count": 1, "than": "known" }),
        ),
    ];
    let validator = validator();
    for (pointer, value) in wrong {
        let mut report = as_value(&sample::full());
        *report
            .pointer_mut(pointer)
            .unwrap_or_else(|| panic!("no {pointer}")) = value.clone();
        assert!(
            !validator.is_valid(&report),
            "{pointer} = {value} is accepted"
        );
    }
}

/// A field that the types have but the schema does not, or the other way round, is found at every level.
#[test]
fn the_schema_knows_exactly_the_fields_there_are() {
    let validator = validator();
    let full = as_value(&sample::full());
    let objects = [
        "",
        "/connections",
        "/messages",
        "/latency",
        "/latency/raw",
        "/handshake",
        "/server",
        "/client",
        "/series/0",
        "/tables/0",
    ];
    for pointer in objects {
        let fields: Vec<String> = full
            .pointer(pointer)
            .and_then(Value::as_object)
            .expect(pointer)
            .keys()
            .cloned()
            .collect();
        for field in &fields {
            let mut less = full.clone();
            less.pointer_mut(pointer)
                .and_then(Value::as_object_mut)
                .expect(pointer)
                .remove(field);
            assert!(
                !validator.is_valid(&less),
                "{pointer} without {field} is accepted"
            );
        }
        let mut more = full.clone();
        more.pointer_mut(pointer)
            .and_then(Value::as_object_mut)
            .expect(pointer)
            .insert("extra".into(), json!(1));
        assert!(
            !validator.is_valid(&more),
            "{pointer} with another field is accepted"
        );
    }
}
