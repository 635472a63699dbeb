//! The log on standard error, and traces to an OpenTelemetry collector where one is named.
//!
//! Both tell of work, never of content: ids and counts, no address, subject, body or token.
//! Not for: what is counted (`http::metrics`).

use crate::mail::tls::TlsTrust;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

/// What a collector calls us, unless `OTEL_SERVICE_NAME` says otherwise.
const SERVICE: &str = "mailroom";
/// Where collectors take traces, below the address that is configured.
const TRACES_PATH: &str = "/v1/traces";
/// A collector that takes longer loses the batch: nothing waits for it.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Our own spans alone: libraries' would tell of every connection.
const OURS: &str = "mailroom";

/// What is told, and where.
#[derive(Debug, Clone, Copy)]
pub struct TelemetrySettings<'a> {
    /// A level, or directives of `tracing`.
    pub log: &'a str,
    pub log_json: bool,
    /// The base address of a collector that takes OTLP over HTTP; none: no traces are made.
    pub otlp_endpoint: Option<&'a str>,
    /// Further authorities for its certificate, PEM.
    pub ca_file: Option<&'a Path>,
}

/// Why it could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A setting can't be used; the text says which and why.
    #[error("{0}")]
    Setting(String),
    /// Somebody else in this process tells already.
    #[error("the log could not be started: {0}")]
    Start(String),
}

/// What is told goes on until this is dropped, which sends what waits.
#[must_use = "traces that wait are lost with it"]
pub struct Telemetry(Option<SdkTracerProvider>);

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::debug!(%error, "the last traces were not sent");
        }
    }
}

/// Starts the log, and the traces. Not within an async runtime.
///
/// # Errors
/// A filter or an address that can't be used.
pub fn start(settings: TelemetrySettings<'_>) -> Result<Telemetry, TelemetryError> {
    let filter = EnvFilter::try_new(settings.log)
        .map_err(|error| setting(format!("MAILROOM_LOG {:?}: {error}", settings.log)))?;
    let log = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let log = if settings.log_json {
        log.json().with_filter(filter).boxed()
    } else {
        log.with_filter(filter).boxed()
    };
    let provider = settings
        .otlp_endpoint
        .map(|endpoint| provider(endpoint, settings.ca_file))
        .transpose()?;
    let traces = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(SERVICE))
            // Where in the code it is, and on which thread, is no help to whoever runs it.
            .with_location(false)
            .with_threads(false)
            .with_filter(Targets::new().with_target(OURS, LevelFilter::INFO))
    });
    tracing_subscriber::registry()
        .with(log)
        .with(traces)
        .try_init()
        .map_err(|error| TelemetryError::Start(error.to_string()))?;
    Ok(Telemetry(provider))
}

const fn setting(text: String) -> TelemetryError {
    TelemetryError::Setting(text)
}

/// Sends spans by the batch, from a thread of its own.
fn provider(endpoint: &str, ca_file: Option<&Path>) -> Result<SdkTracerProvider, TelemetryError> {
    let bad = |why: String| setting(format!("OTEL_EXPORTER_OTLP_ENDPOINT {endpoint:?}: {why}"));
    let url = url::Url::parse(endpoint).map_err(|error| bad(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("it must begin with http: or https:".to_owned()));
    }
    let trust = TlsTrust::load_file(ca_file)
        .map_err(|error| setting(format!("MAILROOM_CA_FILE: {error}")))?;
    let client = reqwest::blocking::Client::builder()
        .tls_backend_preconfigured(trust.client_config().clone())
        .timeout(EXPORT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| bad(error.to_string()))?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}{TRACES_PATH}", endpoint.trim_end_matches('/')))
        .build()
        .map_err(|error| bad(error.to_string()))?;
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name(SERVICE);
    }
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .build())
}

struct TraceParent<'a>(&'a str);

impl Extractor for TraceParent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

/// Makes a span a part of its caller's trace, by the header `traceparent` (W3C Trace Context); a header that is none means
/// nothing.
pub fn join_trace(span: &Span, trace_parent: &str) {
    let context = TraceContextPropagator::new().extract(&TraceParent(trace_parent));
    // Without a collector there is nothing to join.
    let _unless_traced = span.set_parent(context);
}
