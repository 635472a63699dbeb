//! What a mail carries beside its words, and how its files are given (R44).

use crate::on_both;
use crate::spine::connect;
use crate::support::app::text;
use crate::support::dovecot;
use base64::Engine as _;
use serde_json::json;

const ADA: &str = "ada@ours.example";
const PNG: &str = "iVBORw0KGgoAAAANSUhEUg==";

fn newsletter() -> String {
    format!(
        "Received: from client.example by ours.example; Mon, 23 Nov 2026 10:00:00 +0000\r\nFrom: News <news@client.example>\r\nTo: {ADA}\r\n\
         Subject: News\r\nMessage-ID: <news@client.example>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\
         List-Unsubscribe: <mailto:leave@client.example>, <https://client.example/leave?u=1>, <http://client.example/old>\r\n\
         List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
         <p><a href=\"https://evil.example/x\">https://good.example/login</a> <a href=\"https://client.example/offer\">Our offer</a> <img src=\"cid:pic\"></p>\r\n\
         --b\r\nContent-Type: text/calendar; method=REQUEST; charset=utf-8\r\n\r\nBEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1\r\n\
         SUMMARY:Visit\r\nDTSTART;TZID=Europe/Berlin:20261124T100000\r\nORGANIZER;CN=Cleo:mailto:cleo@client.example\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n\
         --b\r\nContent-Type: image/png; name=\"pic.png\"\r\nContent-ID: <pic>\r\nContent-Disposition: inline; filename=\"pic.png\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{PNG}\r\n\
         --b\r\nContent-Type: image/png; name=\"fake.png\"\r\nContent-Disposition: attachment; filename=\"fake.png\"\r\n\r\n<script>alert(1)</script>\r\n\
         --b\r\nContent-Type: application/pgp-signature; name=\"signature.asc\"\r\n\r\nx\r\n\
         --b\r\nContent-Type: application/ms-tnef; name=\"winmail.dat\"\r\nContent-Disposition: attachment\r\n\r\nx\r\n--b--\r\n"
    )
}

on_both! {
    async fn r44_links_invitations_and_lists_are_data_and_files_are_given_in_parts(app) {
        let token = app.admin.clone();
        let dovecot = dovecot::start(&[ADA]);
        dovecot.append(ADA, "INBOX", newsletter().as_bytes()).unwrap();
        let mailbox = connect(&app, &dovecot, &token, ADA).await;
        let query = "{ emails { nodes { bodyHtml bodyLinks { url host text isMisleading } unsubscribe { url mailto isOneClick } specialFormats
            invitation { method summary starts { local zone at } organizer { name address } } attachments { name mediaType url } } } }";
        let data = app.until(&token, (query, json!({})), |data| !data["emails"]["nodes"].as_array().unwrap().is_empty()).await;
        let email = &data["emails"]["nodes"][0];
        assert_eq!(email["unsubscribe"], json!({ "url": "https://client.example/leave?u=1", "mailto": "mailto:leave@client.example", "isOneClick": true }));
        assert_eq!(email["bodyLinks"], json!([
            { "url": "https://evil.example/x", "host": "evil.example", "text": "https://good.example/login", "isMisleading": true },
            { "url": "https://client.example/offer", "host": "client.example", "text": "Our offer", "isMisleading": false },
        ]));
        assert_eq!(email["invitation"], json!({ "method": "REQUEST", "summary": "Visit",
            "starts": { "local": "2026-11-24T10:00:00", "zone": "Europe/Berlin", "at": "2026-11-24T09:00:00Z" },
            "organizer": { "name": "Cleo", "address": "cleo@client.example" } }));
        assert_eq!(email["specialFormats"], json!(["PGP_SIGNED", "TNEF"]));

        let http = reqwest::Client::new();
        let html = text(&email["bodyHtml"]);
        let source = |html: &str| html.split("src=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        // Who reads it after others gets the same body, with addresses of their own.
        let otto = app.user("Otto", "otto@ours.example", false).await;
        app.make(&token, "shareMailbox", json!({ "mailboxId": mailbox, "userIds": [app.viewer_id(&otto).await] }), "mailbox { id }").await;
        let others = text(&app.data(&otto, "{ emails { nodes { bodyHtml } } }", json!({})).await["emails"]["nodes"][0]["bodyHtml"]);
        assert_ne!(source(&html), source(&others));
        assert_eq!(html.replace(&source(&html), ""), others.replace(&source(&others), ""));
        for html in [&html, &others] {
            let picture = http.get(source(html).replace("&amp;", "&")).send().await.unwrap();
            assert_eq!(picture.headers()["content-type"], "image/png");
            assert_eq!(picture.headers()["content-disposition"], "inline");
        }
        let files = email["attachments"].as_array().unwrap();
        let fake = files.iter().find(|file| file["name"] == "fake.png").unwrap();
        let url = text(&fake["url"]);
        // (range, status, what it says, what is given)
        for (range, status, said, given) in [
            (None, 200, None, "<script>alert(1)</script>"),
            (Some("bytes=1-6"), 206, Some("bytes 1-6/25"), "script"),
            (Some("bytes=-9"), 206, Some("bytes 16-24/25"), "</script>"),
            (Some("bytes=30-"), 416, Some("bytes */25"), ""),
            (Some("bytes=0-1,4-5"), 200, None, "<script>alert(1)</script>"),
        ] {
            let request = http.get(&url);
            let request = match range {
                Some(range) => request.header("Range", range),
                None => request,
            };
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), status, "{range:?}");
            let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(header("content-range").as_deref(), said, "{range:?}");
            if status != 416 {
                assert_eq!(header("content-type").as_deref(), Some("application/octet-stream"), "a script is no picture");
                assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"));
                assert_eq!(header("content-security-policy").as_deref(), Some("sandbox; default-src 'none'"));
                assert_eq!(header("accept-ranges").as_deref(), Some("bytes"));
                assert!(header("content-disposition").unwrap().starts_with("attachment;"));
            }
            assert_eq!(answer.text().await.unwrap().trim_end(), given, "{range:?}");
        }
    }
}

/// An attribute of a `winmail.dat`.
fn attribute(level: u8, id: u32, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    [
        &[level],
        id.to_le_bytes().as_slice(),
        &length.to_le_bytes(),
        data,
        &[0, 0],
    ]
    .concat()
}

/// A `winmail.dat` with a letter in rich text alone, and one file.
fn winmail() -> Vec<u8> {
    let rtf = b"\0\0\0\0\0\0\0\0MELA\0\0\0\0{\\rtf1\\ansi The turbine is ready.}  ";
    let length = u32::try_from(rtf.len()).unwrap().to_le_bytes();
    assert_eq!(rtf.len() % 4, 0, "values are padded");
    let properties = [
        &[1, 0, 0, 0, 2, 1, 9, 0x10, 1, 0, 0, 0],
        length.as_slice(),
        rtf,
    ]
    .concat();
    [
        vec![0x78, 0x9f, 0x3e, 0x22, 1, 0],
        attribute(1, 0x0006_9003, &properties),
        attribute(2, 0x0006_9002, &[0; 14]),
        attribute(2, 0x0001_8010, b"..\\turbine<1>.pdf\0"),
        attribute(2, 0x0006_800f, b"%PDF-1.7 turbine"),
    ]
    .concat()
}

fn containers() -> [String; 2] {
    let head = |subject: &str| {
        format!(
            "Received: from client.example by ours.example; Mon, 23 Nov 2026 10:00:00 +0000\r\nFrom: Cleo <cleo@client.example>\r\nTo: {ADA}\r\n\
             Subject: {subject}\r\nMessage-ID: <{subject}@client.example>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        )
    };
    let encoded = base64::engine::general_purpose::STANDARD.encode(winmail());
    let wrapped = format!(
        "{}Content-Type: application/ms-tnef; name=\"winmail.dat\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}\r\n",
        head("wrapped")
    );
    let written = format!(
        "{}Content-Type: text/plain\r\n\r\nHere is the cat.\r\nbegin 644 zylinder.txt\r\n#0V%T\r\n`\r\nend\r\nBye.\r\n",
        head("written")
    );
    [wrapped, written]
}

on_both! {
    async fn r44_files_in_winmail_dat_and_in_the_text_are_files_of_the_email(app) {
        let token = app.admin.clone();
        let dovecot = dovecot::start(&[ADA]);
        for mail in containers() {
            dovecot.append(ADA, "INBOX", mail.as_bytes()).unwrap();
        }
        connect(&app, &dovecot, &token, ADA).await;
        let query = "{ emails { nodes { subject preview bodyText bodyHtml specialFormats attachments { name mediaType size url } } } }";
        let data = app.until(&token, (query, json!({})), |data| data["emails"]["nodes"].as_array().unwrap().len() == 2).await;
        let http = reqwest::Client::new();
        // (subject, text, format, its file, type, bytes)
        for (subject, said, format, name, media_type, bytes) in [
            ("wrapped", "The turbine is ready.", "TNEF", "turbine<1>.pdf", "application/pdf", "%PDF-1.7 turbine"),
            ("written", "Here is the cat.\nBye.\n", "UUENCODED", "zylinder.txt", "text/plain", "Cat"),
        ] {
            let nodes = data["emails"]["nodes"].as_array().unwrap();
            let email = nodes.iter().find(|email| email["subject"] == subject).unwrap();
            assert_eq!(text(&email["bodyText"]).trim_end(), said.trim_end());
            assert!(text(&email["bodyHtml"]).contains(said.lines().next().unwrap()));
            assert!(text(&email["preview"]).contains(said.lines().next().unwrap()));
            assert_eq!(email["specialFormats"], json!([format]));
            let files = email["attachments"].as_array().unwrap();
            assert_eq!(files.len(), 1, "{files:?}");
            assert_eq!((&files[0]["name"], &files[0]["mediaType"], &files[0]["size"]), (&json!(name), &json!(media_type), &json!(bytes.len())));
            let given = http.get(text(&files[0]["url"])).send().await.unwrap();
            assert_eq!(given.headers()["content-type"], media_type);
            let disposition = given.headers()["content-disposition"].to_str().unwrap().to_owned();
            assert!(disposition.starts_with(&format!("attachment; filename=\"{name}\"")), "{disposition}");
            assert_eq!(given.text().await.unwrap(), bytes);
        }
        for (query, count) in [("has:attachment", 2), ("turbine has:attachment", 1), ("zylinder", 1), ("begin", 0)] {
            let search = "query ($query: String!) { search(query: $query) { nodes { snippets { zone } } } }";
            let found = (search, json!({ "query": query }));
            app.until(&token, found, |data| data["search"]["nodes"].as_array().unwrap().len() == count).await;
        }
    }
}
