//! The one-way rules of the modules under `src/`: which module may name which.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each module of a segment with the modules that it may not name: those that are built on it.
const UPWARD: &[(&str, &[&str])] = &[
    (
        "atomics",
        &[
            "layout", "head", "view", "intent", "edit", "validate", "rebuild", "segment",
        ],
    ),
    (
        "layout",
        &["head", "view", "intent", "edit", "validate", "rebuild", "segment"],
    ),
    (
        "head",
        &["view", "intent", "edit", "validate", "rebuild", "segment"],
    ),
    ("view", &["intent", "edit", "validate", "rebuild", "segment"]),
    ("validate", &["intent", "edit", "rebuild", "segment"]),
    ("intent", &["blocks", "edit", "validate", "rebuild", "segment"]),
    ("blocks", &["edit", "validate", "rebuild", "segment"]),
    ("edit", &["validate", "rebuild", "segment"]),
    ("rebuild", &["segment"]),
    ("segment", &["access", "siblings", "memfd", "lock"]),
    ("handover", &["memfd", "segment", "access", "siblings"]),
    ("memfd", &["segment", "access", "siblings"]),
];

/// Each module of `wire/` with the modules that it may not name.
const WIRE: &[(&str, &[&str])] = &[
    ("value", &["request", "reply"]),
    ("request", &["reply"]),
    ("reply", &["request"]),
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Lines of code before the unit tests of a file, without comments.
fn code(text: &str) -> String {
    let production = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
    let production = production
        .split("\n#[cfg(all(test, target_os = \"linux\"))]\n")
        .next()
        .unwrap();
    let lines = production
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether a module is named by a path: `super::name`, or `name::` within a `use`.
fn names(code: &str, module: &str) -> bool {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    code.match_indices(&format!("{module}::")).any(|(at, _)| {
        let before = &code.as_bytes()[..at];
        !is_word(before.last())
    })
}

#[test]
fn modules_name_only_those_below_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![];
    sources(&root, &mut files);
    assert!(files.len() > 30);
    let mut broken = vec![];
    for file in &files {
        let place = file.strip_prefix(&root).unwrap();
        if place
            .components()
            .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
        {
            continue;
        }
        let code = code(&fs::read_to_string(file).unwrap());
        if !place.starts_with("addon") && (names(&code, "napi") || names(&code, "addon")) {
            broken.push(format!("{}: only addon/ names N-API", place.display()));
        }
        if names(&code, "tests") {
            broken.push(format!("{}: production code names tests", place.display()));
        }
        let module = file.file_stem().unwrap().to_str().unwrap();
        let rules = match place.parent() {
            Some(parent) if parent == Path::new("storage/shared") => UPWARD,
            Some(parent) if parent == Path::new("wire") => WIRE,
            _ => continue,
        };
        let upward = rules.iter().filter(|(name, _)| *name == module);
        for above in upward
            .flat_map(|(_, above)| *above)
            .filter(|above| names(&code, above))
        {
            broken.push(format!("{}: names {above}", place.display()));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_name_is_found_as_a_whole_word() {
    assert!(names("use super::{\n    edit::Edit,\n};", "edit"));
    assert!(names("super::tests::step();", "tests"));
    assert!(!names("use super::credit::Card;", "edit"));
    assert!(!names(&code("// edit::Edit\nlet edit = 1;"), "edit"));
    assert!(!names(
        &code("fn a() {}\n\n#[cfg(test)]\nmod tests {\n tests::b();\n}"),
        "tests"
    ));
}
