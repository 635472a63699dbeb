//! The service around GraphQL, for those who run it and those who write clients: metrics, readiness, documents by
//! hash, streams over HTTP, rates, tokens from outside.

mod documents;
mod event_streams;
mod metrics;
mod outside;
mod rates;
mod storms;
mod traces;
