//! What the demo's mails say, in eight languages. `{machine}`, `{count}` and `{company}` are filled in.
//! Not for: headers and encodings (`compose`).

use super::super::clients::Language;

/// Which mailbox a conversation belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Desk {
    Sales,
    Service,
}

/// One subject of conversation with what is said in turn: the client asks, we answer, the client goes on, we close.
#[derive(Debug, Clone, Copy)]
pub struct Topic {
    pub desk: Desk,
    pub subject: &'static str,
    pub turns: [&'static str; 4],
}

/// How a letter begins and ends in a language, how a reply introduces the quoted text, and its subject's prefix.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    pub greeting: &'static str,
    pub closing: &'static str,
    /// `{date}` and `{name}` are filled in.
    pub quoting: &'static str,
    pub reply: &'static str,
}

/// The manners of a language.
pub const fn manners(language: Language) -> Manners {
    let (greeting, closing, quoting, reply) = match language {
        Language::English => (
            "Hello,",
            "Kind regards,",
            "On {date}, {name} wrote:",
            "Re: ",
        ),
        Language::German => (
            "Guten Tag,",
            "Mit freundlichen Grüßen",
            "Am {date} schrieb {name}:",
            "AW: ",
        ),
        Language::French => (
            "Bonjour,",
            "Bien cordialement,",
            "Le {date}, {name} a écrit :",
            "RE: ",
        ),
        Language::Spanish => (
            "Buenos días:",
            "Un cordial saludo,",
            "El {date}, {name} escribió:",
            "RE: ",
        ),
        Language::Polish => (
            "Dzień dobry,",
            "Z poważaniem",
            "W dniu {date} {name} pisze:",
            "Odp: ",
        ),
        Language::Russian => (
            "Здравствуйте!",
            "С уважением,",
            "{date}, {name} пишет:",
            "Re: ",
        ),
        Language::Japanese => (
            "お世話になっております。",
            "よろしくお願いいたします。",
            "{date} {name}:",
            "Re: ",
        ),
        Language::Arabic => (
            "السلام عليكم،",
            "مع أطيب التحيات،",
            "كتب {name} في {date}:",
            "رد: ",
        ),
    };
    Manners {
        greeting,
        closing,
        quoting,
        reply,
    }
}

/// The topics of a language.
pub const fn topics(language: Language) -> &'static [Topic] {
    match language {
        Language::English => &ENGLISH,
        Language::German => &GERMAN,
        Language::French => &FRENCH,
        Language::Spanish => &SPANISH,
        Language::Polish => &POLISH,
        Language::Russian => &RUSSIAN,
        Language::Japanese => &JAPANESE,
        Language::Arabic => &ARABIC,
    }
}

const fn sales(subject: &'static str, turns: [&'static str; 4]) -> Topic {
    Topic {
        desk: Desk::Sales,
        subject,
        turns,
    }
}

const fn service(subject: &'static str, turns: [&'static str; 4]) -> Topic {
    Topic {
        desk: Desk::Service,
        subject,
        turns,
    }
}

const ENGLISH: [Topic; 8] = [
    sales(
        "Quote for {count} × {machine}",
        [
            "We are refitting the bar at {company} in spring and would like a quote for {count} {machine}, delivered and installed. Could you include a service contract for three years, and tell us whether the steam arm comes in black?",
            "Thank you for asking. Our quote is attached: {count} {machine} with installation and three years of service. The steam arm comes in black at no extra charge. The price holds for thirty days.",
            "That looks good. One question before I take it to the owners: is the water softener included, or do we need to order it separately?",
            "The softener is included. I have added a line that says so and attached the quote once more. Shall I reserve the machines for week 14?",
        ],
    ),
    sales(
        "Delivery date of our {machine}",
        [
            "Our opening has moved forward by two weeks. Is there any chance of having the {machine} at {company} before the 12th?",
            "I have spoken to the workshop: your {machine} passes its pressure test on Thursday and can leave on Friday. The carrier will call you the day before.",
            "Wonderful, thank you. The delivery has to come through the yard, since the front door is too narrow. Plan attached.",
            "Noted. The driver has the plan and brings a stair climber.",
        ],
    ),
    sales(
        "Can we try the {machine} first?",
        [
            "We like what we read about the {machine}, but my baristas would like an hour with it before we decide. Do you have a showroom near us, or could you lend us one?",
            "Gladly. We can lend you one for two weeks; a technician sets it up and shows your team around. Which Monday would suit you?",
            "The Monday after next would be perfect. We open at nine, so somebody at seven would be great.",
            "Booked for seven o'clock. You will need a 20 A socket within two metres.",
        ],
    ),
    sales(
        "Invoice and VAT number",
        [
            "Our bookkeeper says that the last invoice shows our old VAT number. Could you send a corrected one? The number is in the signature of {company}.",
            "Sorry about that. The corrected invoice is attached, and I have changed the number for all that follow.",
            "Received, thank you. It will be paid with Friday's run.",
            "Thank you, that is all we need.",
        ],
    ),
    sales(
        "Volume discount for next year",
        [
            "We expect to open four more places next year and would need about {count} {machine} in each. What can you do for us on the price if we commit now?",
            "Congratulations! From twelve machines on we give nine per cent, and the grinders at cost. A draft of the frame contract is attached.",
            "Nine is close to what we hoped for. Could the payment terms go from 30 to 60 days?",
            "Sixty days is fine with a deposit of twenty per cent. I will send the final contract tomorrow.",
        ],
    ),
    service(
        "{machine} loses pressure",
        [
            "Since this morning our {machine} drops from nine to six bar in the middle of a shot. The group gaskets are new. A photo of the gauge is attached.",
            "That sounds like the expansion valve. Please close the water for a minute and turn the valve by a quarter. If it still drops, a technician comes tomorrow before you open.",
            "Turning the valve helped for an hour, now it is back at six. Tomorrow morning, please.",
            "Our technician will be there at half past six with a new valve. It is covered by your warranty.",
        ],
    ),
    service(
        "Spare parts",
        [
            "Could you send us two shower screens and a set of gaskets for the {machine}? The list with part numbers is attached.",
            "Everything is in stock and leaves today. One part number has changed; the new one fits as well.",
            "The parcel is here, thank you for being so quick.",
            "Happy to hear it. Have a good week.",
        ],
    ),
    service(
        "Yearly service visit",
        [
            "It must be a year since your last visit to {company}. When could somebody come for the yearly service? Tuesdays are quiet here.",
            "Tuesday the week after next at two? It takes ninety minutes, and the machine must be cold.",
            "Two o'clock is fine. We will switch it off at noon.",
            "Booked. You will get a reminder the day before.",
        ],
    ),
];

const GERMAN: [Topic; 4] = [
    sales(
        "Angebot für {count} × {machine}",
        [
            "für die Neueröffnung von {company} benötigen wir {count} {machine} samt Einbau. Können Sie uns bis Freitag ein Angebot schicken? Wichtig wäre eine Lieferung vor Ostern.",
            "vielen Dank für Ihre Anfrage. Anbei unser Angebot über {count} {machine}, gültig bis Monatsende. Die Lieferung vor Ostern ist möglich, wenn Sie bis nächste Woche bestellen.",
            "das Angebot gefällt uns. Ist die Schulung für unsere Mitarbeiter im Preis enthalten, und gewähren Sie Skonto?",
            "die Schulung ist enthalten, und bei Zahlung innerhalb von zehn Tagen gewähren wir zwei Prozent Skonto. Das geänderte Angebot liegt bei.",
        ],
    ),
    sales(
        "Liefertermin {machine}",
        [
            "die Spedition hat sich noch nicht gemeldet. Steht der Termin für unsere {machine} noch? Unser Küchenbauer fragt täglich.",
            "Ihre {machine} verlässt am Mittwoch unser Werk. Die Spedition ruft Sie einen Tag vorher an.",
            "prima, dann plane ich den Elektriker für Freitag ein. Die Zufahrt ist nur über die Rückseite möglich.",
            "ist vermerkt, der Fahrer kommt über den Hof.",
        ],
    ),
    service(
        "{machine}: Brühgruppe tropft",
        [
            "seit gestern tropft die linke Brühgruppe unserer {machine} auch im Leerlauf. Wir haben die Dichtung schon getauscht. Ein Foto hängt an.",
            "das klingt nach dem Magnetventil. Bitte spülen Sie die Gruppe einmal blind; hilft das nicht, kommt morgen früh ein Techniker.",
            "leider tropft sie weiter. Morgen ab sieben Uhr ist jemand da.",
            "unser Techniker kommt um sieben und bringt das Ventil mit. Es fällt unter die Gewährleistung.",
        ],
    ),
    service(
        "Ersatzteile für die {machine}",
        [
            "wir brauchen zwei Duschsiebe und einen Satz Dichtungen für die {machine}. Die Liste mit den Teilenummern liegt bei.",
            "alles ist vorrätig und geht heute noch zur Post.",
            "das Päckchen ist da, herzlichen Dank für die schnelle Lieferung!",
            "gern geschehen. Schöne Woche noch!",
        ],
    ),
];

const FRENCH: [Topic; 4] = [
    sales(
        "Demande de devis : {count} × {machine}",
        [
            "Nous rénovons {company} cet été et souhaiterions un devis pour {count} {machine}, pose et formation comprises. Est-il possible d'avoir la carrosserie en crème ?",
            "Merci de votre intérêt. Vous trouverez ci-joint notre devis pour {count} {machine}. La carrosserie existe en crème, sans supplément.",
            "Le devis nous convient. Pourriez-vous préciser le délai de livraison et les conditions de paiement ?",
            "Comptez cinq semaines après la commande, avec un acompte de 30 %. Le devis complété est joint.",
        ],
    ),
    sales(
        "Facture à corriger",
        [
            "La dernière facture porte encore notre ancienne adresse. Pourriez-vous nous en envoyer une corrigée, au nom de {company} ?",
            "Toutes nos excuses. La facture corrigée est jointe, et l'adresse est à jour pour la suite.",
            "Bien reçu, merci. Le règlement partira vendredi.",
            "Parfait, merci à vous.",
        ],
    ),
    service(
        "Panne de la {machine}",
        [
            "Depuis ce matin, notre {machine} affiche l'erreur E4 et ne chauffe plus. C'est notre jour de marché, pouvez-vous nous aider rapidement ? Photo ci-jointe.",
            "L'erreur E4 vient souvent de la sonde de niveau. Débranchez la machine deux minutes ; si l'erreur revient, un technicien passe cet après-midi.",
            "L'erreur est revenue. Nous vous attendons cet après-midi, merci !",
            "Le technicien sera chez vous à quinze heures avec une sonde neuve.",
        ],
    ),
    service(
        "Détartrage annuel",
        [
            "Il est temps de détartrer la machine de {company}. Quand pourriez-vous passer ? Nous fermons le lundi.",
            "Lundi en quinze à dix heures ? Il faut compter deux heures, machine froide.",
            "C'est noté, à lundi.",
            "Très bien, à bientôt.",
        ],
    ),
];

const SPANISH: [Topic; 4] = [
    sales(
        "Presupuesto para {count} × {machine}",
        [
            "Abrimos un segundo local de {company} en septiembre y necesitamos {count} {machine} con instalación. ¿Podrían enviarnos un presupuesto con y sin contrato de mantenimiento?",
            "Muchas gracias por su interés. Adjuntamos el presupuesto de {count} {machine} en las dos variantes. Es válido durante treinta días.",
            "Nos interesa la opción con mantenimiento. ¿Cuántos años de garantía tiene la caldera?",
            "La caldera tiene cinco años de garantía. Adjunto el presupuesto definitivo para su firma.",
        ],
    ),
    sales(
        "¿Cuándo llega nuestra {machine}?",
        [
            "La inauguración es el día 20 y todavía no tenemos fecha para la {machine}. ¿Nos pueden confirmar la entrega?",
            "Su {machine} sale de fábrica el martes y llegará el jueves por la mañana.",
            "¡Estupendo! El acceso es por la calle de atrás, por favor avisen al conductor.",
            "Avisado. Mucha suerte con la inauguración.",
        ],
    ),
    service(
        "La {machine} no muele fino",
        [
            "El molino no pasa de un grano medio aunque lo ajustemos al mínimo. ¿Serán las muelas? Adjunto una foto.",
            "Por la foto, las muelas están gastadas: después de unos 500 kg hay que cambiarlas. Le enviamos un juego hoy.",
            "Perfecto, ¿lo podemos cambiar nosotros mismos?",
            "Sí, son tres tornillos; en el paquete va una hoja con los pasos.",
        ],
    ),
    service(
        "Visita de mantenimiento",
        [
            "Nos gustaría concertar la revisión anual en {company}. Los martes por la tarde tenemos poca gente.",
            "¿Le va bien el martes 14 a las cuatro? Dura hora y media.",
            "Perfecto, el martes a las cuatro.",
            "Queda anotado. ¡Hasta el martes!",
        ],
    ),
];

const POLISH: [Topic; 3] = [
    sales(
        "Zapytanie o ofertę: {count} × {machine}",
        [
            "przygotowujemy otwarcie nowego lokalu {company} i prosimy o ofertę na {count} {machine} z montażem. Zależy nam na terminie przed świętami.",
            "dziękujemy za zapytanie. W załączeniu oferta na {count} {machine}; dostawa przed świętami jest możliwa.",
            "oferta wygląda dobrze. Czy szkolenie dla baristów jest wliczone w cenę?",
            "tak, szkolenie jest wliczone. Przesyłam ofertę uzupełnioną o ten punkt.",
        ],
    ),
    sales(
        "Faktura korygująca",
        [
            "na ostatniej fakturze jest błędny NIP. Prosimy o fakturę korygującą dla {company}.",
            "przepraszamy za pomyłkę. Faktura korygująca jest w załączniku.",
            "dziękujemy, przelew wyjdzie w piątek.",
            "dziękujemy i życzymy miłego dnia.",
        ],
    ),
    service(
        "{machine} nie grzeje",
        [
            "od rana {machine} nie osiąga temperatury, a kontrolka miga na czerwono. Zdjęcie w załączniku. Co możemy zrobić?",
            "proszę wyłączyć ekspres na dwie minuty i sprawdzić poziom wody. Jeśli to nie pomoże, technik przyjedzie jutro o siódmej.",
            "niestety nie pomogło. Czekamy jutro o siódmej.",
            "technik będzie o siódmej z nową grzałką. Naprawa jest objęta gwarancją.",
        ],
    ),
];

const RUSSIAN: [Topic; 3] = [
    sales(
        "Коммерческое предложение: {count} × {machine}",
        [
            "Мы открываем вторую кофейню и хотели бы получить предложение на {count} {machine} с установкой и обучением. Когда возможна поставка?",
            "Спасибо за запрос. Предложение на {count} {machine} во вложении, срок поставки — пять недель.",
            "Условия нам подходят. Можно ли разбить оплату на две части?",
            "Да, половина при заказе и половина после установки. Обновлённое предложение во вложении.",
        ],
    ),
    sales(
        "Срок поставки {machine}",
        [
            "Подскажите, пожалуйста, когда будет отправлена наша {machine}? Ремонт почти закончен.",
            "Машина прошла проверку и отправляется в среду. Перевозчик позвонит за день.",
            "Отлично, будем ждать. Въезд со двора.",
            "Передали водителю. Удачного открытия!",
        ],
    ),
    service(
        "{machine}: ошибка E2",
        [
            "Сегодня утром машина показала ошибку E2 и не набирает воду. Фильтр меняли месяц назад. Фото во вложении.",
            "Ошибка E2 — это датчик потока. Промойте, пожалуйста, входной фильтр; если не поможет, пришлём техника.",
            "Помогло, машина снова работает. Спасибо большое!",
            "Рады помочь. Хорошего дня!",
        ],
    ),
];

const JAPANESE: [Topic; 3] = [
    sales(
        "見積もりのお願い",
        [
            "新しい店のために {machine} を {count} 台考えています。設置の費用も含めて、見積もりをお送りいただけますか。",
            "お問い合わせありがとうございます。{machine} {count} 台の見積もりをお送りします。ご確認ください。",
            "ありがとうございます。納期はどのくらいですか。四月の開店に間に合えば助かります。",
            "ご注文から五週間でお届けできます。四月の開店に間に合います。",
        ],
    ),
    sales(
        "納期の確認",
        [
            "先日注文した {machine} の納期を教えてください。工事は来週終わります。",
            "来週の水曜日に出荷します。前の日にお電話いたします。",
            "わかりました。入口は裏の通りです。",
            "ありがとうございます。運転手に伝えました。",
        ],
    ),
    service(
        "{machine} の修理について",
        [
            "今朝から {machine} の圧力が上がりません。写真を送ります。どうすればよいですか。",
            "写真をありがとうございます。弁の調整が必要です。明日の朝、技術者が伺います。",
            "明日の朝七時にお待ちしています。",
            "七時に伺います。部品も持って行きます。",
        ],
    ),
];

const ARABIC: [Topic; 3] = [
    sales(
        "طلب عرض سعر: {machine}",
        [
            "نجهّز مقهى جديداً في {company} ونحتاج إلى {count} من {machine} مع التركيب. هل يمكنكم إرسال عرض سعر يشمل الصيانة؟",
            "شكراً لاهتمامكم. تجدون في المرفق عرض السعر لعدد {count} من {machine} مع عقد صيانة لثلاث سنوات.",
            "العرض مناسب. ما هي مدة التسليم وهل الشحن مشمول؟",
            "التسليم خلال خمسة أسابيع والشحن مشمول. أرفقت العرض المحدّث.",
        ],
    ),
    sales(
        "موعد التسليم",
        [
            "اقترب موعد الافتتاح، فمتى تصل ماكينة {machine}؟",
            "تغادر الماكينة المصنع يوم الأربعاء وتصلكم خلال أسبوعين.",
            "ممتاز، شكراً جزيلاً. مدخل البضائع من الشارع الخلفي.",
            "أبلغنا السائق بذلك. نتمنى لكم افتتاحاً موفقاً.",
        ],
    ),
    service(
        "عطل في {machine}",
        [
            "توقفت ماكينة {machine} عن التسخين منذ الصباح. أرفقت صورة للشاشة. ماذا نفعل؟",
            "يرجى فصل الكهرباء دقيقتين ثم التشغيل من جديد. إن لم تعمل نرسل فنياً غداً.",
            "عادت للعمل، شكراً لكم على السرعة.",
            "يسعدنا ذلك. نهاركم سعيد.",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Language; 8] = [
        Language::English,
        Language::German,
        Language::French,
        Language::Spanish,
        Language::Polish,
        Language::Russian,
        Language::Japanese,
        Language::Arabic,
    ];

    #[test]
    fn every_language_can_write_to_both_desks() {
        for language in ALL {
            for desk in [Desk::Sales, Desk::Service] {
                assert!(
                    topics(language).iter().any(|topic| topic.desk == desk),
                    "{language:?} {desk:?}"
                );
            }
        }
    }

    #[test]
    fn only_known_blanks_are_left_to_fill_in() {
        for topic in ALL.iter().flat_map(|language| topics(*language)) {
            for text in topic.turns.iter().chain([&topic.subject]) {
                let rest = text
                    .replace("{machine}", "")
                    .replace("{count}", "")
                    .replace("{company}", "");
                assert!(!rest.contains(['{', '}']), "{text}");
            }
        }
    }
}
