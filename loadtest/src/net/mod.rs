//! Target URLs, sockets and the limit on them.

mod limit;
mod socket;
mod url;

pub use limit::{TooMany, make_room};
pub use socket::{connect, read, reset_on_close, write};
pub use url::{Sources, Target, Unreachable};
