//! HTTP for functions: API Gateway's payload format 2.0 (developer guide, "Create AWS Lambda proxy integrations for HTTP APIs"), which function
//! URLs have, too. Pure: a request becomes an event, a function's result a response; who listens and who runs the function is others' matter.

mod answer;
pub mod cors;
mod event;
pub mod percent;

pub use answer::{Malformed, head, of_result};
pub use event::{Connection, Gateway, Request, Service};
