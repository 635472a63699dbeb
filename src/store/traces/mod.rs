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

/// A trace as it is kept: numbers first (the settings' version, and how long each text is), then the texts without
/// anything between them, as they stand in the dictionary.
pub fn pack(trace: &RoutingTrace) -> Vec<u8> {
    let of_steps = trace
        .steps
        .iter()
        .flat_map(|step| [&step.rule, &step.saw, &step.decided]);
    let texts = of_steps.chain([&trace.reason]);
    let mut text = Vec::with_capacity(4096);
    let version = u64::from_ne_bytes(trace.settings_version.to_ne_bytes());
    put_number(&mut text, version);
    put_count(&mut text, trace.steps.len());
    for each in texts.clone() {
        put_count(&mut text, each.len());
    }
    for each in texts {
        text.extend_from_slice(each.as_bytes());
    }
    let mut kept = vec![TEXTS];
    kept.extend(compress_prepend_size_with_dict(&text, DICTIONARY_2));
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

fn put_count(into: &mut Vec<u8>, count: usize) {
    put_number(into, u64::try_from(count).unwrap_or(u64::MAX));
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

fn take_count(from: &mut &[u8]) -> Option<usize> {
    usize::try_from(take_number(from)?).ok()
}

fn take_text(from: &mut &[u8], length: usize) -> Option<String> {
    let (text, rest) = from.split_at_checked(length)?;
    *from = rest;
    String::from_utf8(text.to_vec()).ok()
}

fn read_texts(mut text: &[u8]) -> Option<RoutingTrace> {
    let from = &mut text;
    let settings_version = i64::from_ne_bytes(take_number(from)?.to_ne_bytes());
    let steps = take_count(from)?;
    // Each has a length of a byte at least: what is claimed is bounded by what is there.
    let steps = (steps <= from.len()).then_some(steps)?;
    let mut lengths = Vec::new();
    for _ in 0..steps {
        lengths.push([take_count(from)?, take_count(from)?, take_count(from)?]);
    }
    let reason_length = take_count(from)?;
    let steps: Option<Vec<RoutingStep>> = lengths
        .into_iter()
        .map(|[rule, saw, decided]| {
            Some(RoutingStep {
                rule: take_text(from, rule)?,
                saw: take_text(from, saw)?,
                decided: take_text(from, decided)?,
            })
        })
        .collect();
    Some(RoutingTrace {
        steps: steps?,
        reason: take_text(from, reason_length)?,
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
