//! Letters of a made-up office, from a seed: what people write, and what happens to items and users between their letters.

use super::office::{How, NINE, Office, Postbox, with};
use mailroom::model::UserId;
use mailroom::model::mailbox::{CreatedItem, ExistingClientRouting};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What happens next.
#[derive(Debug, Clone)]
pub enum Event {
    /// Letters arrive in one mailbox, in one batch.
    Batch(usize, Vec<Letter>),
    /// A user leaves, or comes back.
    Active(usize, bool),
    /// The n-th of the open leads and deals (modulo their number) is closed.
    Close(usize),
    /// The n-th item gets another responsible.
    Reassign(usize, usize),
    /// The n-th lead becomes a contact with a deal too: somebody sees who that is.
    Contact(usize, usize),
    /// A mailbox's `repliesFollowThread`, and its integration.
    Switch(usize, bool, bool),
}

/// Which folder a letter lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lies {
    Inbox,
    Sent,
    Spam,
    Trash,
}

/// One letter.
#[derive(Debug, Clone)]
pub struct Letter {
    pub id: usize,
    pub lies: Lies,
    pub from: String,
    /// A second From line: forged.
    pub is_forged: bool,
    pub to: Vec<String>,
    pub subject: String,
    pub replies_to: Option<usize>,
    pub references: Vec<usize>,
    /// The header that makes it automatic.
    pub automatic: Option<&'static str>,
    /// Whether a server outside has handled it.
    pub is_received: bool,
    pub hour: i64,
    pub is_backfill: bool,
}

/// A mailbox of the office.
#[derive(Debug, Clone)]
pub struct Setting {
    pub address: String,
    pub mode: ExistingClientRouting,
    pub incoming: CreatedItem,
    pub outgoing: CreatedItem,
    pub queue: Vec<usize>,
    pub connector: usize,
    pub always_new: &'static str,
    pub save_since_hour: Option<i64>,
}

pub const USERS: usize = 6;
pub const EXCLUDED: &str = "excluded.example";
pub const SENDER_LIMIT: i64 = 12;

/// The mailboxes: each mode twice, with other settings each time.
pub fn settings() -> Vec<Setting> {
    use CreatedItem::{Contact, Deal, Lead, Nothing};
    use ExistingClientRouting::{AlwaysNew, AttachAlways, AttachIfResponsibleInQueue};
    let setting = |name: &str, mode, incoming, outgoing, queue: &[usize], connector| Setting {
        address: format!("{name}@us.example"),
        mode,
        incoming,
        outgoing,
        queue: queue.to_vec(),
        connector,
        always_new: "always.example",
        save_since_hour: None,
    };
    vec![
        setting(
            "sales",
            AttachIfResponsibleInQueue,
            Lead,
            Contact,
            &[1, 2, 3],
            1,
        ),
        setting("info", AttachAlways, Deal, Lead, &[2, 4, 2], 2),
        setting("new", AlwaysNew, Contact, Nothing, &[3, 4], 4),
        Setting {
            save_since_hour: Some(3),
            ..setting("few", AttachIfResponsibleInQueue, Contact, Deal, &[5], 5)
        },
        setting("none", AttachAlways, Nothing, Contact, &[4], 3),
    ]
}

/// Events with so many letters.
pub fn events(seed: u64, letters: usize) -> Vec<Event> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut made: Vec<Letter> = Vec::new();
    // The last mailbox begins with its integration off.
    let mut events = vec![Event::Switch(settings().len() - 1, true, false)];
    while made.len() < letters {
        let event = match dice.random_range(0..100) {
            0..4 => Event::Active(dice.random_range(1..USERS), dice.random_bool(0.7)),
            4..8 => Event::Close(dice.random_range(0..1_000)),
            8..11 => Event::Reassign(dice.random_range(0..1_000), dice.random_range(1..USERS)),
            11..14 => Event::Contact(dice.random_range(0..1_000), dice.random_range(1..USERS)),
            14..18 => Event::Switch(
                dice.random_range(0..settings().len()),
                dice.random_bool(0.6),
                dice.random_bool(0.85),
            ),
            18 => {
                // One sender floods a mailbox within an hour.
                let mailbox = dice.random_range(0..settings().len());
                let (sender, hour) = (client(&mut dice), dice.random_range(0..8));
                let flood = (0..15)
                    .map(|_| {
                        let letter = letter(&mut dice, mailbox, &mut made);
                        let own = settings()[mailbox].address.clone();
                        let place = made.len() - 1;
                        made[place] = Letter {
                            id: place,
                            from: sender.clone(),
                            to: vec![own],
                            lies: Lies::Inbox,
                            is_received: true,
                            hour,
                            ..letter
                        };
                        made[place].clone()
                    })
                    .collect();
                Event::Batch(mailbox, flood)
            }
            _ => {
                let mailbox = dice.random_range(0..settings().len());
                let size = dice.random_range(1..14).min(letters - made.len());
                let batch: Vec<Letter> = (0..size)
                    .map(|_| letter(&mut dice, mailbox, &mut made))
                    .collect();
                Event::Batch(mailbox, batch)
            }
        };
        events.push(event);
    }
    events
}

fn client(dice: &mut StdRng) -> String {
    // A few write often; most write once or twice.
    let number = match dice.random_range(0..10) {
        0..4 => dice.random_range(0..8),
        _ => dice.random_range(0..900),
    };
    match number % 29 {
        0 => format!("c{number}@{EXCLUDED}"),
        1 => format!("c{number}@always.example"),
        _ => format!("c{number}@client.example"),
    }
}

fn letter(dice: &mut StdRng, mailbox: usize, made: &mut Vec<Letter>) -> Letter {
    let own = settings()[mailbox].address.clone();
    // Some are copies of what another mailbox has.
    if !made.is_empty() && dice.random_bool(0.04) {
        let known = &made[dice.random_range(0..made.len())];
        if known.lies == Lies::Inbox && !known.is_forged {
            let copy = known.clone();
            made.push(copy.clone());
            return copy;
        }
    }
    let id = made.len();
    let is_ours = dice.random_bool(0.25);
    let colleague = format!("u{}@us.example", dice.random_range(1..USERS));
    let person = client(dice);
    let (from, to) = if is_ours {
        let to = if dice.random_bool(0.15) {
            colleague.clone()
        } else {
            person
        };
        (own, to)
    } else {
        let from = if dice.random_bool(0.05) {
            colleague.clone()
        } else {
            person
        };
        (from, own)
    };
    let mut letter = Letter {
        id,
        lies: match (is_ours, dice.random_range(0..40)) {
            (true, 0) => Lies::Inbox,
            (true, _) => Lies::Sent,
            (false, 0..2) => Lies::Spam,
            (false, 2) => Lies::Trash,
            (false, _) => Lies::Inbox,
        },
        from,
        is_forged: !is_ours && dice.random_bool(0.02),
        to: vec![to],
        subject: format!("Matter {}", dice.random_range(0..400)),
        replies_to: None,
        references: vec![],
        automatic: dice.random_bool(0.06).then(|| {
            [
                "Auto-Submitted: auto-generated",
                "List-Id: <l.example>",
                "Precedence: bulk",
            ][dice.random_range(0..3)]
        }),
        is_received: !is_ours || dice.random_bool(0.5),
        hour: dice.random_range(0..8),
        is_backfill: dice.random_bool(0.2),
    };
    if dice.random_bool(0.2) {
        letter.to.push(colleague);
    }
    if dice.random_bool(0.1) {
        letter.to.push(client(dice));
    }
    answer(dice, &mut letter, made);
    made.push(letter.clone());
    letter
}

/// Some answer a letter: mostly one between the same people, at times any, at times one that comes later.
fn answer(dice: &mut StdRng, letter: &mut Letter, made: &[Letter]) {
    if made.is_empty() || !dice.random_bool(0.45) {
        return;
    }
    let between = |other: &&Letter| {
        let everybody = |letter: &Letter| [vec![letter.from.clone()], letter.to.clone()].concat();
        everybody(other)
            .iter()
            .filter(|person| everybody(letter).contains(person))
            .count()
            > 1
    };
    let related: Vec<&Letter> = made
        .iter()
        .rev()
        .take(400)
        .filter(between)
        .take(6)
        .collect();
    let found = match dice.random_range(0..10) {
        0 => Some(&made[dice.random_range(0..made.len())]),
        _ if related.is_empty() => None,
        _ => Some(related[dice.random_range(0..related.len())]),
    };
    if dice.random_range(0..12) == 0 {
        // The letter that it names comes soon, or never.
        letter.replies_to = Some(letter.id + dice.random_range(1..4));
        return;
    }
    let Some(found) = found else { return };
    match dice.random_range(0..4) {
        0 => letter.references = vec![found.id],
        1 => {
            letter.references = vec![found.id];
            letter.subject = format!("Re: AW: {}", found.subject);
        }
        _ => {
            letter.replies_to = Some(found.id);
            letter.references = found.references.iter().copied().chain([found.id]).collect();
            letter.subject = format!("Re: {}", found.subject);
        }
    }
}

impl Letter {
    /// As it comes over the wire.
    pub fn raw(&self) -> String {
        let name = |id: &usize| format!("<{id}@mail.example>");
        let mut headers = String::new();
        if let Some(id) = &self.replies_to {
            headers += &format!("In-Reply-To: {}\r\n", name(id));
        }
        if !self.references.is_empty() {
            let names: Vec<String> = self.references.iter().map(name).collect();
            headers += &format!("References: {}\r\n", names.join(" "));
        }
        if let Some(automatic) = self.automatic {
            headers += &format!("{automatic}\r\n");
        }
        if self.is_forged {
            headers += "From: boss@elsewhere.example\r\n";
        }
        let to = self.to.join(", ");
        let raw = with(
            &headers,
            &self.from,
            &to,
            &self.subject,
            &self.id.to_string(),
        );
        if self.is_received {
            raw
        } else {
            raw.split_once("\r\n").unwrap().1.to_owned()
        }
    }

    pub fn how(&self) -> How {
        How {
            is_seen: false,
            is_backfill: self.is_backfill,
            at: NINE.plus_seconds(self.hour * 3_600),
        }
    }

    pub fn folder(&self, postbox: &Postbox) -> mailroom::model::FolderId {
        match self.lies {
            Lies::Inbox => postbox.inbox,
            Lies::Sent => postbox.sent,
            Lies::Spam => postbox.spam,
            Lies::Trash => postbox.trash,
        }
    }
}

/// The office that the letters come to: users (the first is Ada, the administrator) and mailboxes.
pub fn open(office: &Office) -> (Vec<UserId>, Vec<Postbox>) {
    let mut users = vec![office.admin.user_id];
    users.extend((1..USERS).map(|number| office.employee(&format!("u{number}"))));
    office.write(&format!(
        "UPDATE crm_settings SET sender_limit_per_hour = {SENDER_LIMIT}"
    ));
    office.write(&format!(
        "INSERT INTO crm_exclusions (pattern) VALUES ('{EXCLUDED}')"
    ));
    let boxes = settings()
        .iter()
        .map(|setting| {
            office.postbox(&setting.address, users[setting.connector], |settings| {
                settings.existing_client_routing = setting.mode;
                settings.incoming_creates = setting.incoming;
                settings.outgoing_creates = setting.outgoing;
                settings.queue = setting.queue.iter().map(|&user| users[user]).collect();
                settings.always_new_lead_for = vec![setting.always_new.to_owned()];
                settings.save_since = setting
                    .save_since_hour
                    .map(|hour| NINE.plus_seconds(hour * 3_600));
            })
        })
        .collect();
    (users, boxes)
}
