//! The schema as the transports see it: text and a session in, JSON out. No type of the GraphQL
//! library crosses this line. Not for: HTTP, sockets, tokens.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_graphql::parser::types::ExecutableDocument;
use async_graphql::{ObjectType, Request, Response, Schema, SubscriptionType, Variables};
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};
use serde_json::{Map, Value as Json};
use tracing::Instrument as _;

use super::answer::{Begins, refuse, shape};
use super::cost::Costs;
use super::document::{self, Accepted, DocumentCache, RequestError};
use super::error::Code;
use super::limits::{self, DEADLINE_SECONDS};
use super::persisted::Documents;
use super::rates::{Charged, Rates};
use super::straight::ListsOnce;
use super::tally::{Outcome, Tally};
use crate::model::measure::micros;
use crate::model::people::Session;
use crate::telemetry;

pub use super::answer::{ApiResponse, RequestId};
pub use super::document::OperationKind;
pub use super::persisted::names_document;

/// One GraphQL request, as a client sent it.
#[derive(Debug, Clone, Default)]
pub struct ApiRequest {
    /// The document; empty where the request names one instead.
    pub query: String,
    /// The name of a document that the server knows.
    pub document_id: Option<String>,
    pub operation_name: Option<String>,
    pub variables: Map<String, Json>,
    pub extensions: Map<String, Json>,
    /// Say in `extensions.cost` of the answer what it cost.
    pub tells_cost: bool,
    /// The caller's trace (W3C Trace Context).
    pub trace_parent: Option<String>,
}

/// Who asks, for resolvers: `ctx.data::<Caller>()` is always there, `None` for nobody signed in.
#[derive(Debug, Clone)]
pub struct Caller(pub Option<Session>);

/// Who may read the schema through `__schema` and `__type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Introspection {
    /// Anybody.
    Everyone,
    /// Whoever has a session.
    #[default]
    SignedIn,
    /// Administrators.
    Administrators,
    /// Nobody.
    Nobody,
}

impl Introspection {
    fn refuses(self, session: Option<&Session>) -> Option<RequestError> {
        let refusal = |code, message| Some(RequestError::new(code, message, None));
        match (self, session) {
            (Self::Everyone, _) | (Self::SignedIn, Some(_)) => None,
            (Self::Administrators, Some(session)) if session.viewer.is_administrator => None,
            (Self::Nobody, _) => refusal(Code::Forbidden, "The schema can't be read here."),
            (_, None) => refusal(Code::Unauthenticated, "Sign in to read the schema."),
            (Self::Administrators, Some(_)) => {
                refusal(Code::Forbidden, "Administrators alone may read the schema.")
            }
        }
    }
}

/// A request that parsed, is within the limits, and names one operation.
#[derive(Debug)]
pub struct Prepared {
    request: ApiRequest,
    accepted: Arc<Accepted>,
    kind: OperationKind,
    cost: usize,
    /// The document is to be kept under this hash, once it has proved to be valid.
    learn: Option<[u8; 32]>,
}

impl Prepared {
    /// What the chosen operation is.
    pub const fn kind(&self) -> OperationKind {
        self.kind
    }
}

/// The schema behind a wall. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    executor: Arc<dyn Executor>,
    documents: Arc<DocumentCache>,
    costs: Arc<Costs>,
    tally: Arc<Tally>,
    persisted: Arc<Documents>,
    rates: Option<Rates>,
    introspection: Introspection,
}

/// A query or mutation that takes longer is told of in the log.
const SLOW: Duration = Duration::from_secs(1);

/// A schema of any root types.
trait Executor: Send + Sync {
    fn execute(&self, request: Request) -> BoxFuture<'_, Response>;
    fn stream(&self, request: Request) -> BoxStream<'static, Response>;
    fn subscription_root(&self) -> String;
}

impl<Q, M, S> Executor for Schema<Q, M, S>
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    fn execute(&self, request: Request) -> BoxFuture<'_, Response> {
        Schema::execute(self, request).boxed()
    }

    fn stream(&self, request: Request) -> BoxStream<'static, Response> {
        self.execute_stream(request)
    }

    fn subscription_root(&self) -> String {
        S::type_name().into_owned()
    }
}

impl Api {
    /// Puts a schema, built through [`limits::apply`], behind the wall.
    pub fn new<Q, M, S>(schema: Schema<Q, M, S>, introspection: Introspection) -> Self
    where
        Q: ObjectType + 'static,
        M: ObjectType + 'static,
        S: SubscriptionType + 'static,
    {
        Self {
            costs: Arc::new(Costs::of_schema(&schema.sdl())),
            executor: Arc::new(schema),
            documents: Arc::default(),
            tally: Arc::default(),
            persisted: Arc::new(Documents::Open),
            rates: None,
            introspection,
        }
    }

    /// The same, with a limit to what each user asks for in a minute.
    #[must_use]
    pub fn with_rates(mut self, rates: Option<Rates>) -> Self {
        self.rates = rates;
        self
    }

    /// The same, running these documents.
    #[must_use]
    pub fn with_documents(mut self, documents: Documents) -> Self {
        self.persisted = Arc::new(documents);
        self
    }

    /// What was asked so far, in numbers.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Parses a request and checks it against the limits. The error is a response without `data`.
    pub fn prepare(
        &self,
        request: ApiRequest,
        request_id: &RequestId,
    ) -> Result<Prepared, ApiResponse> {
        self.accept(request).map_err(|error| {
            self.tally.ended(None, Outcome::Refused(error.code));
            refuse(vec![error], request_id)
        })
    }

    fn accept(&self, mut request: ApiRequest) -> Result<Prepared, RequestError> {
        limits::check_variables(&request.variables)?;
        let meant = self.persisted.resolve(&request)?;
        request.query = meant.text.to_string();
        let accepted = self.documents.accept(&request.query)?;
        let operation = document::choose(&accepted.document, request.operation_name.as_deref())?;
        document::check_required_variables(&operation.node, &request.variables)?;
        let cost = self
            .costs
            .check(&accepted.document, &operation.node, &request.variables);
        let cost = cost
            .map_err(|dear| RequestError::new(Code::CostLimitExceeded, dear.to_string(), None))?;
        let kind = operation.node.ty.into();
        self.tally.cost(kind, cost);
        Ok(Prepared {
            request,
            accepted,
            kind,
            cost,
            learn: meant.learn,
        })
    }

    /// Runs a prepared query or mutation.
    pub async fn run(
        &self,
        prepared: Prepared,
        session: Option<Session>,
        request_id: RequestId,
    ) -> ApiResponse {
        let (kind, cost, began) = (prepared.kind, prepared.cost, Instant::now());
        // What is logged on the way carries the request's id.
        let lesson = self.lesson(&prepared, session.as_ref());
        let span =
            tracing::info_span!("operation", request_id = %request_id, kind = kind.as_text());
        if let Some(caller) = &prepared.request.trace_parent {
            telemetry::join_trace(&span, caller);
        }
        let running = self.run_now(prepared, session, request_id);
        let response = running.instrument(span.clone()).await;
        let (outcome, took) = (outcome(&response), began.elapsed());
        self.tally.ended(Some(kind), outcome);
        self.tally.took(kind, took);
        lesson.learn(&response);
        let microseconds = micros(took);
        span.in_scope(|| {
            if took >= SLOW {
                tracing::info!(cost, microseconds, ?outcome, "slow operation");
            } else {
                tracing::debug!(cost, microseconds, ?outcome, "operation");
            }
        });
        response
    }

    /// Documents are learnt from whoever is signed in: others must not push those of users out.
    fn lesson(&self, prepared: &Prepared, session: Option<&Session>) -> Lesson {
        let hash = prepared.learn.filter(|_hash| session.is_some());
        Lesson(hash.map(|hash| {
            let text = prepared.request.query.clone();
            (Arc::clone(&self.persisted), hash, text)
        }))
    }

    /// Charges whoever is signed in.
    fn charge(
        &self,
        prepared: &Prepared,
        session: Option<&Session>,
    ) -> Result<Charged, RequestError> {
        let cost = prepared.cost;
        let (Some(rates), Some(session)) = (&self.rates, session) else {
            return Ok(Charged {
                cost,
                standing: None,
            });
        };
        match rates.charge(session.viewer.user_id, cost) {
            Ok(standing) => Ok(Charged {
                cost,
                standing: Some(standing),
            }),
            Err(standing) => {
                let seconds = standing.resets_in_seconds;
                let message = format!(
                    "This costs {cost}, and {} of {} a minute are left: try again in {seconds} s.",
                    standing.remaining, standing.limit
                );
                Err(RequestError {
                    retry_after_seconds: Some(seconds),
                    ..RequestError::new(Code::RateLimited, message, None)
                })
            }
        }
    }

    async fn run_now(
        &self,
        prepared: Prepared,
        session: Option<Session>,
        request_id: RequestId,
    ) -> ApiResponse {
        if prepared.kind == OperationKind::Subscription {
            let message = "Subscriptions need a WebSocket, or Accept: text/event-stream.";
            return ApiResponse::refusal(Code::BadUserInput, message, &request_id);
        }
        let tells_cost = prepared.request.tells_cost;
        let charged = match self.charge(&prepared, session.as_ref()) {
            Ok(charged) => charged,
            Err(error) => return refuse(vec![error], &request_id),
        };
        let request = match self.library_request(prepared, session, charged, &request_id) {
            Ok(request) => request,
            Err(error) => return refuse(vec![error], &request_id),
        };
        let running = AssertUnwindSafe(self.executor.execute(request)).catch_unwind();
        let deadline = Duration::from_secs(DEADLINE_SECONDS);
        match tokio::time::timeout(deadline, running).await {
            Ok(Ok(mut response)) => {
                if tells_cost {
                    let cost = charged.told();
                    response.extensions.insert("cost".to_owned(), cost);
                }
                shape(response, Begins::Answer, &request_id)
            }
            Ok(Err(_panic)) => {
                // The panic hook has logged the place.
                tracing::error!(request_id = %request_id, "a resolver panicked");
                refuse(vec![panicked()], &request_id)
            }
            Err(_elapsed) => {
                tracing::warn!(request_id = %request_id, "an operation ran into the deadline");
                refuse(vec![too_slow()], &request_id)
            }
        }
    }

    /// Runs a prepared operation of any kind; a query or mutation makes a stream of one response.
    /// After a response that [is a request error](ApiResponse::is_request_error) nothing follows.
    pub fn stream(
        &self,
        prepared: Prepared,
        session: Option<Session>,
        request_id: RequestId,
    ) -> BoxStream<'static, ApiResponse> {
        if prepared.kind != OperationKind::Subscription {
            let api = self.clone();
            return stream::once(async move { api.run(prepared, session, request_id).await })
                .boxed();
        }
        let lesson = self.lesson(&prepared, session.as_ref());
        let request = self
            .charge(&prepared, session.as_ref())
            .and_then(|charged| self.library_request(prepared, session, charged, &request_id));
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                let outcome = Outcome::Refused(error.code);
                self.tally.ended(Some(OperationKind::Subscription), outcome);
                return stream::iter([refuse(vec![error], &request_id)]).boxed();
            }
        };
        let responses = AssertUnwindSafe(self.executor.stream(request)).catch_unwind();
        shape_stream(responses, (Arc::clone(&self.tally), lesson), request_id)
    }

    /// [`Api::prepare`] and [`Api::run`] in one.
    pub async fn execute(
        &self,
        request: ApiRequest,
        session: Option<Session>,
        request_id: RequestId,
    ) -> ApiResponse {
        match self.prepare(request, &request_id) {
            Ok(prepared) => self.run(prepared, session, request_id).await,
            Err(refused) => refused,
        }
    }

    /// [`Api::prepare`] and [`Api::stream`] in one.
    pub fn subscribe(
        &self,
        request: ApiRequest,
        session: Option<Session>,
        request_id: RequestId,
    ) -> BoxStream<'static, ApiResponse> {
        match self.prepare(request, &request_id) {
            Ok(prepared) => self.stream(prepared, session, request_id),
            Err(refused) => stream::iter([refused]).boxed(),
        }
    }

    fn library_request(
        &self,
        prepared: Prepared,
        session: Option<Session>,
        charged: Charged,
        request_id: &RequestId,
    ) -> Result<Request, RequestError> {
        let Prepared {
            request,
            accepted,
            kind,
            cost: _,
            learn: _,
        } = prepared;
        if accepted.facts.uses_introspection
            && let Some(refusal) = self.introspection.refuses(session.as_ref())
        {
            return Err(refusal);
        }
        let mut document: ExecutableDocument = accepted.document.clone();
        if kind == OperationKind::Subscription {
            let root_type = self.executor.subscription_root();
            let name = request.operation_name.as_deref();
            document::settle_subscription_root(&mut document, name, &root_type)?;
        }
        let mut library = Request::new(request.query)
            .variables(Variables::from_json(Json::Object(request.variables)))
            .data(Caller(session))
            .data(charged)
            .data(ListsOnce(accepted.facts.selects_lists_once))
            .data(request_id.clone());
        library.operation_name = request.operation_name;
        library.set_parsed_query(document);
        Ok(library)
    }
}

/// A document to be kept, where its first response shows that it was valid.
struct Lesson(Option<(Arc<Documents>, [u8; 32], String)>);

impl Lesson {
    fn learn(&self, response: &ApiResponse) {
        if let (Some((documents, hash, text)), None) = (&self.0, response.refused) {
            documents.learn(*hash, text);
        }
    }
}

fn shape_stream(
    responses: impl Stream<Item = std::thread::Result<Response>> + Send + 'static,
    (tally, lesson): (Arc<Tally>, Lesson),
    request_id: RequestId,
) -> BoxStream<'static, ApiResponse> {
    let shaped = async_stream::stream! {
        let _present = tally.subscriptions.enter();
        let mut responses = Box::pin(responses);
        let mut begins = Begins::Stream;
        while let Some(response) = responses.next().await {
            let response = match response {
                Ok(response) => shape(response, begins, &request_id),
                Err(_panic) => {
                    tracing::error!(request_id = %request_id, "a subscription panicked");
                    refuse(vec![panicked()], &request_id)
                }
            };
            if begins == Begins::Stream {
                tally.ended(Some(OperationKind::Subscription), outcome(&response));
                lesson.learn(&response);
            }
            tally.events.count();
            begins = Begins::Event;
            let is_last = response.is_request_error();
            yield response;
            if is_last {
                break;
            }
        }
    };
    shaped.boxed()
}

fn outcome(response: &ApiResponse) -> Outcome {
    match (response.refused, &response.errors) {
        (Some(code), _) => Outcome::Refused(code),
        (None, Some(_errors)) => Outcome::Errors,
        (None, None) => Outcome::Ok,
    }
}

fn panicked() -> RequestError {
    RequestError::new(Code::Internal, super::error::INTERNAL_MESSAGE, None)
}

fn too_slow() -> RequestError {
    let message = format!(
        "The operation was stopped after {DEADLINE_SECONDS} s; a mutation may have taken effect."
    );
    RequestError::new(Code::CostLimitExceeded, message, None)
}
