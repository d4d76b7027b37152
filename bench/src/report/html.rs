//! Reports as a page.
use crate::result::Run;
/// x
pub fn page(_: &[Run]) -> String {
    String::new()
}
