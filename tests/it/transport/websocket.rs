//! graphql-transport-ws as its protocol says: opening, operations, turns, tokens and ends.

use super::*;

#[tokio::test]
async fn a_socket_opens_with_a_token_and_not_without() {
    let server = Server::start();
    server.open("good").await;
    let mut capital = server.socket().await;
    let payload = json!({ "Authorization": "bearer good" });
    capital
        .say(json!({ "type": "connection_init", "payload": payload }))
        .await;
    assert_eq!(capital.next().await["type"], "connection_ack");
    for (payload, code) in [
        (json!({ "authorization": "Bearer bad" }), 4403),
        (json!({ "authorization": "Bearer old" }), 4403),
        (json!({ "authorization": "good" }), 4403),
        (json!({ "authorization": "Bearer outage" }), 1013),
        (json!({}), 4403),
        (Value::Null, 4403),
    ] {
        let mut socket = server.socket().await;
        socket
            .say(json!({ "type": "connection_init", "payload": payload }))
            .await;
        assert_eq!(socket.closed().await.0, code, "{payload}");
    }
    let cookie = [
        ("cookie", "authorization=Bearer good"),
        ("authorization", "Bearer good"),
    ];
    let mut by_header = server.socket_with(&cookie).await.unwrap();
    by_header.say(json!({ "type": "connection_init" })).await;
    assert_eq!(by_header.closed().await.0, 4403);
    server.stop().await;
}

#[tokio::test]
async fn a_handshake_needs_the_protocol_and_a_known_origin() {
    let server = Server::start();
    let own = format!("http://{}", server.address);
    for (headers, wanted) in [
        (vec![("origin", own.as_str())], None),
        (vec![("origin", "https://crm.example.com")], None),
        (vec![("origin", "https://evil.example")], Some(403)),
        (vec![("origin", "null")], Some(403)),
        (vec![("sec-websocket-protocol", "graphql-ws")], Some(400)),
        (vec![("sec-websocket-protocol", "nope")], Some(400)),
    ] {
        let status = match server.socket_with(&headers).await {
            Ok(_) => None,
            Err(WsError::Http(response)) => Some(response.status().as_u16()),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(status, wanted, "{headers:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_the_protocol_forbids_closes_with_its_code() {
    let server = Server::start();
    let init = r#"{"type":"connection_init","payload":{"authorization":"Bearer good"}}"#;
    let silent = r#"{"id":"d","type":"subscribe","payload":{"query":"subscription{silent}"}}"#;
    let rows: [(&str, &[&str], u16, &str); 9] = [
        (
            "a second init",
            &[init, init],
            4429,
            "Too many initialisation requests",
        ),
        (
            "a subscription before the ack",
            &[silent],
            4401,
            "Unauthorized",
        ),
        (
            "an id in use",
            &[silent, silent],
            4409,
            "Subscriber for d already exists",
        ),
        ("no JSON", &["{\"nope"], 4400, "Message is not JSON"),
        (
            "an unknown type",
            &[r#"{"type":"nope"}"#],
            4400,
            "Message has an unknown type",
        ),
        (
            "the legacy start",
            &[r#"{"type":"start","id":"a"}"#],
            4400,
            "Message has an unknown type",
        ),
        (
            "an id that is a number",
            &[r#"{"type":"complete","id":1}"#],
            4400,
            "Message id is not a string",
        ),
        (
            "a payload that is text",
            &[r#"{"type":"ping","payload":"x"}"#],
            4400,
            "Message payload is not an object",
        ),
        (
            "no query",
            &[r#"{"type":"subscribe","id":"a","payload":{}}"#],
            4400,
            "Subscribe has an invalid payload",
        ),
    ];
    for (says, messages, code, reason) in rows {
        let needs_ack = code == 4409;
        let mut socket = if needs_ack {
            server.open("good").await
        } else {
            server.socket().await
        };
        for message in messages {
            socket.text(message).await;
        }
        assert_eq!(socket.closed().await, (code, reason.to_owned()), "{says}");
    }
    let mut binary = server.socket().await;
    binary
        .stream
        .send(Message::binary(init.as_bytes().to_vec()))
        .await
        .unwrap();
    assert_eq!(binary.closed().await.0, 4400);
    server.stop().await;
}

#[tokio::test]
async fn operations_run_and_end_as_the_protocol_says() {
    let server = Server::start();
    let mut socket = server.open("good").await;
    socket.subscribe("q", "{ hello userId }").await;
    let next = socket.next().await;
    assert_eq!(
        next["payload"],
        json!({ "data": { "hello": "world", "userId": 4 } })
    );
    assert_eq!(
        socket.next().await,
        json!({ "id": "q", "type": "complete" })
    );
    socket
        .subscribe("q", "subscription { countdown(from: 3) }")
        .await;
    for wanted in [2, 1, 0] {
        let next = socket.next().await;
        assert_eq!(
            next,
            json!({ "id": "q", "type": "next", "payload": { "data": { "countdown": wanted } } })
        );
    }
    assert_eq!(socket.next().await["type"], "complete");
    let via_fragment =
        "subscription S { ...f } fragment f on Live { ... on Live { countdown(from: 1) } }";
    socket.subscribe("q", via_fragment).await;
    assert_eq!(socket.next().await["payload"]["data"]["countdown"], 0);
    assert_eq!(socket.next().await["type"], "complete");
    for (query, code) in [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("{ nope }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { nope }", "GRAPHQL_VALIDATION_FAILED"),
        (
            "subscription { a: silent b: silent }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "subscription { ...f ...f } fragment f on Live { silent }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
        (
            "subscription { silent @skip(if: true) }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
        ("subscription { __typename }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { refused }", "NOT_FOUND"),
    ] {
        socket.subscribe("q", query).await;
        let error = socket.next().await;
        assert_eq!(error["type"], "error", "{query}: {error}");
        assert_eq!(error["payload"][0]["extensions"]["code"], code, "{query}");
    }
    socket.subscribe("q", "subscription { falters }").await;
    assert_eq!(socket.next().await["payload"]["data"]["falters"], 1);
    let faltering = socket.next().await;
    assert_eq!(faltering["type"], "next");
    assert_eq!(
        faltering["payload"]["errors"][0]["extensions"]["code"],
        "NOT_FOUND"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_client_ends_a_subscription_and_hears_no_more_of_it() {
    let server = Server::start();
    let mut socket = server.open("good").await;
    socket.subscribe("t", "subscription { ticks }").await;
    assert_eq!(socket.next().await["payload"]["data"]["ticks"], 0);
    socket.say(json!({ "id": "t", "type": "complete" })).await;
    socket
        .say(json!({ "id": "unknown", "type": "complete" }))
        .await;
    socket
        .say(json!({ "type": "ping", "payload": { "last": true } }))
        .await;
    loop {
        let message = socket.next().await;
        if message == json!({ "type": "pong", "payload": { "last": true } }) {
            break;
        }
        assert_eq!(message["type"], "next");
    }
    socket.subscribe("t", "{ hello }").await;
    assert_eq!(socket.next().await["payload"]["data"]["hello"], "world");
    assert_eq!(socket.next().await["type"], "complete");
    socket.stream.close(None).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn busy_streams_leave_turns_to_quiet_ones() {
    let server = Server::start();
    let mut socket = server.open("good").await;
    socket.subscribe("a", "subscription { flood }").await;
    socket.subscribe("b", "subscription { flood }").await;
    socket.subscribe("q", "{ hello }").await;
    // The first may have a start, since the others arrive after it.
    while socket.next().await["id"] != "b" {}
    let mut heard = [0_u32; 2];
    while heard[0] + heard[1] < 2_000 {
        match socket.next().await["id"].as_str().unwrap() {
            "a" => heard[0] += 1,
            "b" => heard[1] += 1,
            _ => {}
        }
    }
    assert!(heard[0].abs_diff(heard[1]) < 10, "{heard:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_socket_runs_twenty_subscriptions_and_no_more() {
    let server = Server::start();
    let mut socket = server.open("good").await;
    for number in 0..21 {
        socket
            .subscribe(&format!("s{number}"), "subscription { silent }")
            .await;
    }
    let error = socket.next().await;
    assert_eq!(
        (error["id"].as_str(), error["type"].as_str()),
        (Some("s20"), Some("error"))
    );
    assert_eq!(error["payload"][0]["extensions"]["code"], "RATE_LIMITED");
    for number in 0..20 {
        socket.subscribe(&format!("q{number}"), "{ hello }").await;
    }
    let mut completed = 0;
    while completed < 20 {
        completed += u32::from(socket.next().await["type"] == "complete");
    }
    server.stop().await;
}

#[tokio::test]
async fn t34_a_socket_does_not_outlive_its_token() {
    let server = Server::start();
    let mut brief = server.open("brief").await;
    let mut revocable = server.open("revocable").await;
    for socket in [&mut brief, &mut revocable] {
        socket.subscribe("t", "subscription { ticks }").await;
        assert_eq!(socket.next().await["type"], "next");
    }
    assert_eq!(brief.closed().await, (4403, "Token expired".to_owned()));
    server
        .tokens
        .revoked
        .lock()
        .unwrap()
        .insert("revocable".to_owned());
    let revoked_at = Instant::now();
    server.tokens.changes.send_modify(|changes| *changes += 1);
    assert_eq!(revocable.closed().await, (4403, "Forbidden".to_owned()));
    assert!(revoked_at.elapsed() < Duration::from_secs(1));
    server.stop().await;
}

#[tokio::test]
async fn a_user_has_so_many_sockets() {
    let server = Server::start();
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(server.open("good").await);
    }
    let mut fourth = server.socket().await;
    fourth.init("good").await;
    assert_eq!(
        fourth.closed().await,
        (1013, "Too many sockets of one user".to_owned())
    );
    server.open("revocable").await;
    let mut first = open.remove(0);
    first.stream.close(None).await.unwrap();
    first.closed().await;
    server.open("good").await;
    server.stop().await;
}

#[tokio::test]
async fn an_operation_starts_with_the_rights_of_its_moment() {
    let server = Server::start();
    let mut socket = server.open("revocable").await;
    server
        .tokens
        .revoked
        .lock()
        .unwrap()
        .insert("revocable".to_owned());
    socket.subscribe("q", "{ hello }").await;
    assert_eq!(socket.closed().await.0, 4403);
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_speak_or_listen_is_closed() {
    // Who reads nothing answers no ping either: here only the writing is to end it.
    let server = Server::with(SocketTimes {
        pong: Duration::from_secs(60),
        ..quick()
    });
    let mut silent = server.socket().await;
    let reason = "Connection initialisation timeout".to_owned();
    assert_eq!(silent.closed().await, (4408, reason));
    // Reads nothing while the server has more to say than the network buffers hold.
    let mut slow = server.open("good").await;
    slow.subscribe("f", "subscription { flood(bytes: 60000) }")
        .await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let (code, reason) = slow.closed().await;
    assert_eq!((code, reason.as_str()), (1013, "Reading too slowly"));
    server.stop().await;
}

#[tokio::test]
async fn the_server_asks_whether_the_client_lives() {
    let server = Server::with(quick());
    let mut socket = server.open("good").await;
    assert_eq!(socket.next().await, json!({ "type": "ping" }));
    // The frame was answered by the library: any sign of life will do.
    assert_eq!(socket.next().await, json!({ "type": "ping" }));
    let mut dead = server.open("good").await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(dead.closed().await, (1013, "No sign of life".to_owned()));
    server.stop().await;
}

#[tokio::test]
async fn t35_a_message_has_64_kib_over_all_its_fragments() {
    let server = Server::start();
    let mut whole = server.open("good").await;
    let payload = "x".repeat(70 * 1024);
    let large = json!({ "type": "ping", "payload": { "x": payload } }).to_string();
    // The server may close while this is still being sent.
    let _ = whole.stream.send(Message::text(large)).await;
    assert_eq!(whole.closed().await.0, 1009);
    let mut parts = server.socket().await;
    let init = r#"{"type":"connection_init","payload":{"authorization":"Bearer good"}}"#;
    let (first, last) = init.split_at(20);
    let fragment = |text: &str, code, fin| {
        Message::Frame(Frame::message(
            text.as_bytes().to_vec(),
            OpCode::Data(code),
            fin,
        ))
    };
    parts
        .stream
        .send(fragment(first, Data::Text, false))
        .await
        .unwrap();
    parts
        .stream
        .send(fragment(last, Data::Continue, true))
        .await
        .unwrap();
    assert_eq!(parts.next().await["type"], "connection_ack");
    let chunk = "a".repeat(30_000);
    parts
        .stream
        .send(fragment(&chunk, Data::Text, false))
        .await
        .unwrap();
    for _ in 0..3 {
        let _ = parts
            .stream
            .send(fragment(&chunk, Data::Continue, false))
            .await;
    }
    assert_eq!(parts.closed().await.0, 1009);
    server.stop().await;
}

#[tokio::test]
async fn a_stop_sends_sockets_away_to_come_back() {
    let server = Server::start();
    let mut socket = server.open("good").await;
    socket.subscribe("t", "subscription { ticks }").await;
    socket.next().await;
    let started = Instant::now();
    let stopping = tokio::spawn(server.stop());
    assert_eq!(socket.closed().await, (1012, "Service restart".to_owned()));
    stopping.await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}
