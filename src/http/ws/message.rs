//! The messages of the graphql-transport-ws protocol, as text. Pure.
//! Every client message is checked to the letter: what the protocol does not know closes the socket.

use serde_json::{Map, Value};

use crate::graphql::api::{ApiRequest, ApiResponse};
use crate::http::graphql::read_request;

/// A client makes its ids itself, and UUIDs have 36 characters.
const ID_BYTES_MAX: usize = 128;

/// What a client may say.
#[derive(Debug, Clone)]
pub enum ClientMessage {
    ConnectionInit { payload: Map<String, Value> },
    Ping { payload: Option<Map<String, Value>> },
    Pong,
    Subscribe { id: String, request: ApiRequest },
    Complete { id: String },
}

/// Reads a message; the error is the reason to close with.
pub fn parse(text: &str) -> Result<ClientMessage, &'static str> {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return Err("Message is not JSON");
    };
    let Value::Object(mut message) = value else {
        return Err("Message is not an object");
    };
    let Some(Value::String(kind)) = message.remove("type") else {
        return Err("Message has no type");
    };
    match kind.as_str() {
        "connection_init" => {
            let payload = optional_payload(&mut message)?.unwrap_or_default();
            Ok(ClientMessage::ConnectionInit { payload })
        }
        "ping" => Ok(ClientMessage::Ping {
            payload: optional_payload(&mut message)?,
        }),
        "pong" => optional_payload(&mut message).map(|_| ClientMessage::Pong),
        "subscribe" => {
            let id = id(&mut message)?;
            let Some(Value::Object(payload)) = message.remove("payload") else {
                return Err("Subscribe has no payload");
            };
            let request = read_request(payload).map_err(|_| "Subscribe has an invalid payload")?;
            Ok(ClientMessage::Subscribe { id, request })
        }
        "complete" => Ok(ClientMessage::Complete {
            id: id(&mut message)?,
        }),
        _ => Err("Message has an unknown type"),
    }
}

fn id(message: &mut Map<String, Value>) -> Result<String, &'static str> {
    match message.remove("id") {
        Some(Value::String(id)) if id.is_empty() => Err("Message has an empty id"),
        Some(Value::String(id)) if id.len() > ID_BYTES_MAX => Err("Message has too long an id"),
        Some(Value::String(id)) => Ok(id),
        Some(_) => Err("Message id is not a string"),
        None => Err("Message has no id"),
    }
}

fn optional_payload(
    message: &mut Map<String, Value>,
) -> Result<Option<Map<String, Value>>, &'static str> {
    match message.remove("payload") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(payload)) => Ok(Some(payload)),
        Some(_) => Err("Message payload is not an object"),
    }
}

/// The server's `connection_ack`.
pub const CONNECTION_ACK: &str = r#"{"type":"connection_ack"}"#;
/// The server's own `ping`.
pub const PING: &str = r#"{"type":"ping"}"#;

/// The answer to a ping, with the same payload.
pub fn pong(payload: Option<Map<String, Value>>) -> String {
    match payload {
        Some(payload) => format!(
            "{{\"type\":\"pong\",\"payload\":{}}}",
            Value::Object(payload)
        ),
        None => r#"{"type":"pong"}"#.to_owned(),
    }
}

/// One response of an operation: `next`, or `error` where the operation was refused.
pub fn response(id: &str, response: &ApiResponse) -> String {
    let id = quoted(id);
    match &response.errors {
        Some(errors) if response.is_request_error() => {
            format!("{{\"id\":{id},\"type\":\"error\",\"payload\":{errors}}}")
        }
        _ => format!(
            "{{\"id\":{id},\"type\":\"next\",\"payload\":{}}}",
            response.body
        ),
    }
}

/// The end of an operation.
pub fn complete(id: &str) -> String {
    format!("{{\"id\":{},\"type\":\"complete\"}}", quoted(id))
}

fn quoted(id: &str) -> String {
    Value::from(id).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_protocol_does_not_know_is_an_error() {
        let rows = [
            (r#"{"type":"connection_init"}"#, true),
            (r#"{"type":"connection_init","payload":null}"#, true),
            (r#"{"type":"connection_init","payload":{"a":1}}"#, true),
            (r#"{"type":"connection_init","payload":"x"}"#, false),
            (r#"{"type":"connection_init","payload":[]}"#, false),
            (r#"{"type":"ping"}"#, true),
            (r#"{"type":"ping","payload":"x"}"#, false),
            (r#"{"type":"pong","payload":{"beat":1}}"#, true),
            (
                r#"{"type":"subscribe","id":"a","payload":{"query":"{a}"}}"#,
                true,
            ),
            (
                r#"{"type":"subscribe","id":"a","payload":{"query":7}}"#,
                false,
            ),
            (r#"{"type":"subscribe","id":"a","payload":{}}"#, false),
            (r#"{"type":"subscribe","id":"a"}"#, false),
            (
                r#"{"type":"subscribe","id":"","payload":{"query":"{a}"}}"#,
                false,
            ),
            (
                r#"{"type":"subscribe","id":1,"payload":{"query":"{a}"}}"#,
                false,
            ),
            (r#"{"type":"subscribe","payload":{"query":"{a}"}}"#, false),
            (r#"{"type":"complete","id":"a"}"#, true),
            (r#"{"type":"complete"}"#, false),
            (r#"{"type":"next","id":"a","payload":{}}"#, false),
            (r#"{"type":"connection_ack"}"#, false),
            (
                r#"{"type":"start","id":"a","payload":{"query":"{a}"}}"#,
                false,
            ),
            (r#"{"type":"connection_terminate"}"#, false),
            (r"{}", false),
            (r"[]", false),
            (r#""hi""#, false),
            (r#"{"nope"#, false),
            ("", false),
        ];
        for (text, wanted) in rows {
            assert_eq!(parse(text).is_ok(), wanted, "{text}");
        }
        let long = format!(
            r#"{{"type":"complete","id":"{}"}}"#,
            "x".repeat(ID_BYTES_MAX + 1)
        );
        assert!(parse(&long).is_err());
    }

    #[test]
    fn ids_are_quoted_again() {
        assert_eq!(complete("a\"b"), r#"{"id":"a\"b","type":"complete"}"#);
    }
}
