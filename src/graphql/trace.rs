//! A routing trace as its reader may see it: items that they may not read are cut out, with what was decided about
//! them, and the numbers that stand for items and users become their opaque ids.
//! Not for: what a trace says (`rules` writes it).

use super::context::Ask;
use super::ids::item_type;
use crate::model::ItemId;
use crate::model::email::RoutingTrace;
use crate::model::item::ItemKind;
use crate::rules::trace::{cut_to_readable, items_named};
use crate::store::codec::Codec;
use serde_json::Value;
use std::collections::HashMap;

/// The trace for a reader who may read these items.
pub fn shown(
    ask: &Ask,
    trace: &RoutingTrace,
    readable: &HashMap<ItemId, ItemKind>,
) -> RoutingTrace {
    // Items that only a simulation has made have numbers below zero: they are nobody's secret, and have no id.
    let simulated = items_named(&trace.steps).into_iter().filter(|id| id.0 < 0);
    let ids: Vec<ItemId> = readable.keys().copied().chain(simulated).collect();
    let mut trace = cut_to_readable(trace, &ids);
    for step in &mut trace.steps {
        if let Ok(mut saw) = serde_json::from_str::<Value>(&step.saw) {
            seal(&mut saw, ask.codec(), readable);
            step.saw = saw.to_string();
        }
    }
    trace
}

/// Numbers of rows become the ids that clients know.
fn seal(value: &mut Value, codec: &Codec, readable: &HashMap<ItemId, ItemKind>) {
    match value {
        Value::Array(values) => {
            for value in values {
                seal(value, codec, readable);
            }
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                match key.as_str() {
                    "item_id" | "contact_id" => seal_with(value, |number| {
                        let kind = readable.get(&ItemId(number))?;
                        Some(codec.seal_id(item_type(*kind), number))
                    }),
                    "user_id" | "responsible_id" | "administrators" => {
                        seal_with(value, |number| Some(codec.seal_id("User", number)));
                    }
                    // Messages are no things that clients know.
                    "parent_message_id" => *value = Value::Null,
                    _ => seal(value, codec, readable),
                }
            }
        }
        _ => {}
    }
}

/// A number, or a list of them, sealed; null where it stands for nothing that may be named.
fn seal_with(value: &mut Value, sealed: impl Fn(i64) -> Option<String> + Copy) {
    match value {
        Value::Array(values) => {
            for value in values {
                seal_with(value, sealed);
            }
        }
        Value::Number(number) => {
            let id = number.as_i64().and_then(sealed);
            *value = id.map_or(Value::Null, Value::String);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn r22_numbers_of_rows_never_show() {
        let codec = Codec::new(&[1; 32], &[2; 32]).unwrap();
        let readable = HashMap::from([(ItemId(7), ItemKind::Deal)]);
        let mut saw = json!({
            "open_deals": [{ "item_id": 7, "contact_id": 8, "responsible_id": 9, "is_open": true }],
            "queue": { "members": [{ "user_id": 9 }], "administrators": [9], "pointer": 1 },
            "parent_message_id": 6,
        });
        seal(&mut saw, &codec, &readable);
        let (deal, user) = (codec.seal_id("Deal", 7), codec.seal_id("User", 9));
        assert_eq!(
            saw,
            json!({
                "open_deals": [{ "item_id": deal, "contact_id": null, "responsible_id": user, "is_open": true }],
                "queue": { "members": [{ "user_id": user }], "administrators": [user], "pointer": 1 },
                "parent_message_id": null,
            })
        );
    }
}
