//! Facts that the tests of routing start from.

use super::*;
use crate::model::decisions::Who;
use crate::rules::queue::{Connector, QueueMember};

/// Ann, under this display name.
pub fn client(name: Option<&str>) -> Party {
    Party {
        address_key: "ann@client.example".into(),
        name: name.map(Into::into),
        who: Who::Client,
        is_excluded: false,
    }
}

/// Items are as old as their id is high, and their newest entry is as new.
fn item(id: i64, kind: ItemKind, responsible: i64) -> CandidateItem {
    CandidateItem {
        id: ItemId(id),
        kind,
        is_open: true,
        responsible_id: UserId(responsible),
        newest_entry_at: Time::from_seconds(id),
        created_at: Time::from_seconds(id),
        is_extra_lead: false,
        contact_id: None,
    }
}

pub fn contact(id: i64, responsible: i64) -> CandidateItem {
    item(id, ItemKind::Contact, responsible)
}

pub fn deal(id: i64, responsible: i64) -> CandidateItem {
    item(id, ItemKind::Deal, responsible)
}

pub fn lead(id: i64, responsible: i64) -> CandidateItem {
    item(id, ItemKind::Lead, responsible)
}

pub fn closed(item: CandidateItem) -> CandidateItem {
    CandidateItem {
        is_open: false,
        ..item
    }
}

pub fn extra(lead: CandidateItem) -> CandidateItem {
    CandidateItem {
        is_extra_lead: true,
        ..lead
    }
}

/// The first mail of an unknown client under the default settings. Users 1 and 2 are in the queue, 3 has left it in
/// deed (inactive) but stands there still; 9 is the connector.
pub fn facts() -> RoutingFacts {
    let member = |id, is_active| QueueMember {
        user_id: UserId(id),
        is_active,
    };
    RoutingFacts {
        settings: RoutingSettings {
            incoming_creates: CreatedItem::Lead,
            outgoing_creates: CreatedItem::Contact,
            existing_client_routing: ExistingClientRouting::AttachIfResponsibleInQueue,
            replies_follow_thread: true,
            source: "Sales mailbox".into(),
        },
        leads_enabled: true,
        direction: Direction::Incoming,
        client: client(Some("Ann Smith")),
        subject: "Chairs".into(),
        automatic: None,
        by_hand: false,
        is_always_new_lead: false,
        parent: None,
        is_report: false,
        contacts: vec![],
        open_deals: vec![],
        leads: vec![],
        queue: QueueFacts {
            members: vec![member(1, true), member(2, true), member(3, false)],
            pointer: 0,
            connector: Connector {
                user_id: UserId(9),
                is_active: true,
            },
            administrators: vec![UserId(8)],
        },
        made_this_hour: 0,
    }
}
