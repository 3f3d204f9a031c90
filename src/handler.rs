//! The server's side of IPC: `handle` takes a batch of requests and returns the parts of a reply. A request that is
//! malformed or fails gets an error answer, and does not affect the other requests.

use crate::{
    command::Command,
    copies::Copies,
    error::{Error, Result},
    options::Options,
    registry::Registry,
    store::LOCK_WAIT,
    value::Value,
    wire::{
        Mode,
        reply::{Part, Reply},
        request::Request,
    },
};

/// Answers a batch, up to the first request whose store another process has locked, or that may call a function of
/// the application; with `built_in` the first request is known to call none. `now` is in milliseconds since the epoch.
///
/// ```
/// use lru_cache_for_clusters::{handler, registry::Registry, slots::Slots, wire::reply::Part};
///
/// let registry = Registry::new(Slots::default(), std::sync::Arc::new(|_| {}));
/// let batch = "[1,0,\"users\",\"open\",{\"max\":9}]\n[2,0,\"users\",\"incr\",\"hits\",2]";
/// let reply = handler::handle(&registry, batch, 0.0, false);
/// assert_eq!(reply, [Part::Ready("1,0,true,2,0,2".into())]);
/// ```
pub fn handle(registry: &Registry, batch: &str, now: f64, mut built_in: bool) -> Vec<Part> {
    let mut reply = Reply::default();
    let mut copies = Copies::new(Reply::ANSWER_BYTES);
    let mut lines = batch.lines().filter(|line| !line.is_empty());
    while let Some(line) = lines.next() {
        let built_in = std::mem::take(&mut built_in);
        let answered = match Request::parse(line) {
            Ok(request) if request.is_execute() && !built_in => {
                reply.leave(1 + lines.count(), true);
                break;
            }
            Ok(request) => reply.answer(request.id, request.mode, |reply| {
                let request = if built_in { request.executed()? } else { request };
                answer(registry, &request, now, &mut copies, reply)
            }),
            Err(bad) => bad
                .id
                .is_none_or(|id| reply.answer(id, Mode::Json, |_| Err(bad.error))),
        };
        if !answered {
            // Those after it must not overtake it.
            reply.leave(1 + lines.count(), false);
            break;
        }
    }
    reply.finish()
}

fn answer(
    registry: &Registry,
    request: &Request<'_>,
    now: f64,
    copies: &mut Copies,
    reply: &mut Reply,
) -> Result<()> {
    if request.command == "open" {
        registry.open(&request.namespace, Options::parse(request.json(0))?, LOCK_WAIT)?;
        match request.option(1)? {
            // It can attach shared memory, and may have some already.
            Some(wish) => reply.ticket(&request.namespace, wish.as_str())?,
            None => reply.value(Value::Bool(true))?,
        }
        return Ok(());
    }
    if request.command == "destroy" {
        let was_there = registry.destroy(&request.namespace, LOCK_WAIT)?;
        return reply.value(Value::Bool(was_there));
    }
    let store = registry
        .get(&request.namespace)
        .ok_or_else(|| Error::namespace(&request.namespace))?;
    let command = Command::parse(&request.command, &mut request.arguments())?;
    copies.clear();
    let mut cache = store.lock(LOCK_WAIT)?;
    cache.check(command.reads())?;
    let answer = cache.run(&command, now, copies)?;
    reply.doubt(cache.is_shared());
    drop(cache);
    // Slots that were read are those of their values still: freed ones are handed out again only after JavaScript has
    // completed the reply.
    reply.write(answer, copies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{key::Key, slots::Slots, wire::reply::Piece};
    use std::sync::Arc;

    fn registry() -> Registry {
        let registry = Registry::new(Slots::default(), Arc::new(|_| {}));
        assert_eq!(text(&registry, r#"[0,0,"n","open",{}]"#, 0.0), "0,0,true");
        registry
    }

    /// The reply to a batch that asks for no JavaScript values.
    fn text(registry: &Registry, batch: &str, now: f64) -> String {
        match &handle(registry, batch, now, false)[..] {
            [Part::Ready(text)] => text.clone(),
            parts => panic!("{parts:?}"),
        }
    }

    /// Sends requests to the namespace `n` at time 100, one by one: each is its part after the namespace,
    /// with the kind and the payload of its answer.
    fn converse(registry: &Registry, exchanges: &[(&str, &str)]) {
        for (request, expected) in exchanges {
            let answer = text(registry, &format!(r#"[7,0,"n",{request}]"#), 100.0);
            assert_eq!(answer, format!("7,{expected}"), "{request}");
        }
    }

    #[test]
    fn one_entry() {
        converse(
            &registry(),
            &[
                (r#""get","a""#, "5,0"),
                (r#""set","a",0,{"x":[1, 2]}"#, "0,true"),
                (r#""get","a""#, r#"0,{"x":[1, 2]}"#),
                (r#""peek","a""#, r#"0,{"x":[1, 2]}"#),
                (r#""has","a""#, "0,true"),
                (r#""has","b""#, "0,false"),
                (r#""peek","b""#, "5,0"),
                (r#""del","a""#, "0,null"),
                (r#""get","a""#, "5,0"),
            ],
        );
    }

    #[test]
    fn a_store_that_another_has_leaves_its_request_and_all_after_it() {
        let registry = registry();
        assert_eq!(text(&registry, r#"[0,0,"free","open",{}]"#, 0.0), "0,0,true");
        let batch = concat!(
            "[1,0,\"free\",\"set\",1,0,1]\n",
            "[2,0,\"n\",\"incr\",1]\n\n",
            "[3,0,\"free\",\"get\",1]\n[4,0,\"n\"]\n"
        );
        let store = registry.get("n").unwrap();
        let guard = store.lock(LOCK_WAIT).unwrap();
        let left = handle(&registry, batch, 0.0, false);
        let rest = Part::Left {
            requests: 3,
            executes: false,
        };
        assert_eq!(left, [Part::Ready("1,0,true".into()), rest]);
        drop(guard);
        assert!(text(&registry, batch, 0.0).starts_with("1,0,true,2,0,1,3,0,1,4,4,"));
    }

    #[test]
    fn an_execute_is_left_until_it_is_known_to_call_a_command() {
        let registry = registry();
        let batch = concat!(
            "[1,0,\"n\",\"set\",\"a\",0,1]\n",
            "[2,0,\"n\",\"execute\",\"incr\",[0,\"a\"],\"a\",2]\n",
            "[3,0,\"n\",\"get\",\"a\"]\n"
        );
        let left = |requests| Part::Left {
            requests,
            executes: true,
        };
        assert_eq!(
            handle(&registry, batch, 0.0, false),
            [Part::Ready("1,0,true".into()), left(2)]
        );
        let rest = batch.split_once('\n').unwrap().1;
        assert_eq!(
            handle(&registry, rest, 0.0, true),
            [Part::Ready("2,0,3,3,0,3".into())]
        );
        for (line, code) in [
            (r#"[4,0,"n","execute"]"#, "ERR_BAD_REQUEST"),
            (r#"[4,0,"n","execute",5,[]]"#, "ERR_BAD_REQUEST"),
            (r#"[4,0,"n","execute","own",[]]"#, "ERR_UNKNOWN_COMMAND"),
            (
                r#"[4,0,"n","execute","execute",[],"get",[],"a"]"#,
                "ERR_UNKNOWN_COMMAND",
            ),
        ] {
            let [Part::Ready(answer)] = &handle(&registry, line, 0.0, true)[..] else {
                panic!("{line}")
            };
            assert!(
                answer.starts_with("4,4,[") && answer.contains(code),
                "{line}: {answer}"
            );
        }
    }

    #[test]
    fn arguments_are_read_before_the_store_is_locked() {
        let registry = registry();
        let store = registry.get("n").unwrap();
        let guard = store.lock(LOCK_WAIT).unwrap();
        for request in [
            r#""mSet",["a",0,1,"b",9,2]"#,
            r#""set","a",3,"***""#,
            r#""load",["a",0]"#,
            r#""mGet",[{}]"#,
            r#""max","x""#,
            r#""nothing""#,
        ] {
            // What is wrong with it is known although another has the store.
            let answer = text(&registry, &format!(r#"[7,0,"n",{request}]"#), 0.0);
            assert!(answer.starts_with("7,4,["), "{answer}");
        }
        drop(guard);
    }

    #[test]
    fn every_kind_of_value_comes_back_as_it_went() {
        let values = [
            "0,null",
            "0,true",
            "0,1.5",
            "0,1e300",
            "0,\"x\"",
            "0,[]",
            "1,0",
            "2,\"NaN\"",
            "2,\"-0\"",
            "3,\"AP8=\"",
        ];
        let registry = registry();
        for value in values {
            converse(
                &registry,
                &[
                    (&format!("\"set\",\"a\",{value}"), "0,true"),
                    (r#""get","a""#, value),
                ],
            );
        }
    }

    #[test]
    fn a_missing_key_is_null() {
        converse(
            &registry(),
            &[
                (r#""set",null,0,1"#, "0,true"),
                (r#""get""#, "0,1"),
                (r#""keys""#, "0,[null]"),
            ],
        );
    }

    #[test]
    fn an_age_of_its_own() {
        let registry = registry();
        converse(
            &registry,
            &[
                (r#""set","a",0,1,5.5"#, "0,true"),
                (r#""set","b",0,1,null"#, "0,true"),
            ],
        );
        let has = "[1,0,\"n\",\"has\",\"a\"]\n[2,0,\"n\",\"has\",\"b\"]";
        assert_eq!(text(&registry, has, 105.5), "1,0,true,2,0,true");
        assert_eq!(text(&registry, has, 105.75), "1,0,false,2,0,true");
        assert_eq!(text(&registry, r#"[3,0,"n","length"]"#, 105.75), "3,0,2");
        assert_eq!(text(&registry, r#"[4,0,"n","prune"]"#, 105.75), "4,0,true");
        assert_eq!(text(&registry, r#"[5,0,"n","itemCount"]"#, 105.75), "5,0,1");
    }

    #[test]
    fn counters() {
        converse(
            &registry(),
            &[
                (r#""incr","a""#, "0,1"),
                (r#""incr","a",null"#, "0,2"),
                (r#""incr","a",0"#, "0,2"),
                (r#""incr","a",0.5,1000"#, "0,2.5"),
                (r#""decr","a""#, "0,1.5"),
                (r#""decr","a",10"#, "0,-8.5"),
                (r#""incr","a",{"n":"Infinity"}"#, r#"2,"Infinity""#),
                (r#""decr","a",{"n":"Infinity"}"#, r#"2,"NaN""#),
                (r#""set","b",0,"5""#, "0,true"),
                (r#""incr","b",2"#, "0,2"),
            ],
        );
    }

    #[test]
    fn many_entries() {
        converse(
            &registry(),
            &[
                (r#""mSet",["a",0,1,"b",1,0,"__proto__",0,"x"],5"#, "0,true"),
                (
                    r#""mGet",["a","miss","__proto__","b"]"#,
                    r#"0,[0,1,5,0,0,"x",1,0]"#,
                ),
                (r#""keys""#, r#"0,["b","__proto__","a"]"#),
                (r#""values""#, r#"0,[1,0,0,"x",0,1]"#),
                (
                    r#""dump""#,
                    r#"0,["b",1,0,105,"__proto__",0,"x",105,"a",0,1,105]"#,
                ),
                (r#""mDel",["a","miss","b"]"#, "0,true"),
                (r#""keys""#, r#"0,["__proto__"]"#),
                (r#""reset""#, "0,null"),
                (r#""keys""#, "0,[]"),
                (r#""values""#, "0,[]"),
                (r#""dump""#, "0,[]"),
                (r#""mGet",[]"#, "0,[]"),
                (r#""mSet",["a",0,1,"b",0,2,"c",0,3],5,[null,7]"#, "0,true"),
                (r#""dump""#, r#"0,["c",0,3,105,"b",0,2,107,"a",0,1,105]"#),
            ],
        );
    }

    #[test]
    fn keys_come_back_as_they_came() {
        converse(
            &registry(),
            &[
                (
                    r#""mSet",[1,0,0,"1",0,0,true,0,0,null,0,0,{"u":0},0,0,{"i":"1"},0,0,{"n":"NaN"},0,0,-0,0,0]"#,
                    "0,true",
                ),
                (
                    r#""keys""#,
                    r#"0,[0,{"n":"NaN"},{"i":"1"},{"u":0},null,true,"1",1]"#,
                ),
            ],
        );
    }

    #[test]
    fn a_dump_can_be_loaded() {
        converse(
            &registry(),
            &[
                (r#""set","old",0,1"#, "0,true"),
                (
                    r#""load",["b",0,2,150,"expired",0,3,99,"no time left",0,4,100,"a",1,0,0,"c",0,3,null]"#,
                    "0,null",
                ),
                (r#""dump""#, r#"0,["b",0,2,150,"a",1,0,0,"c",0,3,0]"#),
            ],
        );
    }

    #[test]
    fn the_least_recent_entry_is_popped() {
        converse(
            &registry(),
            &[
                (r#""mSet",["a",0,1,"b",0,[2]],5"#, "0,true"),
                (r#""pop""#, r#"0,["a",0,1,100,5]"#),
                (r#""pop""#, r#"0,["b",0,[2],100,5]"#),
                (r#""pop""#, "0,null"),
            ],
        );
    }

    #[test]
    fn settings_are_read_and_changed() {
        converse(
            &registry(),
            &[
                (r#""max""#, r#"2,"Infinity""#),
                (r#""max",2"#, "0,2"),
                (r#""max",null"#, "0,2"),
                (r#""max",0"#, r#"2,"Infinity""#),
                (r#""maxSize""#, r#"2,"Infinity""#),
                (r#""maxSize",1e6"#, "0,1000000"),
                (r#""maxSize",null"#, "0,1000000"),
                (r#""maxSize",0"#, r#"2,"Infinity""#),
                (r#""maxAge""#, "0,0"),
                (r#""maxAge",1500.5"#, "0,1500.5"),
                (r#""maxAge",0"#, "0,0"),
                (r#""allowStale""#, "0,false"),
                (r#""allowStale",true"#, "0,true"),
                (r#""stale""#, "0,true"),
                (r#""stale",false"#, "0,false"),
                (
                    r#""open",{"max":5,"maxSize":5000,"maxEntrySize":500,"maxAge":null,"stale":true}"#,
                    "0,true",
                ),
                (r#""max""#, "0,5"),
                (r#""maxSize""#, "0,5000"),
                (r#""maxAge""#, "0,0"),
                (r#""stale""#, "0,true"),
            ],
        );
    }

    #[test]
    fn a_lower_max_trims_and_an_entry_that_never_fits_is_refused() {
        converse(
            &registry(),
            &[
                (r#""mSet",["a",0,1,"b",0,2,"c",0,3]"#, "0,true"),
                (r#""max",2"#, "0,2"),
                (r#""keys""#, r#"0,["c","b"]"#),
                (r#""max",0.5"#, "0,0.5"),
                (r#""set","a",0,1"#, "0,false"),
                (r#""length""#, "0,0"),
            ],
        );
    }

    #[test]
    fn a_value_that_never_fits_is_refused_and_the_old_one_goes() {
        let large = "x".repeat(500);
        converse(
            &registry(),
            &[
                (r#""open",{"maxEntrySize":500}"#, "0,true"),
                (r#""mSet",["a",0,1,"b",0,2]"#, "0,true"),
                (&format!(r#""set","a",0,"{large}""#), "0,false"),
                (r#""keys""#, r#"0,["b"]"#),
                (&format!(r#""mSet",["b",0,"{large}","c",0,3]"#), "0,true"),
                (r#""keys""#, r#"0,["c"]"#),
                (r#""maxSize",500"#, "0,500"),
                (r#""mSet",["d",0,"x","e",0,"y","f",0,"z"]"#, "0,true"),
                (r#""keys""#, r#"0,["f","e","d"]"#),
            ],
        );
    }

    #[test]
    fn a_bad_request_of_many_entries_is_not_done_at_all() {
        let registry = registry();
        converse(&registry, &[(r#""mSet",["a",0,1,"b",0,2]"#, "0,true")]);
        for request in [
            r#""mSet",["a",0,9,"new",9,9]"#,
            r#""mSet",["a",0,9,"new"]"#,
            r#""mSet",["a",0,9,[],0,9]"#,
            r#""mSet",["a",0,9],"x""#,
            r#""mSet",["a",0,9,"new",0,9],5,[null,"x"]"#,
            r#""load",["a",0,9,0,"new",9,9,0]"#,
            r#""mDel",["a",[]]"#,
            r#""mGet",["a",[]]"#,
        ] {
            let answer = text(&registry, &format!(r#"[7,0,"n",{request}]"#), 0.0);
            assert!(answer.starts_with("7,4,["), "{answer}");
            converse(&registry, &[(r#""dump""#, r#"0,["b",0,2,0,"a",0,1,0]"#)]);
        }
    }

    #[test]
    fn namespaces_are_caches_of_their_own() {
        let registry = registry();
        let batch = "[1,0,\"n\",\"set\",\"a\",0,1]\n[2,0,\"other\",\"get\",\"a\"]\n[3,0,\"other\",\"open\",{}]\n\
                     [4,0,\"other\",\"get\",\"a\"]";
        assert_eq!(
            text(&registry, batch, 0.0),
            "1,0,true,2,4,[\"Error\",\"no cache exists in the namespace \\\"other\\\": its creation failed or never \
             arrived\",\"ERR_NO_NAMESPACE\"],3,0,true,4,5,0"
        );
    }

    #[test]
    fn a_javascript_value_is_asked_for_as_the_worker_wants_it() {
        let slots = Slots::default();
        let registry = Registry::new(slots.clone(), Arc::new(|_| {}));
        let cache = registry.open("n", Options::default(), LOCK_WAIT).unwrap();
        let slot = slots.take();
        cache
            .lock(LOCK_WAIT)
            .unwrap()
            .set(Key::string(b"a").as_bytes(), Value::Slot(slot), None, 0.0)
            .unwrap();
        let pending = |id, before: &str, mode, after: &str| Part::Pending {
            id,
            pieces: vec![
                Piece::Text(before.into()),
                Piece::Slot(slot, mode),
                Piece::Text(after.into()),
            ],
        };
        let batch = "[1,0,\"n\",\"get\",\"a\"]\n[2,1,\"n\",\"mGet\",[1,\"a\",2]]\n[3,0,\"n\",\"dump\"]\n[4,1,\"n\",\"pop\"]";
        assert_eq!(
            handle(&registry, batch, 0.0, false),
            [
                pending(1, "1,", Mode::Json, ""),
                pending(2, "2,0,[5,0,", Mode::Advanced, ",5,0]"),
                pending(3, "3,0,[\"a\",", Mode::Json, ",0]"),
                pending(4, "4,0,[\"a\",", Mode::Advanced, ",0,0]"),
            ]
        );
        assert_eq!(slots.in_use(), 0, "popped");
    }
}
