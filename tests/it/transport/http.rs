//! GraphQL over HTTP as its specification says, what is refused at once, and the page.

use super::*;

#[tokio::test]
async fn http_answers_by_the_specification() {
    let server = Server::start();
    let json_type = ("Content-Type", "application/json");
    let legacy = ("Accept", "application/json");
    let modern = ("Accept", GRAPHQL);
    let rows: [(&str, &str, &[(&str, &str)], &str, u16); 22] = [
        (
            "a query",
            "POST",
            &[json_type, modern],
            r#"{"query":"{hello}"}"#,
            200,
        ),
        (
            "nulls are nothing",
            "POST",
            &[json_type],
            r#"{"query":"{hello}","operationName":null,"variables":null,"extensions":null}"#,
            200,
        ),
        ("no JSON", "POST", &[json_type, modern], "{ \"no", 400),
        (
            "no JSON, legacy",
            "POST",
            &[json_type, legacy],
            "{ \"no",
            400,
        ),
        ("no body", "POST", &[json_type], "", 400),
        (
            "no query",
            "POST",
            &[json_type],
            r#"{"qeury":"{hello}"}"#,
            400,
        ),
        (
            "a query that is a list",
            "POST",
            &[json_type],
            r#"{"query":["{hello}"]}"#,
            400,
        ),
        (
            "variables that are a list",
            "POST",
            &[json_type],
            r#"{"query":"{hello}","variables":[]}"#,
            400,
        ),
        (
            "a batch",
            "POST",
            &[json_type],
            r#"[{"query":"{hello}"}]"#,
            400,
        ),
        (
            "a syntax error",
            "POST",
            &[json_type, modern],
            r#"{"query":"{"}"#,
            400,
        ),
        (
            "a syntax error, legacy",
            "POST",
            &[json_type, legacy],
            r#"{"query":"{"}"#,
            200,
        ),
        (
            "an unknown field",
            "POST",
            &[json_type, modern],
            r#"{"query":"{nope}"}"#,
            400,
        ),
        (
            "an unknown field, legacy",
            "POST",
            &[json_type, legacy],
            r#"{"query":"{nope}"}"#,
            200,
        ),
        (
            "a variable without its value",
            "POST",
            &[json_type, modern],
            r#"{"query":"query($t:String!){echo(text:$t)}"}"#,
            400,
        ),
        (
            "a variable of another type",
            "POST",
            &[json_type, modern],
            r#"{"query":"query($t:String!){echo(text:$t)}","variables":{"t":7}}"#,
            400,
        ),
        (
            "two operations and no name",
            "POST",
            &[json_type, modern],
            r#"{"query":"query A{hello} query B{hello}"}"#,
            400,
        ),
        (
            "a subscription",
            "POST",
            &[json_type, modern],
            r#"{"query":"subscription{ticks}"}"#,
            400,
        ),
        (
            "no content type",
            "POST",
            &[],
            r#"{"query":"{hello}"}"#,
            415,
        ),
        (
            "a form's content type",
            "POST",
            &[("Content-Type", "text/plain")],
            r#"{"query":"{hello}"}"#,
            415,
        ),
        (
            "an answer nobody makes",
            "POST",
            &[json_type, ("Accept", "text/html")],
            r#"{"query":"{hello}"}"#,
            406,
        ),
        (
            "another method",
            "PUT",
            &[json_type],
            r#"{"query":"{hello}"}"#,
            405,
        ),
        (
            "a panic",
            "POST",
            &[json_type],
            r#"{"query":"{panics}"}"#,
            500,
        ),
    ];
    for (says, method, headers, body, status) in rows {
        let answer = server
            .http(&format!("{method} /graphql"), headers, body)
            .await;
        assert_eq!(answer.status, status, "{says}: {}", answer.body);
        let answer_type = if headers.contains(&modern) {
            GRAPHQL
        } else {
            "application/json"
        };
        assert!(
            answer
                .header("content-type")
                .unwrap()
                .starts_with(answer_type),
            "{says}"
        );
        let json = answer.json();
        if body.contains("{hello}\"") && status == 200 {
            assert_eq!(json, json!({ "data": { "hello": "world" } }), "{says}");
        } else {
            assert!(json.get("data").is_none(), "{says}: {json}");
            let message = json["errors"][0]["message"].as_str().unwrap();
            assert!(
                !message.contains('\n') && !message.contains("canary"),
                "{says}: {message}"
            );
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_get_runs_queries_only_and_not_for_foreign_pages() {
    let server = Server::start();
    let before = BUMPS.load(Ordering::SeqCst);
    let query = "GET /graphql?query=%7Bhello%7D";
    let bump = "GET /graphql?query=mutation%7Bbump%7D";
    let rows: [(&str, &str, &[(&str, &str)], u16); 11] = [
        ("a program", query, &[], 200),
        (
            "a program with a token",
            query,
            &[("Authorization", "Bearer good")],
            200,
        ),
        (
            "with variables",
            "GET /graphql?query=query(%24t%3AString!)%7Becho(text%3A%24t)%7D&variables=%7B%22t%22%3A%22x%22%7D",
            &[],
            200,
        ),
        (
            "malformed variables",
            "GET /graphql?query=%7Bhello%7D&variables=x",
            &[],
            400,
        ),
        (
            "by its operation's name",
            "GET /graphql?query=query+A%7Bhello%7Dquery+B%7Bhello%7D&operationName=A",
            &[],
            200,
        ),
        ("a mutation", bump, &[], 405),
        (
            "a mutation with a token",
            bump,
            &[("Authorization", "Bearer good")],
            405,
        ),
        (
            "a page of another site",
            query,
            &[("Sec-Fetch-Site", "cross-site")],
            403,
        ),
        (
            "an image's address",
            query,
            &[("Sec-Fetch-Mode", "no-cors")],
            403,
        ),
        (
            "a type that needs no leave",
            query,
            &[("Content-Type", "text/plain")],
            403,
        ),
        (
            "a header that needs leave",
            query,
            &[
                ("Sec-Fetch-Site", "cross-site"),
                ("Apollo-Require-Preflight", "1"),
            ],
            200,
        ),
    ];
    for (says, head, headers, status) in rows {
        let answer = server.http(head, headers, "").await;
        assert_eq!(answer.status, status, "{says}: {}", answer.body);
    }
    assert_eq!(BUMPS.load(Ordering::SeqCst), before);
    server.stop().await;
}

#[tokio::test]
async fn a_token_is_none_or_good() {
    let server = Server::start();
    let ask = json!({ "query": "{ userId }" });
    let anonymous = server.post(&[("Accept", GRAPHQL)], &ask).await;
    assert_eq!(
        (anonymous.status, anonymous.code()),
        (200, json!("UNAUTHENTICATED"))
    );
    assert_eq!(anonymous.json()["data"], Value::Null);
    let good = server.post(&[("Authorization", "Bearer good")], &ask).await;
    assert_eq!(good.json(), json!({ "data": { "userId": 4 } }));
    for (authorization, status) in [
        ("Bearer bad", 401),
        ("Bearer old", 401),
        ("Basic good", 401),
        ("Bearer", 401),
        ("Bearer outage", 503),
    ] {
        let answer = server.post(&[("Authorization", authorization)], &ask).await;
        assert_eq!(answer.status, status, "{authorization}");
        assert!(answer.json().get("data").is_none());
        if status == 401 {
            assert_eq!(answer.code(), "UNAUTHENTICATED");
            assert_eq!(answer.header("www-authenticate"), Some("bearer"));
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn errors_carry_a_code_and_the_requests_id_and_no_causes() {
    let server = Server::start();
    let rows = [
        ("{ hidden }", "NOT_FOUND"),
        ("{ broken }", "INTERNAL"),
        ("{ strict }", "INTERNAL"),
        ("{ panics }", "INTERNAL"),
        ("{ small(number: 4) }", "BAD_USER_INPUT"),
        ("{ nope }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ hello(x: 1) }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ echo }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ echo(text: 1) }", "BAD_USER_INPUT"),
        ("{ ...x }", "GRAPHQL_VALIDATION_FAILED"),
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("", "GRAPHQL_PARSE_FAILED"),
        (
            "{ nest { page(first: 2000000000) { page(first: 2000000000) { page(first: 2000000000) { leaf } } } } }",
            "COST_LIMIT_EXCEEDED",
        ),
        (
            "{ ...f } fragment f on Query { ...f }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
    ];
    for (query, code) in rows {
        let headers = [("Accept", GRAPHQL), ("X-Request-Id", "req-7")];
        let answer = server.post(&headers, &json!({ "query": query })).await;
        assert_eq!(answer.code(), code, "{query}: {}", answer.body);
        assert_eq!(
            answer.json()["errors"][0]["extensions"]["requestId"],
            "req-7",
            "{query}"
        );
        assert_eq!(answer.header("x-request-id"), Some("req-7"));
        assert!(
            !answer.body.contains("canary") && !answer.body.contains("\\n"),
            "{}",
            answer.body
        );
    }
    let beside = server.query("{ hello hidden broken }").await;
    assert_eq!(
        beside.json()["data"],
        json!({ "hello": "world", "hidden": null, "broken": null })
    );
    let syntax = server.query("{ hello").await;
    let message = syntax.json()["errors"][0]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.starts_with("Syntax error at 1:8: expected "),
        "{message}"
    );
    let suggestion = server.query("{ helo }").await;
    assert!(!suggestion.body.contains("hello"), "{}", suggestion.body);
    server.stop().await;
}

#[tokio::test]
async fn t35_bodies_and_ids_have_limits() {
    let server = Server::start();
    let large = json!({ "query": "{hello}", "variables": { "x": "y".repeat(257 * 1024) } });
    let answer = server.post(&[], &large).await;
    assert_eq!(
        (answer.status, answer.code()),
        (413, json!("COST_LIMIT_EXCEEDED"))
    );
    let chunked = "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(chunked.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
    for _ in 0..5 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 413");
    let strange = server
        .post(
            &[("X-Request-Id", "a b<script>")],
            &json!({ "query": "{hello}" }),
        )
        .await;
    assert_eq!(strange.header("x-request-id").unwrap().len(), 32);
    server.stop().await;
}

/// The query that GraphiQL and the code generators send.
const INTROSPECTION: &str =
    "query IntrospectionQuery { __schema { queryType { name } mutationType { name }
  subscriptionType { name } types { ...FullType }
  directives { name description locations args { ...InputValue } } } }
  fragment FullType on __Type { kind name description
  fields(includeDeprecated: true) { name description args { ...InputValue } type { ...TypeRef }
  isDeprecated deprecationReason } inputFields { ...InputValue } interfaces { ...TypeRef }
  enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
  possibleTypes { ...TypeRef } }
  fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
  fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name
  ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name
  ofType { kind name } } } } } } } } } }";

#[tokio::test]
async fn whoever_is_signed_in_may_read_the_schema() {
    let server = Server::start();
    let signed_in = server.query(INTROSPECTION).await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.body);
    assert_eq!(
        signed_in.json()["data"]["__schema"]["queryType"]["name"],
        "Query"
    );
    let anonymous = server.post(&[], &json!({ "query": INTROSPECTION })).await;
    assert_eq!(
        (anonymous.status, anonymous.code()),
        (401, json!("UNAUTHENTICATED"))
    );
    let harmless = server
        .post(&[], &json!({ "query": "{ __typename }" }))
        .await;
    assert_eq!(
        harmless.json(),
        json!({ "data": { "__typename": "Query" } })
    );
    server.stop().await;
}

/// The promise is for optimised builds: the parser alone is some twenty times slower without.
const AT_ONCE: Duration = Duration::from_millis(if cfg!(debug_assertions) { 200 } else { 20 });

/// T35 and the 50 ways to ask for too much: each is refused within 20 ms, before the schema is asked.
#[tokio::test]
async fn t35_floods_are_refused_at_once() {
    let api = api();
    let mut corpus: Vec<(String, String)> = Vec::new();
    for links in [13, 16, 20, 24, 28, 29, 30, 40, 100, 150] {
        let mut source = "{ nest { ...f0 } }".to_owned();
        for link in 0..links {
            source += &format!(" fragment f{link} on Nest {{ ...f{0} ...f{0} }}", link + 1);
        }
        corpus.push((
            format!("doubling {links}"),
            source + &format!(" fragment f{links} on Nest {{ leaf }}"),
        ));
    }
    for width in [3, 5, 9] {
        let mut source = "{ nest { ...f0 } }".to_owned();
        for link in 0..12 {
            let spreads = format!("nest {{ ...f{} }} ", link + 1).repeat(width);
            source += &format!(" fragment f{link} on Nest {{ {spreads} }}");
        }
        corpus.push((
            format!("growing {width}-fold"),
            source + " fragment f12 on Nest { leaf }",
        ));
    }
    for depth in [13, 20, 40, 63, 64, 500, 5_000] {
        let source = format!("{{ {}leaf{} }}", "nest { ".repeat(depth), "}".repeat(depth));
        corpus.push((format!("depth {depth}"), source));
    }
    for count in [31, 100, 400] {
        let fields: String = (0..count)
            .map(|number| format!("a{number}: leaf "))
            .collect();
        corpus.push((
            format!("{count} aliases"),
            format!("{{ nest {{ {fields} }} }}"),
        ));
        let logins: String = (0..count)
            .map(|number| format!("a{number}: bump "))
            .collect();
        corpus.push((
            format!("{count} attempts"),
            format!("mutation {{ {logins} }}"),
        ));
        corpus.push((
            format!("{count} root fields"),
            format!("{{ {} }}", "hello ".repeat(count)),
        ));
        let directives = "@skip(if: false) ".repeat(count);
        corpus.push((
            format!("{count} directives"),
            format!("{{ hello {directives} }}"),
        ));
        let list = "1 ".repeat(count + 220);
        corpus.push((
            format!("a list of {}", count + 220),
            format!("{{ echo(text: [{list}]) }}"),
        ));
    }
    for bracket in ["[", "{a:", "{ a ", "{ ... ", "(", "[[{a:"] {
        corpus.push((
            format!("open {bracket}"),
            format!("{{ echo(text: {}", bracket.repeat(3_000)),
        ));
        corpus.push((
            format!("many {bracket}"),
            format!("{{ echo {}", bracket.repeat(65)),
        ));
    }
    corpus.push((
        "a long name".into(),
        format!("{{ {} }}", "a".repeat(20_000)),
    ));
    corpus.push((
        "a cycle".into(),
        "{ ...f } fragment f on Query { ...f ...f }".into(),
    ));
    let wheel = "{ ...a } fragment a on Query { ...b ...b } fragment b on Query { ...a ...a }";
    corpus.push(("a wheel".into(), wheel.into()));
    let types = "{ type { fields ".repeat(8) + "{ name " + &"}}".repeat(9);
    corpus.push((
        "types of types".into(),
        format!("{{ __schema {{ types {{ fields {types} }} }} }}"),
    ));
    assert!(corpus.len() >= 50, "{}", corpus.len());
    let id = RequestId("t35".into());
    for (says, query) in corpus {
        // The best of three: other tests run beside this one.
        let mut best = Duration::MAX;
        let mut refused = None;
        for _ in 0..3 {
            let request = ApiRequest {
                query: query.clone(),
                ..ApiRequest::default()
            };
            let started = Instant::now();
            refused = Some(api.prepare(request, &id).expect_err(&says));
            best = best.min(started.elapsed());
        }
        assert!(best < AT_ONCE, "{says} took {best:?}");
        let refused = refused.unwrap();
        let body: Value = serde_json::from_str(&refused.body).unwrap();
        let code = body["errors"][0]["extensions"]["code"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(
            [
                "COST_LIMIT_EXCEEDED",
                "GRAPHQL_VALIDATION_FAILED",
                "GRAPHQL_PARSE_FAILED"
            ]
            .contains(&code.as_str()),
            "{says}: {code}"
        );
    }
}

#[tokio::test]
async fn the_page_comes_whole_from_the_binary() {
    let server = Server::start();
    let home = server.http("GET /", &[], "").await;
    assert_eq!(
        (home.status, home.header("location")),
        (302, Some("/graphiql"))
    );
    let page = server.http("GET /graphiql", &[], "").await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'self';") && !policy.contains("unsafe-eval"),
        "{policy}"
    );
    let files: Vec<&str> = page
        .body
        .split(['"'])
        .filter(|part| part.starts_with("/graphiql/"))
        .collect();
    assert_eq!(files.len(), 7, "{files:?}");
    for file in files {
        let answer = server.http(&format!("GET {file}"), &[], "").await;
        assert_eq!(answer.status, 200, "{file}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let tag = answer.header("etag").unwrap().to_owned();
        let again = server
            .http(&format!("GET {file}"), &[("If-None-Match", &tag)], "")
            .await;
        assert_eq!((again.status, again.body.as_str()), (304, ""));
    }
    assert_eq!(
        server.http("GET /graphiql/nope.js", &[], "").await.status,
        404
    );
    assert_eq!(server.http("GET /healthz", &[], "").await.status, 200);
    let ready = server.http("GET /readyz", &[], "").await;
    assert_eq!(
        (ready.status, ready.body.as_str()),
        (503, "not ready: database\n")
    );
    server.stop().await;
}

#[tokio::test]
async fn pages_of_named_origins_may_ask_and_read() {
    let server = Server::start();
    for (origin, wanted) in [
        ("https://crm.example.com", true),
        ("https://evil.example", false),
    ] {
        let asked = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
        ];
        let preflight = server.http("OPTIONS /graphql", &asked, "").await;
        assert_eq!(
            preflight.header("access-control-allow-origin").is_some(),
            wanted,
            "{origin}"
        );
        assert!(
            preflight
                .header("access-control-allow-credentials")
                .is_none()
        );
        let allowed = preflight
            .header("access-control-allow-headers")
            .unwrap_or_default();
        for header in ["authorization", "content-type", "traceparent"] {
            let is_allowed = allowed.split(", ").any(|name| name == header);
            assert_eq!(is_allowed, wanted, "{origin}: {header}");
        }
        let answer = server
            .post(&[("Origin", origin)], &json!({ "query": "{hello}" }))
            .await;
        assert_eq!(
            answer.header("access-control-allow-origin").is_some(),
            wanted,
            "{origin}"
        );
    }
    server.stop().await;
}
