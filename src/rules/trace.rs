//! The trace of a judgement (R20): what each rule saw, as JSON, and what it decided.
//!
//! `decided` and the reason name no item; items stand in `saw` alone, each as an object with `item_id`,
//! so that a trace can be cut down to what its reader may read (R22).
//! Not for: storing traces, or deciding who may read which item (that is `access`).

use crate::model::ItemId;
use crate::model::email::{RoutingStep, RoutingTrace};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeSet;

/// Stands for what a rule decided about items that the reader may not read.
const CUT: &str = "decided";

/// One rule that was tried.
pub fn step(rule: &str, saw: &impl Serialize, decided: impl Into<String>) -> RoutingStep {
    RoutingStep {
        rule: rule.to_owned(),
        // Facts are plain structs with text keys, which JSON can always say.
        saw: serde_json::to_string(saw).unwrap_or_default(),
        decided: decided.into(),
    }
}

/// The facts that the step of this rule saw, for a simulation that replays them; `None` where there is no such
/// step, or it was written by a version that knew other facts.
pub fn facts_seen<T: DeserializeOwned>(steps: &[RoutingStep], rule: &str) -> Option<T> {
    let step = steps.iter().find(|step| step.rule == rule)?;
    serde_json::from_str(&step.saw).ok()
}

/// Every item that a trace names, sorted.
pub fn items_named(steps: &[RoutingStep]) -> Vec<ItemId> {
    let mut named = BTreeSet::new();
    for step in steps {
        if let Ok(saw) = serde_json::from_str(&step.saw) {
            collect_items(&saw, &mut named);
        }
    }
    named.into_iter().map(ItemId).collect()
}

fn collect_items(value: &Value, named: &mut BTreeSet<i64>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect_items(value, named)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_i64() {
                    Some(id) if names_item(key) => {
                        named.insert(id);
                    }
                    _ => collect_items(value, named),
                }
            }
        }
        _ => {}
    }
}

fn names_item(key: &str) -> bool {
    matches!(key, "item_id" | "contact_id")
}

/// The trace as it shows to somebody who may read these items only: hidden ones are absent, and so is what was
/// decided about them.
#[must_use]
pub fn cut_to_readable(trace: &RoutingTrace, readable: &[ItemId]) -> RoutingTrace {
    let mut is_cut = false;
    let steps = trace
        .steps
        .iter()
        .map(|step| {
            let Ok(mut saw) = serde_json::from_str::<Value>(&step.saw) else {
                return step.clone();
            };
            if !cut(&mut saw, readable) {
                return step.clone();
            }
            is_cut = true;
            RoutingStep {
                rule: step.rule.clone(),
                saw: saw.to_string(),
                decided: CUT.to_owned(),
            }
        })
        .collect();
    RoutingTrace {
        steps,
        reason: if is_cut {
            CUT.to_owned()
        } else {
            trace.reason.clone()
        },
        settings_version: trace.settings_version,
    }
}

/// Takes hidden items out; whether there were any.
fn cut(value: &mut Value, readable: &[ItemId]) -> bool {
    let mut is_cut = false;
    match value {
        Value::Array(values) => {
            let before = values.len();
            values.retain(|value| !is_hidden(value.get("item_id"), readable));
            is_cut |= values.len() != before;
            for value in values {
                is_cut |= cut(value, readable);
            }
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                if (names_item(key) && is_hidden(Some(value), readable))
                    || is_hidden(value.get("item_id"), readable)
                {
                    *value = Value::Null;
                    is_cut = true;
                } else {
                    is_cut |= cut(value, readable);
                }
            }
        }
        _ => {}
    }
    is_cut
}

fn is_hidden(id: Option<&Value>, readable: &[ItemId]) -> bool {
    id.and_then(Value::as_i64)
        .is_some_and(|id| !readable.contains(&ItemId(id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn trace() -> RoutingTrace {
        RoutingTrace {
            steps: vec![
                step("R4 direction", &json!({"is_sent": false}), "incoming"),
                step(
                    "R16 candidates",
                    &json!({"open_deals": [{"item_id": 1, "contact_id": 7}, {"item_id": 2, "contact_id": null}], "contact": {"item_id": 7}}),
                    "joins the deal with the newest entry",
                ),
            ],
            reason: "it joins the deal with the newest entry".into(),
            settings_version: 3,
        }
    }

    #[test]
    fn r22_a_trace_shows_readable_items_only() {
        let whole = trace();
        assert_eq!(items_named(&whole.steps), [ItemId(1), ItemId(2), ItemId(7)]);
        // (who reads it, readable items, what the second step saw, whether the decision shows)
        let rows = [
            ("who may read all", vec![1, 2, 7], whole.steps[1].saw.clone(), true),
            (
                "who may not read the contact",
                vec![1, 2],
                json!({"open_deals": [{"item_id": 1, "contact_id": null}, {"item_id": 2, "contact_id": null}], "contact": null}).to_string(),
                false,
            ),
            (
                "who may read one deal only",
                vec![2],
                json!({"open_deals": [{"item_id": 2, "contact_id": null}], "contact": null}).to_string(),
                false,
            ),
            ("who may read nothing", vec![], json!({"open_deals": [], "contact": null}).to_string(), false),
        ];
        for (who, readable, saw, shows) in rows {
            let readable: Vec<ItemId> = readable.into_iter().map(ItemId).collect();
            let shown = cut_to_readable(&whole, &readable);
            assert_eq!(shown.steps[0], whole.steps[0], "{who}");
            assert_eq!(shown.steps[1].saw, saw, "{who}");
            assert_eq!(
                shown.steps[1].decided == whole.steps[1].decided,
                shows,
                "{who}"
            );
            assert_eq!(shown.reason == whole.reason, shows, "{who}");
        }
    }

    #[test]
    fn r22_whatever_is_hidden_cuts_what_was_decided() {
        let deal = |contact: Option<i64>| json!({"item_id": 1, "contact_id": contact});
        // (what, what a step saw, readable items, what shows of it, whether the decision shows)
        let rows = [
            (
                "nothing hidden",
                json!([deal(Some(7))]),
                vec![1, 7],
                json!([deal(Some(7))]),
                true,
            ),
            (
                "an item of a list",
                json!([deal(None)]),
                vec![7],
                json!([]),
                false,
            ),
            (
                "a contact inside one",
                json!([deal(Some(7))]),
                vec![1],
                json!([deal(None)]),
                false,
            ),
            (
                "one of two, the other whole",
                json!([{"item_id": 2}, deal(None)]),
                vec![1],
                json!([deal(None)]),
                false,
            ),
            (
                "a contact inside the first of two",
                json!([deal(Some(7)), {"item_id": 2}]),
                vec![1, 2],
                json!([deal(None), {"item_id": 2}]),
                false,
            ),
            (
                "deep inside",
                json!({"parent": {"items": [{"item_id": 2}]}, "flag": true}),
                vec![],
                json!({"parent": {"items": []}, "flag": true}),
                false,
            ),
            (
                "hidden before, readable after",
                json!({"a": {"item_id": 2}, "b": {"item_id": 1}}),
                vec![1],
                json!({"a": null, "b": {"item_id": 1}}),
                false,
            ),
            (
                "no item at all",
                json!({"is_sent": false}),
                vec![],
                json!({"is_sent": false}),
                true,
            ),
        ];
        for (what, saw, readable, shown, shows) in rows {
            let whole = RoutingTrace {
                steps: vec![step("R16 candidates", &saw, "joins it")],
                reason: "it joins".into(),
                settings_version: 1,
            };
            let readable: Vec<ItemId> = readable.into_iter().map(ItemId).collect();
            let cut = cut_to_readable(&whole, &readable);
            assert_eq!(cut.steps[0].saw, shown.to_string(), "{what}");
            assert_eq!(cut.steps[0].decided == "joins it", shows, "{what}");
            assert_eq!(cut.reason == "it joins", shows, "{what}");
        }
    }

    #[test]
    fn r20_a_simulation_reads_the_facts_back() {
        let steps = trace().steps;
        let seen: Option<Value> = facts_seen(&steps, "R4 direction");
        assert_eq!(seen, Some(json!({"is_sent": false})));
        let absent: Option<Value> = facts_seen(&steps, "R99 no such rule");
        assert_eq!(absent, None);
    }
}
