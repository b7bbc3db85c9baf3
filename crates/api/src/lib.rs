//! The endpoint: AWS Lambda's API for real clients, and the admin API for the command line.

mod admin;
mod arriving;
mod catalog;
mod error;
mod event_stream;
mod guard;
mod identity;
mod input;
mod inspector;
mod invoke;
mod keys;
mod lambda;
mod name;
mod policy;
mod shapes;
mod signed;
mod signer;
pub mod signing;
pub mod sigv4;
mod stream;
mod url;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arriving::Arriving;
use axum::Router as Routes;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, get, post};
use hikigane_executor::Inspector;
use hikigane_listener::{self as listener, Ends};
use hikigane_router::Router;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use admin::{named, paths};
pub use inspector::{DebuggerDoor, front_end};
pub use keys::Keys;
pub use lambda::{Declared, Lambda, LambdaParts};
pub use policy::{Access, Caller};

/// How long nothing of a request's body may come.
const BODY_STALL: Duration = Duration::from_secs(30);

/// What the endpoint answers from.
#[derive(Clone)]
pub struct Endpoint {
    pub(crate) router: Arc<Router>,
    pub(crate) lambda: Arc<Lambda>,
    pub(crate) keys: Arc<Keys>,
    /// Set in test mode: the clock may be moved from outside.
    pub(crate) test_mode: bool,
    /// Where debuggers attach, when the server listens for them.
    pub(crate) inspector: Option<Inspector>,
}

impl Endpoint {
    /// An endpoint over `router` and `lambda`, for whoever signs with one of `keys`. In test mode the virtual clock can be moved by `POST /_hikigane/clock`.
    pub fn new(
        router: Arc<Router>,
        lambda: Arc<Lambda>,
        keys: Arc<Keys>,
        test_mode: bool,
        inspector: Option<Inspector>,
    ) -> Self {
        Self {
            router,
            lambda,
            keys,
            test_mode,
            inspector,
        }
    }

    /// Serves until `shutdown` fires, and then until the requests that were begun are answered.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> std::io::Result<()> {
        let bounds = listener::Bounds {
            connections: listener::Bounds::connections(),
            // Room for a presigned URL with a session's token, a client context and what else AWS takes.
            head: 64 * 1024,
            // Clients keep connections open for their next request, and debug what they read.
            head_time: Duration::from_secs(60),
            stall_time: Duration::from_secs(60),
            // Who stops the server says how long it waits.
            drain_time: Duration::MAX,
        };
        let routes = TowerToHyperService::new(self.routes(listener.local_addr()?));
        let service = |ends: Ends| {
            let routes = routes.clone();
            service_fn(move |request: Request<Incoming>| {
                let mut request = request.map(|body| Body::new(Arriving::new(body, BODY_STALL)));
                request.extensions_mut().insert(ConnectInfo(ends.peer));
                routes.call(request)
            })
        };
        listener::serve(listener, bounds, shutdown, service).await;
        Ok(())
    }

    fn routes(self, address: SocketAddr) -> Routes {
        let urls = url::PATHS
            .iter()
            .fold(Routes::new(), |routes, path| routes.route(path, any(url::by_path)));
        let routes = Routes::new()
            .route("/", get(identity::serve).post(identity::serve))
            .route("/2015-03-31/functions/{function}/invocations", post(invoke::invoke))
            .route(
                "/2014-11-13/functions/{function}/invoke-async",
                post(invoke::invoke_async),
            )
            .route(
                "/2014-11-13/functions/{function}/invoke-async/",
                post(invoke::invoke_async),
            )
            .route(
                "/2021-11-15/functions/{function}/response-streaming-invocations",
                post(stream::invoke_with_response_stream),
            )
            .merge(admin::routes().layer(from_fn(guard::not_for_functions)))
            .fallback(lambda::serve)
            .method_not_allowed_fallback(error::refuse_unknown_operation);
        // A page of another site cannot sign, so what keeps it out is needed only where nobody has to.
        let routes = if self.keys.demand_signatures() {
            routes.layer(from_fn_with_state(self.clone(), signed::check))
        } else {
            routes.layer(from_fn_with_state(guard::Guard::of(address), guard::check))
        };
        // Who may call a function's URL is the URL's own matter.
        let by_host = from_fn_with_state(self.clone(), url::by_host);
        routes.merge(urls).layer(by_host).with_state(self)
    }
}
