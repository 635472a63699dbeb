//! How the traces of judgements are kept: packed, since they are long and much alike. Unpacked they would be most of the
//! database.
//! Not for: what a trace says (that is `rules::trace`).

use super::StoreError;
use crate::model::email::{RoutingStep, RoutingTrace};
use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};

/// What packed traces refer to. They never change: traces that are kept can only be read with them. A better one gets
/// another number.
const DICTIONARY_1: &[u8] = include_bytes!("dictionary-1.txt");
const DICTIONARY_2: &[u8] = include_bytes!("dictionary-2.txt");

/// The first byte of a trace that was packed as JSON with the first dictionary.
const JSON: u8 = 1;
/// The first byte of a trace whose texts stand one behind the other, packed with the second dictionary: as JSON what the
/// rules saw, which is JSON itself, would be escaped.
const TEXTS: u8 = 2;

/// A trace as it is kept.
pub fn pack(trace: &RoutingTrace) -> Vec<u8> {
    let mut texts = Vec::with_capacity(2048);
    put_number(
        &mut texts,
        u64::from_ne_bytes(trace.settings_version.to_ne_bytes()),
    );
    put_text(&mut texts, &trace.reason);
    for step in &trace.steps {
        put_text(&mut texts, &step.rule);
        put_text(&mut texts, &step.saw);
        put_text(&mut texts, &step.decided);
    }
    let mut kept = vec![TEXTS];
    kept.extend(compress_prepend_size_with_dict(&texts, DICTIONARY_2));
    kept
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn put_number(into: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    while rest >= 0x80 {
        into.extend(u8::try_from(rest & 0x7f).map(|low| low | 0x80));
        rest >>= 7;
    }
    into.extend(u8::try_from(rest));
}

fn put_text(into: &mut Vec<u8>, text: &str) {
    put_number(into, u64::try_from(text.len()).unwrap_or(u64::MAX));
    into.extend_from_slice(text.as_bytes());
}

fn take_number(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_text(from: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(take_number(from)?).ok()?;
    let (text, rest) = from.split_at_checked(length)?;
    *from = rest;
    String::from_utf8(text.to_vec()).ok()
}

fn read_texts(mut texts: &[u8]) -> Option<RoutingTrace> {
    let from = &mut texts;
    let settings_version = i64::from_ne_bytes(take_number(from)?.to_ne_bytes());
    let reason = take_text(from)?;
    let mut steps = Vec::new();
    while !from.is_empty() {
        steps.push(RoutingStep {
            rule: take_text(from)?,
            saw: take_text(from)?,
            decided: take_text(from)?,
        });
    }
    Some(RoutingTrace {
        steps,
        reason,
        settings_version,
    })
}

/// The trace of the email in this row. One that was kept before traces were packed is plain JSON.
///
/// # Errors
/// `Corrupt` for bytes that are no trace.
pub fn unpack(row: i64, kept: &[u8]) -> Result<RoutingTrace, StoreError> {
    let read = || match kept.split_first() {
        Some((&TEXTS, packed)) => {
            read_texts(&decompress_size_prepended_with_dict(packed, DICTIONARY_2).ok()?)
        }
        Some((&JSON, packed)) => {
            let text = decompress_size_prepended_with_dict(packed, DICTIONARY_1).ok()?;
            serde_json::from_slice(&text).ok()
        }
        _ => serde_json::from_slice(kept).ok(),
    };
    read().ok_or(StoreError::Corrupt {
        table: "routing_traces",
        column: "trace",
        row,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trace(steps: Vec<(String, String, String)>) -> RoutingTrace {
        RoutingTrace {
            steps: steps
                .into_iter()
                .map(|(rule, saw, decided)| RoutingStep { rule, saw, decided })
                .collect(),
            reason: "it joins the client's open lead".into(),
            settings_version: 3,
        }
    }

    proptest! {
        #[test]
        fn r20_every_trace_comes_back_as_it_was(steps in prop::collection::vec((any::<String>(), any::<String>(), any::<String>()), 0..20)) {
            let kept = trace(steps);
            prop_assert_eq!(unpack(1, &pack(&kept)).unwrap(), kept);
        }

        #[test]
        fn bytes_that_are_no_trace_are_told_of(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(unpack(1, &bytes).is_err());
            bytes.insert(0, TEXTS);
            // The size that is claimed is made small: what is kept is our own, and is not read by strangers.
            if let Some(size) = bytes.get_mut(3..5) {
                size.fill(0);
            }
            prop_assert!(unpack(1, &bytes).is_err());
        }
    }

    #[test]
    fn r20_a_trace_of_before_is_read_as_json_packed_or_plain() {
        let kept = trace(vec![("R4".into(), "{}".into(), "incoming".into())]);
        let plain = serde_json::to_vec(&kept).unwrap();
        assert_eq!(unpack(1, &plain).unwrap(), kept);
        let mut packed = vec![JSON];
        packed.extend(compress_prepend_size_with_dict(&plain, DICTIONARY_1));
        assert_eq!(unpack(1, &packed).unwrap(), kept);
    }

    #[test]
    fn a_usual_trace_takes_a_tenth_of_its_text() {
        let sample = DICTIONARY_1.rsplit(|byte| *byte == b'\n').next().unwrap();
        let mut text: RoutingTrace = serde_json::from_slice(sample).unwrap();
        for step in &mut text.steps {
            step.saw = step
                .saw
                .replace("22059", "70123")
                .replace("1795530841", "1795612345");
        }
        let long = serde_json::to_vec(&text).unwrap().len();
        let short = pack(&text).len();
        assert!(short * 10 < long, "{short} of {long}");
    }
}
