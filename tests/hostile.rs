//! What a worker can send that no worker should: it gets an error where it has an id, nothing where it has
//! none, and harms nobody else.

mod support;

use lru_cache_for_clusters::{command::NAMES, handler::handle, key::Key, store::LOCK_WAIT, value::Value};
use proptest::{collection::vec, prelude::*, sample::select};
use support::batch::{Answer, Primary, text};

/// A primary with a namespace `n` that holds `kept: "safe"` and a JavaScript value under `js`.
fn primary() -> Primary {
    let primary = Primary::new();
    let made = primary.send(r#"[1,0,"n","open",{}]"#, 0.0);
    let kept = primary.send(r#"[2,0,"n","set","kept",0,"safe"]"#, 0.0);
    assert_eq!(
        [made, kept]
            .concat()
            .iter()
            .map(|answer| &*answer.payload)
            .collect::<Vec<_>>(),
        ["true", "true"]
    );
    let slot = Value::Slot(primary.slots.take());
    let cache = primary.registry.get("n").unwrap();
    cache
        .lock(LOCK_WAIT)
        .unwrap()
        .set(Key::string(b"js").as_bytes(), slot, None, 0.0)
        .unwrap();
    primary
}

/// The store is whole, answers, and has lost nothing.
fn unharmed(primary: &Primary) {
    primary.validate();
    let answers = primary.send("[3,0,\"n\",\"peek\",\"kept\"]\n[4,0,\"n\",\"has\",\"js\"]", 0.0);
    assert_eq!(
        answers[0],
        Answer {
            id: 3,
            kind: 0,
            payload: r#""safe""#.into()
        }
    );
    assert_eq!(answers[1].payload, "true");
}

fn length(primary: &Primary) -> usize {
    primary.registry.get("n").unwrap().lock(LOCK_WAIT).unwrap().len()
}

/// The answer to one request on the namespace, `[7,0,"n",` being there already.
fn ask(primary: &Primary, rest: &str) -> Answer {
    let mut answers = primary.send(&format!("[7,0,\"n\",{rest}]"), 0.0);
    assert_eq!(answers.len(), 1, "{rest}");
    answers.remove(0)
}

fn refused(primary: &Primary, rest: &str, code: &str) {
    let answer = ask(primary, rest);
    let shown = rest.chars().take(200).collect::<String>();
    assert_eq!(answer.kind, 4, "{shown}: {answer:?}");
    assert!(
        answer.payload.ends_with(&format!("\"{code}\"]")),
        "{shown}: {}",
        answer.payload
    );
    assert_eq!(length(primary), 2, "{shown}");
    unharmed(primary);
}

fn deep(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

const BAD: &str = "ERR_BAD_REQUEST";
const TYPE: &str = "ERR_INVALID_ARG_TYPE";
const OPTION: &str = "ERR_INVALID_ARG_VALUE";
const UNKNOWN: &str = "ERR_UNKNOWN_COMMAND";

#[test]
fn a_command_that_the_store_does_not_have_is_unknown() {
    let primary = primary();
    for command in [
        "",
        "nope",
        "GET",
        "get ",
        "constructor",
        "__proto__",
        "toString",
        "hasOwnProperty",
        "forEach",
        "\\u0000",
        "\\ud800",
    ] {
        refused(&primary, &format!("\"{command}\""), UNKNOWN);
    }
    let answer = ask(&primary, "\"toString\"");
    assert!(
        answer
            .payload
            .contains("LRUCache.toString() is not a valid function"),
        "{answer:?}"
    );
}

#[test]
fn names_of_javascript_are_keys_and_namespaces_like_any_other() {
    let primary = primary();
    for name in ["__proto__", "constructor", "toString", "", "\\u0000", "\\ud800"] {
        let answers = primary.send(
            &format!(
                "[1,0,\"{name}\",\"open\",{{}}]\n[2,0,\"{name}\",\"get\",\"{name}\"]\n\
                 [3,0,\"{name}\",\"set\",\"{name}\",0,{{\"__proto__\":1}}]\n[4,0,\"{name}\",\"get\",\"{name}\"]"
            ),
            0.0,
        );
        assert_eq!(
            (answers[1].kind, &*answers[3].payload),
            (5, r#"{"__proto__":1}"#),
            "{name}"
        );
    }
    unharmed(&primary);
}

#[test]
fn a_namespace_that_was_never_made_rejects() {
    let primary = primary();
    for name in ["other", "__proto__", "N"] {
        let answers = primary.send(&format!("[1,0,\"{name}\",\"get\",\"a\"]"), 0.0);
        assert!(
            answers[0].kind == 4 && answers[0].payload.ends_with("\"ERR_NO_NAMESPACE\"]"),
            "{answers:?}"
        );
    }
    assert_eq!(primary.registry.names(), ["n"]);
}

#[test]
fn keys_of_other_types_are_refused() {
    let primary = primary();
    for key in [
        "[]",
        "{}",
        "[1]",
        r#"{"n":5}"#,
        r#"{"i":"x"}"#,
        r#"{"a":"b","c":1}"#,
    ] {
        for command in ["get", "peek", "has", "del", "incr", "decr"] {
            refused(&primary, &format!("\"{command}\",{key}"), TYPE);
        }
        refused(&primary, &format!("\"set\",{key},0,1"), TYPE);
        refused(&primary, &format!("\"mGet\",[\"kept\",{key}]"), TYPE);
        refused(&primary, &format!("\"mDel\",[\"kept\",{key}]"), TYPE);
        refused(&primary, &format!("\"mSet\",[\"new\",0,1,{key},0,1]"), TYPE);
        refused(&primary, &format!("\"load\",[\"new\",0,1,0,{key},0,1,0]"), TYPE);
    }
}

#[test]
fn values_of_unknown_kinds_are_refused_and_nothing_is_stored() {
    let primary = primary();
    for value in [
        "4,1",
        "5,0",
        "-1,0",
        "0.5,0",
        "null,0",
        "\"0\",0",
        "{},0",
        "2,\"x\"",
        "2,0",
        "3,\"***\"",
        "3,\"AP8\"",
        "3,0",
    ] {
        refused(&primary, &format!("\"set\",\"kept\",{value}"), BAD);
        refused(&primary, &format!("\"mSet\",[\"kept\",0,1,\"new\",{value}]"), BAD);
        refused(
            &primary,
            &format!("\"load\",[\"kept\",0,1,0,\"new\",{value},0]"),
            BAD,
        );
    }
}

#[test]
fn missing_fields_are_refused() {
    let primary = primary();
    for rest in [
        "\"set\"",
        "\"set\",\"kept\"",
        "\"set\",\"kept\",0",
        "\"mSet\",[\"kept\"]",
        "\"mSet\",[\"a\",0,1,\"kept\",0]",
        "\"load\",[\"kept\",0,1]",
    ] {
        refused(&primary, rest, BAD);
    }
    for line in [
        "[7]",
        "[7,0]",
        "[7,0,\"n\"]",
        "[7,0,\"n\",null]",
        "[7,0,null,\"get\"]",
        "[7,null,\"n\",\"get\"]",
        "[7,9,\"n\",\"get\"]",
    ] {
        let answers = primary.send(line, 0.0);
        assert!(
            answers[0].kind == 4 && answers[0].payload.ends_with("\"ERR_BAD_REQUEST\"]"),
            "{line}"
        );
    }
    unharmed(&primary);
}

#[test]
fn arguments_of_the_wrong_type_are_refused() {
    let primary = primary();
    for age in ["\"1\"", "true", "[]", "{}", r#"{"n":"x"}"#] {
        refused(&primary, &format!("\"set\",\"kept\",0,1,{age}"), TYPE);
        refused(&primary, &format!("\"mSet\",[\"kept\",0,1],{age}"), TYPE);
        refused(&primary, &format!("\"incr\",\"kept\",{age}"), TYPE);
        refused(&primary, &format!("\"incr\",\"kept\",1,{age}"), TYPE);
        refused(&primary, &format!("\"maxAge\",{age}"), OPTION);
        refused(&primary, &format!("\"open\",{{\"maxAge\":{age}}}"), OPTION);
    }
    for max in ["-1", "\"1\"", "true", "[]", r#"{"n":"-Infinity"}"#] {
        refused(&primary, &format!("\"max\",{max}"), OPTION);
        refused(&primary, &format!("\"open\",{{\"max\":{max}}}"), OPTION);
    }
    for stale in ["1", "\"true\"", "[]", "{}"] {
        refused(&primary, &format!("\"stale\",{stale}"), OPTION);
        refused(&primary, &format!("\"open\",{{\"stale\":{stale}}}"), OPTION);
    }
    for prune in [
        "true",
        "5",
        "\"\"",
        "\"every day\"",
        "\"* * * * * * * *\"",
        "\"99 * * * *\"",
        "[]",
    ] {
        refused(&primary, &format!("\"open\",{{\"prune\":{prune}}}"), OPTION);
    }
    for options in ["null", "1", "[]", "\"{}\""] {
        refused(&primary, &format!("\"open\",{options}"), OPTION);
    }
}

#[test]
fn options_that_are_refused_change_nothing() {
    let primary = primary();
    for options in [
        r#"{"max":1,"maxAge":"x"}"#,
        r#"{"maxAge":1,"stale":true,"prune":"x"}"#,
    ] {
        refused(&primary, &format!("\"open\",{options}"), OPTION);
    }
    assert_eq!(
        primary
            .registry
            .get("n")
            .unwrap()
            .lock(LOCK_WAIT)
            .unwrap()
            .limits(),
        Default::default()
    );
    let answers = primary.send(r#"[1,0,"new","open",{"max":-1}]"#, 0.0);
    assert_eq!(answers[0].kind, 4);
    assert_eq!(
        primary.registry.names(),
        ["n"],
        "no namespace is made of options that are refused"
    );
}

#[test]
fn a_list_that_is_none_is_empty() {
    let primary = primary();
    for list in ["null", "1", "\"kept\"", "{\"0\":\"kept\"}", "true"] {
        assert_eq!(ask(&primary, &format!("\"mGet\",{list}")).payload, "[]");
        assert_eq!(ask(&primary, &format!("\"mDel\",{list}")).payload, "true");
        assert_eq!(ask(&primary, &format!("\"mSet\",{list}")).payload, "true");
        unharmed(&primary);
    }
}

#[test]
fn deep_nesting_is_carried_as_a_value_and_refused_elsewhere() {
    let primary = primary();
    let deep = deep(100_000);
    refused(&primary, &format!("\"get\",{deep}"), BAD);
    refused(&primary, &format!("\"get\",{{\"u\":{deep}}}"), BAD);
    refused(&primary, &format!("\"mGet\",[{deep}]"), BAD);
    refused(&primary, &format!("\"set\",\"kept\",{deep},1"), BAD);
    refused(&primary, &format!("\"set\",\"kept\",2,{deep}"), BAD);
    refused(&primary, &format!("\"set\",\"kept\",0,1,{deep}"), TYPE);
    refused(&primary, &format!("\"max\",{deep}"), BAD);
    refused(&primary, &format!("\"open\",{deep}"), OPTION);
    refused(&primary, &format!("\"open\",{{\"max\":{deep}}}"), OPTION);
    for line in [
        deep.clone(),
        format!("[7,{deep}]"),
        format!("[7,0,{deep},\"get\"]"),
        "[".repeat(1_000_000),
        "{\"a\":".repeat(100_000),
    ] {
        primary.send(&line, 0.0);
        unharmed(&primary);
    }
    assert_eq!(
        ask(&primary, &format!("\"set\",\"deep\",0,{deep}")).payload,
        "true"
    );
    assert_eq!(ask(&primary, "\"get\",\"deep\"").payload, deep);
    unharmed(&primary);
}

#[test]
fn an_error_names_a_long_value_in_short() {
    let primary = primary();
    let long = "x".repeat(1_000_000);
    for rest in [
        format!("\"get\",[\"{long}\"]"),
        format!("\"set\",\"a\",\"{long}\",1"),
        format!("\"set\",\"a\",0,1,\"{long}\""),
        format!("\"max\",\"{long}\""),
        format!("\"open\",{{\"prune\":\"{long}\"}}"),
    ] {
        let answer = ask(&primary, &rest);
        assert!(
            answer.kind == 4 && answer.payload.len() < 1000,
            "{} {}",
            answer.kind,
            answer.payload.len()
        );
    }
}

#[test]
fn a_batch_cut_anywhere_answers_its_whole_lines() {
    let lines = [
        r#"[1,0,"n","set","a",0,"x😀\n"]"#,
        r#"[2,0,"n","get","a"]"#,
        r#"[3,1,"n","mSet",["b",0,{"c":[1,2]},"d",3,"AP8="],5.5]"#,
        r#"[4,0,"n","get","js"]"#,
        r#"[5,0,"n","keys"]"#,
    ];
    let batch = lines.join("\n");
    for end in (0..batch.len()).filter(|end| batch.is_char_boundary(*end)) {
        let primary = primary();
        let cut = &batch[..end];
        let whole = cut
            .split('\n')
            .zip(lines)
            .filter(|(cut, line)| cut == line)
            .count();
        let ids: Vec<u64> = primary.send(cut, 0.0).iter().map(|answer| answer.id).collect();
        assert_eq!(ids, (1..=whole as u64).collect::<Vec<_>>(), "{cut}");
        unharmed(&primary);
    }
}

#[test]
fn a_line_that_cannot_be_read_harms_no_other_line() {
    let primary = primary();
    let batch = "\n\r\n  \n[1,0,\"n\",\"length\"]\r\nnonsense\n[\n{}\nnull\n\u{feff}[2,0,\"n\",\"length\"]\n[-1,0,\"n\",\"reset\"]\n\
                 [1.5,0,\"n\",\"reset\"]\n[\"3\",0,\"n\",\"reset\"]\n[null,0,\"n\",\"reset\"]\n[4,0,\"n\",\"length\"] \n\n";
    let answers = primary.send(batch, 0.0);
    assert_eq!(
        answers
            .iter()
            .map(|answer| (answer.id, &*answer.payload))
            .collect::<Vec<_>>(),
        [(1, "2"), (4, "2")]
    );
    unharmed(&primary);
    assert_eq!(primary.send("", 0.0), []);
}

#[test]
fn ids_may_be_huge_and_the_same() {
    let primary = primary();
    let batch = "[9007199254740992,0,\"n\",\"length\"]\n[18446744073709551615,0,\"n\",\"length\"]\n\
                 [5,0,\"n\",\"incr\",\"x\"]\n[5,0,\"n\",\"incr\",\"x\"]\n[18446744073709551616,0,\"n\",\"reset\"]";
    let answers = primary.send(batch, 0.0);
    let expected = [(1 << 53, "2"), (u64::MAX, "2"), (5, "1"), (5, "2")];
    assert_eq!(
        answers
            .iter()
            .map(|answer| (answer.id, &*answer.payload))
            .collect::<Vec<_>>(),
        expected
    );
    unharmed(&primary);
}

#[test]
fn any_string_is_a_key_and_a_value() {
    let primary = primary();
    for text in [
        "",
        "\\u0000",
        "\\ud83d",
        "\\ude00",
        "\\ude00\\ud83d",
        "\\ud83d\\u0041",
        "\\ud83d\\ud83d\\ude00",
        "\u{2028}",
        "\\\"\\\\\\/",
    ] {
        assert_eq!(
            ask(&primary, &format!("\"set\",\"{text}\",0,\"{text}\"")).payload,
            "true",
            "{text}"
        );
        let value = ask(&primary, &format!("\"get\",\"{text}\"")).payload;
        let keys = ask(&primary, "\"keys\"").payload;
        assert!(keys.starts_with(&format!("[{value},")), "{text}: {keys}");
        assert_eq!(
            ask(&primary, &format!("\"set\",\"{text}\",0,{value}")).payload,
            "true",
            "{text}"
        );
        assert_eq!(
            ask(&primary, &format!("\"get\",\"{text}\"")).payload,
            value,
            "{text}"
        );
        assert_eq!(ask(&primary, &format!("\"del\",{value}")).payload, "null");
        assert_eq!(length(&primary), 2, "{text}");
    }
    unharmed(&primary);
}

#[test]
fn a_million_requests_in_one_batch_are_answered() {
    let primary = primary();
    let count = 1_000_000;
    let batch = "[5,0,\"n\",\"incr\",\"hits\"]\n".repeat(count);
    let text = text(&handle(&primary.registry, &batch, 0.0, false));
    assert_eq!(text.matches(",5,0,").count(), count - 1);
    assert!(text.ends_with(",5,0,1000000]"));
    unharmed(&primary);
}

#[test]
fn a_list_of_a_million_is_answered() {
    let primary = primary();
    let count = 1_000_000;
    let list = |element: &str| vec![element; count].join(",");
    let misses = ask(&primary, &format!("\"mGet\",[{}]", list("1"))).payload;
    assert_eq!(misses, format!("[{}]", list("5,0")));
    refused(&primary, &format!("\"mSet\",[{},0]", list("1,0,2")), BAD);
}

/// Text that is nearly a request.
fn line() -> impl Strategy<Value = String> {
    let json = prop_oneof![
        select(vec![
            "0",
            "1",
            "-1",
            "1e999",
            "\"kept\"",
            "\"js\"",
            "null",
            "true",
            "[]",
            "{}",
            "{\"n\":\"NaN\"}",
            "{\"i\":\"5\"}",
            "[\"js\",0,1]",
            "[\"js\",\"kept\"]",
            "\"\\ud800\"",
            "{\"max\":2}",
            "{\"maxAge\":-1}",
            "3,\"AP8=\"",
        ])
        .prop_map(String::from),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:?}")),
        ".{0,4}".prop_map(|text| format!("{text:?}")),
    ];
    let command = select([NAMES, &["open", "__proto__"]].concat());
    let request = (
        0u64..9,
        0..3,
        select(vec!["a", "b", "n2"]),
        command,
        vec(json, 0..5),
    )
        .prop_map(|(id, mode, namespace, command, arguments)| {
            let arguments: String = arguments.iter().map(|json| format!(",{json}")).collect();
            format!("[{id},{mode},\"{namespace}\",\"{command}\"{arguments}]")
        });
    let damaged =
        (request.clone(), any::<prop::sample::Index>(), any::<char>()).prop_map(|(line, at, with)| {
            line.char_indices()
                .map(|(index, c)| if index == at.index(line.len()) { with } else { c })
                .collect()
        });
    prop_oneof![8 => request, 3 => damaged, 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_does_harm(lines in vec(line(), 0..40), time in 0.0..1000.0) {
        let primary = primary();
        primary.send("[1,0,\"a\",\"open\",{}]\n[2,0,\"b\",\"open\",{\"max\":3,\"maxAge\":20}]", 0.0);
        for batch in lines.chunks(8) {
            primary.send(&batch.join("\n"), time);
            unharmed(&primary);
        }
    }

    #[test]
    fn no_bytes_do_harm(bytes in any::<Vec<u8>>()) {
        let primary = primary();
        primary.send(&String::from_utf8_lossy(&bytes), 0.0);
        unharmed(&primary);
    }
}
