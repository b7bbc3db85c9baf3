//! Keeps web pages away from a server on loopback, and functions from the admin API.
//!
//! Without access keys the endpoint listens on loopback and asks for no signature. A browser on the same machine can be made to send requests there, by a page of
//! any site: with the site's `Origin`, or, after rebinding its own name, with its name as `Host`. Both are refused.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use hikigane_model::FUNCTIONS_LOOPBACK;

use crate::error::ApiError;
use crate::keys::Caller;

/// The address that requests must mean.
#[derive(Clone, Copy)]
pub struct Guard {
    port: u16,
}

impl Guard {
    /// Accepts requests for `address`, by number or as `localhost`.
    pub fn new(address: SocketAddr) -> Self {
        Self { port: address.port() }
    }

    fn accepts_host(self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<axum::http::uri::Authority>() else {
            return false;
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let local =
            host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        local && authority.port_u16().unwrap_or(80) == self.port
    }

    fn accepts_origin(self, origin: &str) -> bool {
        origin
            .strip_prefix("http://")
            .is_some_and(|authority| self.accepts_host(authority))
    }
}

/// Refuses a request whose `Host` is another's, or whose `Origin` is another site.
pub async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let text = |name| {
        headers
            .get(name)
            .map(|value: &axum::http::HeaderValue| value.to_str().unwrap_or_default())
    };
    let host = text(HOST).or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    let host_is_ours = host.is_some_and(|host| guard.accepts_host(host));
    if !host_is_ours || text(ORIGIN).is_some_and(|origin| !guard.accepts_origin(origin)) {
        return ApiError::new(
            403,
            "AccessDeniedException",
            "this server answers requests to its own loopback address only",
        )
        .into_response();
    }
    next.run(request).await
}

/// Refuses a request that a function sent: what the admin API shows and does is for the server's user.
pub async fn not_for_functions(ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request, next: Next) -> Response {
    let signed_by_function = request.extensions().get::<Caller>().is_some_and(Caller::is_function);
    if signed_by_function || peer.ip() == IpAddr::V4(FUNCTIONS_LOOPBACK) {
        return ApiError::new(403, "AccessDeniedException", "the admin API is not for functions").into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_address_is_ours() {
        let guard = Guard { port: 9000 };
        for good in [
            "127.0.0.1:9000",
            "localhost:9000",
            "LOCALHOST:9000",
            "[::1]:9000",
            "127.0.0.2:9000",
        ] {
            assert!(guard.accepts_host(good), "{good}");
        }
        for bad in [
            "127.0.0.1",
            "127.0.0.1:80",
            "example.com:9000",
            "localhost.example.com:9000",
            "0.0.0.0:9000",
            "10.0.0.1:9000",
            "",
            "a b",
        ] {
            assert!(!guard.accepts_host(bad), "{bad}");
        }
        assert!(guard.accepts_origin("http://localhost:9000"));
        for bad in [
            "null",
            "http://example.com",
            "https://localhost:9000",
            "http://localhost:9001",
            "",
        ] {
            assert!(!guard.accepts_origin(bad), "{bad}");
        }
    }
}
