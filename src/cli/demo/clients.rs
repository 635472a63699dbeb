//! The clients of the demo's company: contacts of hotels, cafés and roasteries, deals and leads with them.
//! Not for: the company itself (`company`).

use super::dice::Dice;

/// The language in which somebody writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    English,
    German,
    French,
    Spanish,
    Polish,
    Russian,
    Japanese,
    Arabic,
}

/// Somebody outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub name: &'static str,
    pub address: String,
    pub company: &'static str,
    pub language: Language,
    pub phone: String,
    /// The login of the employee who is responsible.
    pub responsible: &'static str,
    pub open_to_everyone: bool,
}

/// A deal, with the places of its contacts in the list of contacts.
#[derive(Debug, Clone)]
pub struct Deal {
    pub title: String,
    /// The name of its stage.
    pub stage: &'static str,
    /// Decimal as text.
    pub amount: String,
    pub currency: &'static str,
    pub contacts: Vec<usize>,
    pub responsible: &'static str,
    pub open_to_everyone: bool,
}

/// A lead.
#[derive(Debug, Clone)]
pub struct Lead {
    pub title: String,
    pub name: &'static str,
    pub address: String,
    pub source: &'static str,
    pub language: Language,
    pub responsible: &'static str,
    pub open_to_everyone: bool,
}

use Language::{Arabic, English, French, German, Japanese, Polish, Russian, Spanish};

/// A client company: name, domain, language, currency.
type House = (&'static str, &'static str, Language, &'static str);

const HOUSES: [House; 20] = [
    ("Hotel Adlerhof", "adlerhof.example", German, "EUR"),
    (
        "Kaffeehaus Grünwald",
        "gruenwald-kaffee.example",
        German,
        "EUR",
    ),
    ("Rösterei Morgenrot", "morgenrot.example", German, "CHF"),
    (
        "Café des Tilleuls",
        "cafedestilleuls.example",
        French,
        "EUR",
    ),
    ("Brûlerie du Port", "brulerieduport.example", French, "EUR"),
    ("Cafés El Faro", "elfaro.example", Spanish, "EUR"),
    ("Hostal La Alameda", "laalameda.example", Spanish, "MXN"),
    ("Palarnia Złota", "palarnia-zlota.example", Polish, "PLN"),
    ("Kawiarnia Pod Lipą", "podlipa.example", Polish, "PLN"),
    ("Кофейня «Северная»", "severnaya.example", Russian, "EUR"),
    ("喫茶青葉", "aoba-kissa.example", Japanese, "JPY"),
    (
        "株式会社みなと珈琲",
        "minatocoffee.example",
        Japanese,
        "JPY",
    ),
    ("فندق الواحة", "alwaha-hotel.example", Arabic, "AED"),
    (
        "Harbour Street Roasters",
        "harbourstreet.example",
        English,
        "GBP",
    ),
    ("The Copper Kettle", "copperkettle.example", English, "GBP"),
    ("Lagoon View Hotels", "lagoonview.example", English, "USD"),
    ("Nordlys Kaffe", "nordlyskaffe.example", English, "NOK"),
    ("Bean & Gone", "beanandgone.example", English, "USD"),
    (
        "Espresso Quartet",
        "espressoquartet.example",
        English,
        "EUR",
    ),
    ("Masala Mornings", "masalamornings.example", English, "INR"),
];

/// A contact: name, the address before the `@`, the place of the house.
const CONTACTS: [(&str, &str, usize); 40] = [
    ("Anneliese Hofmann", "a.hofmann", 0),
    ("Jürgen Weiß", "weiss", 0),
    ("Katharina Grünwald", "katharina", 1),
    ("Emre Yıldız", "emre.yildiz", 1),
    ("Urs Zbinden", "urs", 2),
    ("Seraina Caflisch", "seraina", 2),
    ("Hélène Lefèvre", "helene.lefevre", 3),
    ("Mathieu Garçon", "mathieu", 3),
    ("Yasmine Benali", "y.benali", 4),
    ("Loïc Le Goff", "loic", 4),
    ("Íñigo Etxeberria", "inigo", 5),
    ("María José Núñez", "mj.nunez", 5),
    ("Guadalupe Ortiz", "lupita", 6),
    ("Álvaro Peña", "alvaro.pena", 6),
    ("Grzegorz Brzęczyszczykiewicz", "grzegorz", 7),
    ("Małgorzata Śliwa", "malgorzata.sliwa", 7),
    ("Łukasz Żak", "lukasz", 8),
    ("Agnieszka Jabłońska", "agnieszka", 8),
    ("Ольга Соколова", "olga.sokolova", 9),
    ("Андрей Королёв", "korolev", 9),
    ("佐藤 花子", "sato", 10),
    ("渡辺 健一", "watanabe", 10),
    ("高橋 直樹", "takahashi", 11),
    ("鈴木 美咲", "suzuki", 11),
    ("ليلى حداد", "layla.haddad", 12),
    ("عمر الفارسي", "omar", 12),
    ("Siobhán O’Connor", "siobhan", 13),
    ("Rhys Llewellyn", "rhys", 13),
    ("Margaret Ashworth", "margaret", 14),
    ("Tunde Adeyemi", "tunde", 14),
    ("Keala Kahananui", "keala", 15),
    ("Dolores Vandermeer", "d.vandermeer", 15),
    ("Bjørn Håkonsen", "bjorn", 16),
    ("Sunniva Aas", "sunniva", 16),
    ("Maya Goldberg", "maya", 17),
    ("Deshawn Carter", "deshawn", 17),
    ("Nguyễn Thị Lan", "lan", 18),
    ("Søren Kjær", "soren", 18),
    ("Aishwarya Iyer", "aishwarya", 19),
    ("Harpreet Singh", "harpreet", 19),
];

/// Who wrote once and is no client yet: name, address, language, what they want.
const LEADS: [(&str, &str, Language, &str); 20] = [
    (
        "Beatrix Engel",
        "beatrix@engel-und-sohn.example",
        German,
        "Zwei Siebträger für die Kantine",
    ),
    (
        "Florian Achleitner",
        "f.achleitner@almblick.example",
        German,
        "Leihmaschine für die Sommersaison",
    ),
    (
        "Pascale Roussel",
        "pascale@lapetitecuillere.example",
        French,
        "Machine pour un salon de thé",
    ),
    (
        "Amadou Diallo",
        "amadou.diallo@dakarbeans.example",
        French,
        "Distributeur au Sénégal",
    ),
    (
        "Carmen Villalobos",
        "carmen@dulcehogar.example",
        Spanish,
        "Molinillos para tres locales",
    ),
    (
        "Joaquín Ibarra",
        "jibarra@estacioncentral.example",
        Spanish,
        "Máquina para la estación",
    ),
    (
        "Zofia Krawczyk",
        "zofia@krawczyk-catering.example",
        Polish,
        "Ekspres do cateringu",
    ),
    (
        "Виктор Лебедев",
        "lebedev@lebedev-cafe.example",
        Russian,
        "Кофемашина для пекарни",
    ),
    (
        "山本 恵",
        "yamamoto@hoshinoya.example",
        Japanese,
        "旅館のラウンジ用エスプレッソマシン",
    ),
    (
        "خالد منصور",
        "khaled@mansour-trading.example",
        Arabic,
        "عرض أسعار لآلات القهوة",
    ),
    (
        "Fiona MacLeod",
        "fiona@skyebothy.example",
        English,
        "A small machine for a bothy café",
    ),
    (
        "Hamish Baird",
        "hamish@bairdbakes.example",
        English,
        "Trade-in of an old two-group",
    ),
    (
        "Olivia Chen",
        "olivia.chen@northgatecowork.example",
        English,
        "Coffee point for a co-working floor",
    ),
    (
        "Rashid Karimov",
        "rashid@silkroadtea.example",
        English,
        "Reseller terms for Tashkent",
    ),
    (
        "Tamsin Treloar",
        "tamsin@cornishcup.example",
        English,
        "Beach kiosk, needs a low-power machine",
    ),
    (
        "Ebba Lindgren",
        "ebba@fikarummet.example",
        English,
        "Office machines, forty people",
    ),
    (
        "Mateus Carvalho",
        "mateus@pontocafe.example",
        English,
        "Import to Portugal",
    ),
    (
        "Wanjiru Kamau",
        "wanjiru@highlandcoffee.example",
        English,
        "Training machine for a farm school",
    ),
    (
        "Noor van Dijk",
        "noor@grachtkoffie.example",
        English,
        "Canal boat, 230 V, narrow",
    ),
    (
        "Leilani Akana",
        "leilani@mauimocha.example",
        English,
        "Wholesale price list",
    ),
];

const SELLERS: [&str; 6] = [
    "amara.okafor",
    "luca.bianchi",
    "mei.tanaka",
    "sofia.herrera",
    "jonas.brandt",
    "priya.raman",
];

const MACHINES: [(&str, u32); 5] = [
    ("Tarn Solo", 3_400),
    ("Tarn Duo", 7_900),
    ("Tarn Trio", 11_600),
    ("Vale 64 grinder", 1_250),
    ("Vale water station", 890),
];

/// Names of the machines, for texts in any language.
pub fn machines() -> impl Iterator<Item = &'static str> {
    MACHINES.iter().map(|(name, _)| *name)
}

/// The seller for a language, or any.
fn seller(dice: &mut Dice, language: Language) -> &'static str {
    match language {
        Japanese => "mei.tanaka",
        Spanish => "sofia.herrera",
        German => "jonas.brandt",
        _ => dice.pick(&SELLERS).copied().unwrap_or("amara.okafor"),
    }
}

/// The forty contacts.
pub fn contacts(dice: &mut Dice) -> Vec<Client> {
    let with_house = CONTACTS
        .iter()
        .filter_map(|contact| Some((contact, HOUSES.get(contact.2)?)));
    with_house
        .map(
            |((name, login, _), (company, domain, language, _))| Client {
                name,
                address: format!("{login}@{domain}"),
                company,
                language: *language,
                // Numbers that Ofcom keeps for drama.
                phone: format!("+44 1632 96{:04}", dice.below(1_000)),
                responsible: seller(dice, *language),
                open_to_everyone: dice.chance(40),
            },
        )
        .collect()
}

/// The thirty deals, at several stages, each with one or two contacts of one house.
pub fn deals(dice: &mut Dice, contacts: &[Client]) -> Vec<Deal> {
    let stages = [
        "New",
        "New",
        "Preparation",
        "Preparation",
        "Proposal",
        "Proposal",
        "Proposal",
        "Won",
        "Lost",
    ];
    (0..30)
        .filter_map(|number: usize| {
            // The first twenty deals visit every house, so that each contact's colleague has one too.
            let first = if number < 20 {
                number * 2
            } else {
                dice.place(contacts.len())?
            };
            let client = contacts.get(first)?;
            let house = HOUSES.iter().find(|house| house.0 == client.company)?;
            let mut together = vec![first];
            if dice.chance(50) {
                together.push(first ^ 1);
            }
            let (machine, price) = dice.pick(&MACHINES)?;
            let count = dice.between(1, 6);
            let net = match house.3 {
                "JPY" => price * 160 * count,
                "INR" => price * 95 * count,
                "NOK" => price * 11 * count,
                _ => price * count,
            };
            let amount = if house.3 == "JPY" {
                net.to_string()
            } else {
                format!("{net}.00")
            };
            Some(Deal {
                title: format!("{count} × {machine} for {}", client.company),
                stage: dice.pick(&stages).copied()?,
                amount,
                currency: house.3,
                contacts: together,
                responsible: client.responsible,
                open_to_everyone: dice.chance(15),
            })
        })
        .collect()
}

/// The twenty leads.
pub fn leads(dice: &mut Dice) -> Vec<Lead> {
    let sources = ["Website", "Trade fair", "Recommendation", "Telephone"];
    LEADS
        .iter()
        .map(|(name, address, language, title)| Lead {
            title: (*title).to_owned(),
            name,
            address: (*address).to_owned(),
            source: dice.pick(&sources).copied().unwrap_or("Website"),
            language: *language,
            responsible: seller(dice, *language),
            open_to_everyone: dice.chance(20),
        })
        .collect()
}

/// People who write for the first time, and so become clients: name, address, language.
pub const STRANGERS: [(&str, &str, Language); 36] = [
    (
        "Gerlinde Pfeiffer",
        "gerlinde@pfeiffer-konditorei.example",
        German,
    ),
    ("Matthias Kühn", "m.kuehn@bergbahn-kuehn.example", German),
    ("Bärbel Öztürk", "baerbel@teestube.example", German),
    (
        "Clémence Dubois",
        "clemence.dubois@latelier-brunch.example",
        French,
    ),
    (
        "François Nguyen",
        "francois@saigon-sur-seine.example",
        French,
    ),
    (
        "Aurélie Saint-Exupère",
        "aurelie@lesgrainsdor.example",
        French,
    ),
    ("Begoña Rodríguez", "begona@tresmares.example", Spanish),
    ("Ñuflo Cárdenas", "nuflo@cafeandino.example", Spanish),
    ("Lucía Fernández", "lucia@panaderialuna.example", Spanish),
    ("Stanisław Wąsik", "stanislaw@pierogarnia.example", Polish),
    ("Kinga Błaszczyk", "kinga@cukierniakinga.example", Polish),
    ("Наталья Журавлёва", "natalia@zhuravleva.example", Russian),
    ("Игорь Щербаков", "igor@shcherbakov-hotel.example", Russian),
    ("伊藤 翔太", "ito@kamakura-cafe.example", Japanese),
    ("小林 由美", "kobayashi@machiya-inn.example", Japanese),
    ("ياسمين خوري", "yasmin@beirutbrew.example", Arabic),
    ("فيصل العتيبي", "faisal@riyadhroasters.example", Arabic),
    (
        "Georgina Whitlock",
        "georgina@whitlockfarmshop.example",
        English,
    ),
    (
        "Babatunde Fashola",
        "babatunde@lekkilounge.example",
        English,
    ),
    ("Ruairí Gallagher", "ruairi@donegaldonuts.example", English),
    ("Mele Tupou", "mele@tongacoffee.example", English),
    ("Anton Petrosyan", "anton@yerevanespresso.example", English),
    ("Catrin Pugh", "catrin@cardiganbaybistro.example", English),
    (
        "Hiroko Nakagawa-Smith",
        "hiroko@smithandnakagawa.example",
        English,
    ),
    ("Zanele Dlamini", "zanele@jozibeans.example", English),
    (
        "Ingeborg de Groot",
        "ingeborg@windmolenbakkerij.example",
        English,
    ),
    (
        "Pradeep Wickramasinghe",
        "pradeep@galleface.example",
        English,
    ),
    ("Tuuli Virtanen", "tuuli@saunakahvila.example", English),
    ("Marek Novotný", "marek@mostcafe.example", English),
    ("Ilse Oberholzer", "ilse@capewinelodge.example", English),
    ("Farhad Rostami", "farhad@persiangarden.example", English),
    ("Jomar Santos", "jomar@manilamorning.example", English),
    (
        "Gwendolyn Achterberg",
        "gwen@achterberg-events.example",
        English,
    ),
    ("Tariq Siddiqui", "tariq@lahorelattes.example", English),
    ("Eirlys Vaughan", "eirlys@snowdoncafe.example", English),
    ("Bram Hendrickx", "bram@koffiekamer.example", English),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn everybody_outside_has_an_address_of_their_own() {
        let mut dice = Dice::new(3);
        let mut addresses: Vec<String> = contacts(&mut dice)
            .into_iter()
            .map(|client| client.address)
            .collect();
        addresses.extend(leads(&mut dice).into_iter().map(|lead| lead.address));
        addresses.extend(STRANGERS.map(|stranger| stranger.1.to_owned()));
        let different: BTreeSet<&String> = addresses.iter().collect();
        assert_eq!(different.len(), 40 + 20 + 36);
        let reserved = |address: &&String| address.ends_with(".example") && address.is_ascii();
        assert_eq!(addresses.iter().filter(reserved).count(), addresses.len());
        assert!(
            !addresses
                .iter()
                .any(|address| address.ends_with(super::super::company::DOMAIN))
        );
    }

    #[test]
    fn deals_stand_at_several_stages_with_contacts_of_one_house() {
        let mut dice = Dice::new(3);
        let people = contacts(&mut dice);
        let deals = deals(&mut dice, &people);
        let stages: BTreeSet<&str> = deals.iter().map(|deal| deal.stage).collect();
        assert!(stages.len() >= 4, "{stages:?}");
        for deal in &deals {
            let houses: BTreeSet<&str> = deal
                .contacts
                .iter()
                .map(|place| people[*place].company)
                .collect();
            assert_eq!(houses.len(), 1, "{}", deal.title);
            assert!(deal.amount.parse::<f64>().unwrap() > 0.0);
        }
    }
}
