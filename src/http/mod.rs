//! The plain HTTP responses on the same port (RFC 9110, RFC 9112). Each ends its connection.

mod conditions;
#[cfg(feature = "pages")]
mod folder;
mod page;
mod response;
mod source;

pub(crate) use conditions::Conditions;
#[cfg(feature = "pages")]
pub use folder::Folder;
pub(crate) use page::Fixed;
pub use page::Page;
pub(crate) use response::Response;
pub use source::{Found, PageSource};
pub(crate) use source::{Lookup, Permits};
