//! What a mail carries beside its words, and how its files are given (R44).

use crate::on_both;
use crate::spine::connect;
use crate::support::app::text;
use crate::support::dovecot;
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
        connect(&app, &dovecot, &token, ADA).await;
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
        let inline = html.split("src=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
        let picture = http.get(&inline).send().await.unwrap();
        assert_eq!(picture.headers()["content-type"], "image/png");
        assert_eq!(picture.headers()["content-disposition"], "inline");
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
