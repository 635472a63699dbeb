//! How the traces of judgements are kept: as JSON, packed, since they are long and much alike. Unpacked they would be
//! most of the database.
//! Not for: what a trace says (that is `rules::trace`).

use super::StoreError;
use crate::model::email::RoutingTrace;
use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};

/// What packed traces refer to. It never changes: traces that are kept can only be read with it. A better one gets
/// another number.
const DICTIONARY: &[u8] = include_bytes!("dictionary-1.txt");

/// The first byte of a trace that is packed with LZ4 and the dictionary above.
const PACKED: u8 = 1;

/// A trace as it is kept.
///
/// # Errors
/// `Database` where it can't be said as JSON.
pub fn pack(trace: &RoutingTrace) -> Result<Vec<u8>, StoreError> {
    let text =
        serde_json::to_vec(trace).map_err(|error| StoreError::Database(error.to_string()))?;
    let mut kept = vec![PACKED];
    kept.extend(compress_prepend_size_with_dict(&text, DICTIONARY));
    Ok(kept)
}

/// The trace of the email in this row. One that was kept before traces were packed is plain JSON.
///
/// # Errors
/// `Corrupt` for bytes that are no trace.
pub fn unpack(row: i64, kept: &[u8]) -> Result<RoutingTrace, StoreError> {
    let read = || match kept.split_first() {
        Some((&PACKED, packed)) => {
            let text = decompress_size_prepended_with_dict(packed, DICTIONARY).ok()?;
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
    use crate::model::email::RoutingStep;
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
            prop_assert_eq!(unpack(1, &pack(&kept).unwrap()).unwrap(), kept);
        }

        #[test]
        fn bytes_that_are_no_trace_are_told_of(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(unpack(1, &bytes).is_err());
            bytes.insert(0, PACKED);
            // The size that is claimed is made small: what is kept is our own, and is not read by strangers.
            if let Some(size) = bytes.get_mut(3..5) {
                size.fill(0);
            }
            prop_assert!(unpack(1, &bytes).is_err());
        }
    }

    #[test]
    fn r20_a_trace_of_before_is_read_as_plain_json() {
        let kept = trace(vec![("R4".into(), "{}".into(), "incoming".into())]);
        let plain = serde_json::to_vec(&kept).unwrap();
        assert_eq!(unpack(1, &plain).unwrap(), kept);
    }

    #[test]
    fn a_usual_trace_takes_a_tenth_of_its_text() {
        let sample = DICTIONARY.rsplit(|byte| *byte == b'\n').next().unwrap();
        let mut text: RoutingTrace = serde_json::from_slice(sample).unwrap();
        for step in &mut text.steps {
            step.saw = step
                .saw
                .replace("22059", "70123")
                .replace("1795530841", "1795612345");
        }
        let long = serde_json::to_vec(&text).unwrap().len();
        let short = pack(&text).unwrap().len();
        assert!(short * 10 < long, "{short} of {long}");
    }
}
