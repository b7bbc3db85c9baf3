//! The certificate authorities that a function trusts.

use std::sync::OnceLock;

use deno_error::JsErrorBox;
use deno_tls::rustls::RootCertStore;
use deno_tls::{RootCertStoreProvider, create_default_root_cert_store, load_certs};

/// Mozilla's, and those of the file that NODE_EXTRA_CA_CERTS names; a file that cannot be read adds none (Node.js documentation,
/// "NODE_EXTRA_CA_CERTS"). `node:https` reads the variable by itself: this is for `fetch` and `WebSocket`.
#[derive(Default)]
pub struct Authorities(OnceLock<RootCertStore>);

impl RootCertStoreProvider for Authorities {
    fn get_or_try_init(&self) -> Result<&RootCertStore, JsErrorBox> {
        Ok(self.0.get_or_init(|| {
            let mut authorities = create_default_root_cert_store();
            let further = std::env::var_os("NODE_EXTRA_CA_CERTS").and_then(|path| std::fs::read(path).ok());
            if let Some(further) = further {
                authorities.add_parsable_certificates(load_certs(&mut further.as_slice()).unwrap_or_default());
            }
            authorities
        }))
    }
}
