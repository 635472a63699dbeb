//! GraphiQL at `/graphiql`, whole from the binary: no other host is asked for anything.
//! Its files are the published ones of graphiql 3.9.0, react and react-dom 18.3.1 and graphql-ws
//! 6.4.2 (licences beside them); `page.*` are ours. Not for: tokens, which never leave the page but
//! as headers and in `connection_init`.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HOST, IF_NONE_MATCH, LOCATION,
};
use actix_web::web::{self, Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::State;

struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($name:literal $content_type:literal),+ $(,)?) => {
        [$(Asset {
            name: $name,
            content_type: $content_type,
            bytes: include_bytes!(concat!("assets/", $name)),
        }),+]
    };
}

static ASSETS: [Asset; 7] = assets! {
    "graphiql.min.css" "text/css; charset=utf-8",
    "graphiql.min.js" "text/javascript; charset=utf-8",
    "graphql-ws.min.js" "text/javascript; charset=utf-8",
    "page.css" "text/css; charset=utf-8",
    "page.js" "text/javascript; charset=utf-8",
    "react-dom.production.min.js" "text/javascript; charset=utf-8",
    "react.production.min.js" "text/javascript; charset=utf-8",
};
static PAGE: &str = include_str!("assets/page.html");

/// `/graphiql`, its files, and `/` that leads there.
pub fn routes(config: &mut ServiceConfig) {
    config
        .route("/", web::get().to(home))
        .route("/graphiql", web::get().to(page))
        .route("/graphiql/{name}", web::get().to(asset));
}

async fn home(state: Data<State>) -> HttpResponse {
    if state.graphiql {
        HttpResponse::Found()
            .insert_header((LOCATION, "/graphiql"))
            .finish()
    } else {
        super::not_found().await
    }
}

async fn page(request: HttpRequest, state: Data<State>) -> HttpResponse {
    if !state.graphiql {
        return super::not_found().await;
    }
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    HttpResponse::Ok()
        .insert_header((CONTENT_SECURITY_POLICY, policy(host)))
        .content_type("text/html; charset=utf-8")
        .body(PAGE)
}

/// Scripts from here alone. The editor's own style sheet carries its fonts and two pictures as data,
/// and its dialogs add a style element. Older browsers don't count a WebSocket of the same host as
/// `'self'`, so it is named.
fn policy(host: Option<&str>) -> String {
    let is_plain = |host: &&str| {
        host.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte))
    };
    let sockets = host
        .filter(is_plain)
        .map(|host| format!(" ws://{host} wss://{host}"))
        .unwrap_or_default();
    format!(
        "default-src 'self'; connect-src 'self'{sockets}; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data:; font-src 'self' data:; object-src 'none'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    )
}

async fn asset(request: HttpRequest, name: Path<String>, state: Data<State>) -> HttpResponse {
    let found = ASSETS.iter().find(|asset| asset.name == name.as_str());
    let (Some(asset), true) = (found, state.graphiql) else {
        return super::not_found().await;
    };
    let tag = format!("\"{}\"", blake3::hash(asset.bytes).to_hex());
    let known = request
        .headers()
        .get(IF_NONE_MATCH)
        .and_then(|known| known.to_str().ok());
    if known == Some(tag.as_str()) {
        return HttpResponse::NotModified()
            .insert_header((ETAG, tag))
            .finish();
    }
    HttpResponse::Ok()
        .insert_header((ETAG, tag))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .content_type(asset.content_type)
        .body(asset.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_no_other_host() {
        assert!(!PAGE.contains("http://") && !PAGE.contains("https://"));
        for script in PAGE.split("src=\"").skip(1) {
            let path = script.split('"').next().unwrap();
            let name = path.strip_prefix("/graphiql/").unwrap();
            assert!(ASSETS.iter().any(|asset| asset.name == name), "{name}");
        }
    }

    #[test]
    fn a_strange_host_does_not_reach_the_policy() {
        assert!(policy(Some("crm.example:8080")).contains("ws://crm.example:8080 "));
        assert!(!policy(Some("x; script-src *")).contains("script-src"));
        assert!(!policy(None).contains("ws://"));
    }
}
