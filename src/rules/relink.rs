//! Whether an email's links may be changed (R34), with the rights that it takes (R24).
//! Not for: reading rights (they come in as booleans from `access`), or absent and hidden things, which the caller
//! answers as not found before it asks here (R27).
//!
//! Moving needs update on both deals. Linking to one more item needs it on that item and on every item that the
//! email hangs on: whoever links an email to an item that others can't read hides it from them (R21).

use crate::model::ItemId;
use crate::model::decisions::{LinkRefusal, LinkVerdict, RelinkVerdict};
use crate::model::email::RelinkRefusal;
use crate::model::item::ItemKind;
use serde::{Deserialize, Serialize};

/// An item, and what the viewer may do to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConcernedItem {
    pub item_id: ItemId,
    pub kind: ItemKind,
    pub may_read: bool,
    pub may_update: bool,
    /// Of a deal: the leads that were converted into it.
    pub converted_from: Vec<ItemId>,
}

/// An email with everything it is linked to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelinkFacts {
    pub is_saved: bool,
    pub links: Vec<ConcernedItem>,
}

impl RelinkFacts {
    fn link(&self, item_id: ItemId) -> Option<&ConcernedItem> {
        self.links.iter().find(|link| link.item_id == item_id)
    }

    /// What ties the email: each deal that it hangs on with each lead that it also hangs on and that the deal was
    /// converted from.
    fn ties(&self) -> impl Iterator<Item = Tie<'_>> {
        self.links.iter().flat_map(|deal| {
            self.links
                .iter()
                .filter(|lead| deal.converted_from.contains(&lead.item_id))
                .map(move |lead| Tie { deal, lead })
        })
    }

    /// Whether the item is the deal or the lead of a tie.
    fn is_tied(&self, item_id: ItemId) -> bool {
        self.ties().any(|tie| tie.has(item_id))
    }

    /// Whether the item is tied to one that the viewer may not read, and so must not be told of.
    fn is_tied_to_hidden(&self, item_id: ItemId) -> bool {
        self.ties().any(|tie| tie.has(item_id) && tie.is_hidden())
    }
}

struct Tie<'a> {
    deal: &'a ConcernedItem,
    lead: &'a ConcernedItem,
}

impl Tie<'_> {
    fn has(&self, item_id: ItemId) -> bool {
        self.deal.item_id == item_id || self.lead.item_id == item_id
    }

    const fn is_hidden(&self) -> bool {
        !self.deal.may_read || !self.lead.may_read
    }
}

/// `email.canRelink`: is there a deal that the email can be moved from? Else the reason that is nearest to a yes.
pub fn can_relink(facts: &RelinkFacts) -> RelinkVerdict {
    if !facts.is_saved {
        return RelinkVerdict::refused(RelinkRefusal::NotSaved);
    }
    let verdicts: Vec<RelinkVerdict> = facts
        .links
        .iter()
        .filter(|link| link.may_read && link.kind == ItemKind::Deal)
        .map(|deal| can_move(facts, deal))
        .collect();
    let nearest = [
        None,
        Some(RelinkRefusal::ConvertedLead),
        Some(RelinkRefusal::Forbidden),
    ];
    nearest
        .into_iter()
        .find_map(|refusal| {
            verdicts
                .iter()
                .find(|verdict| verdict.refusal == refusal)
                .copied()
        })
        .unwrap_or(RelinkVerdict::refused(RelinkRefusal::NotOnADeal))
}

/// `link.canMove`: can the email be moved from this item to another deal ("Change deal")?
pub fn can_move_from(facts: &RelinkFacts, item_id: ItemId) -> RelinkVerdict {
    if !facts.is_saved {
        return RelinkVerdict::refused(RelinkRefusal::NotSaved);
    }
    match facts.link(item_id) {
        Some(link) if link.may_read && link.kind == ItemKind::Deal => can_move(facts, link),
        _ => RelinkVerdict::refused(RelinkRefusal::NotOnADeal),
    }
}

/// Rights first, so that a converted lead shows only to whoever could move the email without it; of one that the
/// viewer may not read they are not told.
fn can_move(facts: &RelinkFacts, deal: &ConcernedItem) -> RelinkVerdict {
    if !deal.may_update || facts.is_tied_to_hidden(deal.item_id) {
        RelinkVerdict::refused(RelinkRefusal::Forbidden)
    } else if facts.is_tied(deal.item_id) {
        RelinkVerdict::refused(RelinkRefusal::ConvertedLead)
    } else {
        RelinkVerdict::ALLOWED
    }
}

/// Moves an email from one deal to another.
pub fn judge_relink(facts: &RelinkFacts, from: &ConcernedItem, to: &ConcernedItem) -> LinkVerdict {
    let may_move = from.may_update && to.may_update && !facts.is_tied_to_hidden(from.item_id);
    let are_deals = from.kind == ItemKind::Deal && to.kind == ItemKind::Deal;
    first_refusal([
        (!facts.is_saved, LinkRefusal::NotSaved),
        (!may_move, LinkRefusal::Forbidden),
        (facts.link(from.item_id).is_none(), LinkRefusal::NotLinked),
        (facts.is_tied(from.item_id), LinkRefusal::ConvertedLead),
        (!are_deals, LinkRefusal::NotOnADeal),
        (facts.link(to.item_id).is_some(), LinkRefusal::AlreadyLinked),
    ])
}

/// Links an email to one more item.
pub fn judge_link(facts: &RelinkFacts, to: &ConcernedItem) -> LinkVerdict {
    let may_link = to.may_update && facts.links.iter().all(|link| link.may_update);
    let makes_another_deal = to.kind == ItemKind::Deal && facts.ties().next().is_some();
    first_refusal([
        (!facts.is_saved, LinkRefusal::NotSaved),
        (!may_link, LinkRefusal::Forbidden),
        (facts.link(to.item_id).is_some(), LinkRefusal::AlreadyLinked),
        (makes_another_deal, LinkRefusal::ConvertedLead),
    ])
}

/// Takes an email off one of its items.
pub fn judge_unlink(facts: &RelinkFacts, from: &ConcernedItem) -> LinkVerdict {
    let may_unlink = from.may_update && !facts.is_tied_to_hidden(from.item_id);
    first_refusal([
        (!facts.is_saved, LinkRefusal::NotSaved),
        (!may_unlink, LinkRefusal::Forbidden),
        (facts.link(from.item_id).is_none(), LinkRefusal::NotLinked),
        (facts.is_tied(from.item_id), LinkRefusal::ConvertedLead),
        (facts.links.len() == 1, LinkRefusal::LastLink),
    ])
}

/// The first refusal whose condition holds.
fn first_refusal<const N: usize>(ranking: [(bool, LinkRefusal); N]) -> LinkVerdict {
    ranking
        .into_iter()
        .find(|(holds, _)| *holds)
        .map_or(LinkVerdict::Allowed, |(_, refusal)| {
            LinkVerdict::Refused(refusal)
        })
}

#[cfg(test)]
mod tests;
