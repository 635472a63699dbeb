use super::*;
use LinkRefusal as L;
use RelinkRefusal as R;

/// An item that the viewer may read and update.
fn item(id: i64, kind: ItemKind) -> ConcernedItem {
    ConcernedItem {
        item_id: ItemId(id),
        kind,
        may_read: true,
        may_update: true,
        converted_from: vec![],
    }
}

fn deal(id: i64) -> ConcernedItem {
    item(id, ItemKind::Deal)
}

/// Deal 2, which was converted from lead 1.
fn converted_deal() -> ConcernedItem {
    ConcernedItem {
        converted_from: vec![ItemId(1)],
        ..deal(2)
    }
}

fn lead() -> ConcernedItem {
    item(1, ItemKind::Lead)
}

fn contact() -> ConcernedItem {
    item(3, ItemKind::Contact)
}

fn read_only(item: ConcernedItem) -> ConcernedItem {
    ConcernedItem {
        may_update: false,
        ..item
    }
}

fn hidden(item: ConcernedItem) -> ConcernedItem {
    ConcernedItem {
        may_read: false,
        ..read_only(item)
    }
}

fn email(links: Vec<ConcernedItem>) -> RelinkFacts {
    RelinkFacts {
        is_saved: true,
        links,
    }
}

fn unsaved() -> RelinkFacts {
    RelinkFacts {
        is_saved: false,
        links: vec![],
    }
}

fn refused(verdict: LinkVerdict) -> Option<LinkRefusal> {
    match verdict {
        LinkVerdict::Allowed => None,
        LinkVerdict::Refused(refusal) => Some(refusal),
    }
}

#[test]
fn r34_can_relink_tells_beforehand_with_the_reason() {
    // (what, email, why it can't be moved)
    let rows = [
        ("on a deal", email(vec![deal(4)]), None),
        (
            "on a deal and a contact",
            email(vec![deal(4), contact()]),
            None,
        ),
        (
            "on a deal, and a contact that is hidden",
            email(vec![deal(4), hidden(contact())]),
            None,
        ),
        ("not saved", unsaved(), Some(R::NotSaved)),
        (
            "on a lead and a contact",
            email(vec![lead(), contact()]),
            Some(R::NotOnADeal),
        ),
        (
            "on a deal that may not be changed",
            email(vec![read_only(deal(4))]),
            Some(R::Forbidden),
        ),
        (
            "on a deal that is hidden",
            email(vec![hidden(deal(4)), contact()]),
            Some(R::NotOnADeal),
        ),
        (
            "on the deal and the lead it was converted from",
            email(vec![converted_deal(), lead()]),
            Some(R::ConvertedLead),
        ),
        (
            "on that deal alone: it came after the conversion",
            email(vec![converted_deal()]),
            None,
        ),
        (
            "on a deal and another's lead",
            email(vec![deal(4), lead()]),
            None,
        ),
        (
            "rights go before the converted lead",
            email(vec![read_only(converted_deal()), lead()]),
            Some(R::Forbidden),
        ),
        (
            "of a hidden lead it is not told",
            email(vec![converted_deal(), hidden(lead())]),
            Some(R::Forbidden),
        ),
        (
            "one of two deals can be left",
            email(vec![converted_deal(), lead(), deal(4)]),
            None,
        ),
        (
            "neither can: the nearer reason",
            email(vec![read_only(deal(4)), converted_deal(), lead()]),
            Some(R::ConvertedLead),
        ),
    ];
    for (what, facts, refusal) in rows {
        let verdict = can_relink(&facts);
        assert_eq!(verdict.refusal, refusal, "{what}");
        assert_eq!(verdict.allowed, refusal.is_none(), "{what}");
    }
}

#[test]
fn r34_can_move_tells_it_of_each_item() {
    let facts = email(vec![
        converted_deal(),
        lead(),
        deal(4),
        read_only(deal(5)),
        contact(),
        hidden(deal(6)),
    ]);
    // (what, item, why the email can't be moved from it)
    let rows = [
        ("the converted deal", 2, Some(R::ConvertedLead)),
        ("its lead", 1, Some(R::NotOnADeal)),
        ("another deal", 4, None),
        ("a deal that may not be changed", 5, Some(R::Forbidden)),
        ("the contact", 3, Some(R::NotOnADeal)),
        ("a hidden deal", 6, Some(R::NotOnADeal)),
        ("a deal that it is not on", 7, Some(R::NotOnADeal)),
    ];
    for (what, id, refusal) in rows {
        assert_eq!(can_move_from(&facts, ItemId(id)).refusal, refusal, "{what}");
    }
    assert_eq!(
        can_move_from(&unsaved(), ItemId(4)).refusal,
        Some(R::NotSaved)
    );
}

/// (what, email, from, to, refusal)
type Move = (
    &'static str,
    RelinkFacts,
    ConcernedItem,
    ConcernedItem,
    Option<LinkRefusal>,
);

fn check_moves(rows: Vec<Move>) {
    for (what, facts, from, to, refusal) in rows {
        assert_eq!(refused(judge_relink(&facts, &from, &to)), refusal, "{what}");
    }
}

#[test]
fn r34_an_email_moves_from_one_deal_to_another() {
    let on_deal = || email(vec![deal(4), contact()]);
    let on_both = email(vec![deal(4), deal(5)]);
    let (no_deal, linked) = (Some(L::NotOnADeal), Some(L::AlreadyLinked));
    check_moves(vec![
        ("to another deal", on_deal(), deal(4), deal(5), None),
        ("not saved", unsaved(), deal(4), deal(5), Some(L::NotSaved)),
        (
            "from a deal it is not on",
            on_deal(),
            deal(6),
            deal(5),
            Some(L::NotLinked),
        ),
        ("to a deal it is on", on_both, deal(4), deal(5), linked),
        ("to the same deal", on_deal(), deal(4), deal(4), linked),
        ("from the contact", on_deal(), contact(), deal(5), no_deal),
        ("to a lead", on_deal(), deal(4), lead(), no_deal),
    ]);
}

#[test]
fn r34_an_email_on_a_converted_lead_and_its_deal_does_not_move() {
    let tied = || email(vec![converted_deal(), lead(), contact()]);
    let later = email(vec![converted_deal()]);
    let of_another = email(vec![deal(4), lead()]);
    let refused = Some(L::ConvertedLead);
    check_moves(vec![
        ("from the deal", tied(), converted_deal(), deal(5), refused),
        ("from the lead", tied(), lead(), deal(5), refused),
        (
            "mail after the conversion does",
            later,
            converted_deal(),
            deal(5),
            None,
        ),
        (
            "so does mail on another's lead",
            of_another,
            deal(4),
            deal(5),
            None,
        ),
    ]);
}

#[test]
fn r24_moving_needs_update_on_both_deals_and_rights_are_judged_first() {
    let on_deal = || email(vec![deal(4), contact()]);
    let tied = || email(vec![converted_deal(), lead()]);
    let under_read_only_contact = email(vec![deal(4), read_only(contact())]);
    let tied_to_hidden = email(vec![converted_deal(), hidden(lead())]);
    let (old, new) = (read_only(deal(4)), read_only(deal(5)));
    let forbidden = Some(L::Forbidden);
    check_moves(vec![
        ("not on the old deal", on_deal(), old, deal(5), forbidden),
        (
            "not on the new deal",
            on_deal(),
            deal(4),
            new.clone(),
            forbidden,
        ),
        (
            "not on the contact, which stays",
            under_read_only_contact,
            deal(4),
            deal(5),
            None,
        ),
        (
            "tied, old",
            tied(),
            read_only(converted_deal()),
            deal(5),
            forbidden,
        ),
        (
            "tied, new",
            tied(),
            converted_deal(),
            new.clone(),
            forbidden,
        ),
        (
            "of a hidden lead nothing is told",
            tied_to_hidden,
            converted_deal(),
            deal(5),
            forbidden,
        ),
        (
            "to a deal it is on",
            email(vec![deal(4), new.clone()]),
            deal(4),
            new,
            forbidden,
        ),
    ]);
}

#[test]
fn r34_a_link_is_added() {
    let tied = || email(vec![converted_deal(), lead()]);
    // (what, email, to, refusal)
    let rows = [
        (
            "a contact to a deal's mail",
            email(vec![deal(4)]),
            contact(),
            None,
        ),
        ("a second deal", email(vec![deal(4)]), deal(5), None),
        (
            "r24: without update on the new item",
            email(vec![deal(4)]),
            read_only(contact()),
            Some(L::Forbidden),
        ),
        (
            "r24: without update on an item it hangs on, from whose readers it could be hidden so",
            email(vec![deal(4), read_only(contact())]),
            deal(5),
            Some(L::Forbidden),
        ),
        ("not saved", unsaved(), deal(5), Some(L::NotSaved)),
        (
            "to what it is linked to",
            email(vec![deal(4)]),
            deal(4),
            Some(L::AlreadyLinked),
        ),
        (
            "to another deal while it is tied",
            tied(),
            deal(5),
            Some(L::ConvertedLead),
        ),
        ("to a contact while it is tied", tied(), contact(), None),
        (
            "rights are judged first",
            tied(),
            read_only(deal(5)),
            Some(L::Forbidden),
        ),
        (
            "the lead of its own deal",
            email(vec![converted_deal()]),
            lead(),
            None,
        ),
        (
            "the deal of its own lead",
            email(vec![lead()]),
            converted_deal(),
            None,
        ),
        (
            "another deal, after the conversion",
            email(vec![converted_deal()]),
            deal(5),
            None,
        ),
    ];
    for (what, facts, to, refusal) in rows {
        assert_eq!(refused(judge_link(&facts, &to)), refusal, "{what}");
    }
}

#[test]
fn r34_a_link_is_removed_but_the_last_one_stays() {
    let tied = || email(vec![converted_deal(), lead(), contact()]);
    // (what, email, from, refusal)
    let rows = [
        (
            "one of two",
            email(vec![deal(4), contact()]),
            contact(),
            None,
        ),
        ("the last", email(vec![deal(4)]), deal(4), Some(L::LastLink)),
        (
            "r24: without update on it",
            email(vec![deal(4), contact()]),
            read_only(contact()),
            Some(L::Forbidden),
        ),
        (
            "r24: without update on another, which is not concerned",
            email(vec![deal(4), read_only(contact())]),
            deal(4),
            None,
        ),
        ("not saved", unsaved(), deal(4), Some(L::NotSaved)),
        (
            "what it is not linked to",
            email(vec![deal(4), contact()]),
            deal(5),
            Some(L::NotLinked),
        ),
        (
            "the converted deal",
            tied(),
            converted_deal(),
            Some(L::ConvertedLead),
        ),
        ("its lead", tied(), lead(), Some(L::ConvertedLead)),
        ("the contact beside them", tied(), contact(), None),
        (
            "rights are judged first",
            tied(),
            read_only(lead()),
            Some(L::Forbidden),
        ),
    ];
    for (what, facts, from, refusal) in rows {
        assert_eq!(refused(judge_unlink(&facts, &from)), refusal, "{what}");
    }
}

#[test]
fn r34_each_refusal_has_a_code_of_the_contract_and_a_sentence() {
    for refusal in LinkRefusal::ALL {
        let code = refusal.code().as_text();
        let is_same = code == refusal.as_text();
        assert_eq!(is_same, *refusal != L::NotOnADeal, "{code}");
        assert!(refusal.message().ends_with('.'), "{code}");
    }
}
