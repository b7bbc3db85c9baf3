//! The endpoint: AWS Lambda's API for real clients, and the admin API for the command line.

mod admin;
mod configuration;
mod error;
mod guard;
mod identity;
mod invoke;
mod keys;
mod name;
mod signed;
pub mod sigv4;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router as Routes;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use hikigane_router::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use admin::paths;
pub use keys::Keys;

/// What the endpoint answers from.
#[derive(Clone)]
pub struct Endpoint {
    pub(crate) router: Arc<Router>,
    pub(crate) packages: configuration::Packages,
    pub(crate) keys: Arc<Keys>,
    pub(crate) documents: identity::SharedDocuments,
    /// Set in test mode: the clock may be moved from outside.
    pub(crate) test_mode: bool,
}

impl Endpoint {
    /// An endpoint over `router`, for whoever signs with one of `keys`. In test mode the virtual clock can be moved by `POST /_hikigane/clock`.
    pub fn new(router: Arc<Router>, keys: Arc<Keys>, test_mode: bool) -> Self {
        Self {
            router,
            packages: configuration::Packages::default(),
            keys,
            documents: identity::SharedDocuments::default(),
            test_mode,
        }
    }

    /// Serves until `shutdown` fires, and then until the requests that were begun are answered.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> std::io::Result<()> {
        use axum::serve::ListenerExt;
        let address = listener.local_addr()?;
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let routes = self.routes(address).into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, routes)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await
    }

    fn routes(self, address: SocketAddr) -> Routes {
        let routes = Routes::new()
            .route("/", get(identity::serve).post(identity::serve))
            .route("/2015-03-31/functions", get(configuration::list_functions))
            .route("/2015-03-31/functions/", get(configuration::list_functions))
            .route("/2015-03-31/functions/{function}", get(configuration::get_function))
            .route(
                "/2015-03-31/functions/{function}/configuration",
                get(configuration::get_function_configuration),
            )
            .route("/2015-03-31/functions/{function}/invocations", post(invoke::invoke))
            .merge(admin::routes().layer(from_fn(guard::not_for_functions)))
            .fallback(error::unknown_operation)
            .method_not_allowed_fallback(error::unknown_operation);
        // A page of another site cannot sign, so what keeps it out is needed only where nobody has to.
        let routes = if self.keys.demand_signatures() {
            routes.layer(from_fn_with_state(self.clone(), signed::check))
        } else {
            routes.layer(from_fn_with_state(guard::Guard::new(address), guard::check))
        };
        routes.with_state(self)
    }
}
