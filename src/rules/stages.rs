//! Which changes of the stages leave a set that items can live in.
//!
//! Leads begin in an open stage and end in `CONVERTED` (there is exactly one: `convertLead` leads there) or `JUNK`; deals
//! begin in an open one and end in `WON` (exactly one: what was won is one number) or `LOST`. Of open, junk and lost
//! stages there is at least one each. An open stage comes first: items begin there.
//! Not for: who may change stages (`access::may_change_crm_settings`).

use crate::model::item::{ItemKind, Stage, StageKind};

/// Why a set of stages can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageFault {
    /// Stages of this kind are none of items of that kind.
    WrongKind,
    /// There is exactly one of this kind: none can be added or taken away.
    ExactlyOne(StageKind),
    /// The last one of this kind stays.
    LastOne(StageKind),
    /// An open stage comes first.
    FirstIsNotOpen,
}

/// The kinds of stage that items of a kind have.
pub const fn kinds_of(item: ItemKind) -> &'static [StageKind] {
    match item {
        ItemKind::Lead => &[StageKind::Open, StageKind::Converted, StageKind::Junk],
        ItemKind::Deal => &[StageKind::Open, StageKind::Won, StageKind::Lost],
        ItemKind::Contact => &[],
    }
}

const fn is_single(kind: StageKind) -> bool {
    matches!(kind, StageKind::Converted | StageKind::Won)
}

/// What is wrong with these stages of one kind of item, which stand in their order; `None`: nothing.
pub fn fault(item: ItemKind, stages: &[Stage]) -> Option<StageFault> {
    if stages
        .iter()
        .any(|stage| stage.item_kind != item || !kinds_of(item).contains(&stage.kind))
    {
        return Some(StageFault::WrongKind);
    }
    for &kind in kinds_of(item) {
        let count = stages.iter().filter(|stage| stage.kind == kind).count();
        if is_single(kind) && count != 1 {
            return Some(StageFault::ExactlyOne(kind));
        }
        if count == 0 {
            return Some(StageFault::LastOne(kind));
        }
    }
    let begins_open = stages
        .first()
        .is_some_and(|stage| stage.kind == StageKind::Open);
    (!begins_open).then_some(StageFault::FirstIsNotOpen)
}

/// Whether items of a deleted stage can go to this one: of the same kind of item, and not where `convertLead` alone leads.
pub fn takes_items_of(from: &Stage, to: &Stage) -> bool {
    from.id != to.id && from.item_kind == to.item_kind && to.kind != StageKind::Converted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StageId;
    use StageKind::{Converted, Junk, Lost, Open, Won};

    fn stages(item: ItemKind, kinds: &[StageKind]) -> Vec<Stage> {
        (1..)
            .zip(kinds)
            .map(|(number, kind)| Stage {
                id: StageId(number),
                item_kind: item,
                name: "s".into(),
                kind: *kind,
                position: number,
                version: 1,
            })
            .collect()
    }

    #[test]
    fn r23_stages_keep_a_beginning_and_their_ends() {
        use ItemKind::{Contact, Deal, Lead};
        let rows: Vec<(&str, ItemKind, &[StageKind], Option<StageFault>)> = vec![
            (
                "the first leads' stages",
                Lead,
                &[Open, Open, Converted, Junk],
                None,
            ),
            (
                "two kinds of junk",
                Lead,
                &[Open, Converted, Junk, Junk],
                None,
            ),
            (
                "an open stage behind",
                Lead,
                &[Open, Converted, Open, Junk],
                None,
            ),
            (
                "nothing converted",
                Lead,
                &[Open, Junk],
                Some(StageFault::ExactlyOne(Converted)),
            ),
            (
                "converted twice",
                Lead,
                &[Open, Converted, Converted, Junk],
                Some(StageFault::ExactlyOne(Converted)),
            ),
            (
                "no junk",
                Lead,
                &[Open, Converted],
                Some(StageFault::LastOne(Junk)),
            ),
            (
                "no open one",
                Lead,
                &[Converted, Junk],
                Some(StageFault::LastOne(Open)),
            ),
            (
                "junk first",
                Lead,
                &[Junk, Open, Converted],
                Some(StageFault::FirstIsNotOpen),
            ),
            (
                "a lead that is won",
                Lead,
                &[Open, Converted, Junk, Won],
                Some(StageFault::WrongKind),
            ),
            (
                "the first deals' stages",
                Deal,
                &[Open, Open, Open, Won, Lost],
                None,
            ),
            ("two ways to lose", Deal, &[Open, Won, Lost, Lost], None),
            (
                "two ways to win",
                Deal,
                &[Open, Won, Won, Lost],
                Some(StageFault::ExactlyOne(Won)),
            ),
            (
                "never lost",
                Deal,
                &[Open, Won],
                Some(StageFault::LastOne(Lost)),
            ),
            (
                "won first",
                Deal,
                &[Won, Open, Lost],
                Some(StageFault::FirstIsNotOpen),
            ),
            (
                "stages of contacts",
                Contact,
                &[Open],
                Some(StageFault::WrongKind),
            ),
        ];
        for (what, item, kinds, expected) in rows {
            assert_eq!(fault(item, &stages(item, kinds)), expected, "{what}");
        }
        let mixed = [stages(Lead, &[Open, Converted]), stages(Deal, &[Lost])].concat();
        assert_eq!(fault(Lead, &mixed), Some(StageFault::WrongKind));
    }

    #[test]
    fn r23_items_of_a_deleted_stage_go_to_another_of_their_kind() {
        let leads = stages(ItemKind::Lead, &[Open, Open, Converted, Junk]);
        let deals = stages(ItemKind::Deal, &[Open, Won, Lost]);
        let rows = [
            ("another open one", &leads[0], &leads[1], true),
            ("junk", &leads[0], &leads[3], true),
            ("itself", &leads[0], &leads[0], false),
            ("converted", &leads[0], &leads[2], false),
            ("a deal's", &leads[0], &deals[1], false),
            ("won", &deals[0], &deals[1], true),
        ];
        for (what, from, to, expected) in rows {
            assert_eq!(takes_items_of(from, to), expected, "{what}");
        }
    }
}
