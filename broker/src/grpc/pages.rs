//! Lists that are given out a page at a time.

use super::status::Status;

const DEFAULT: usize = 1000;
const LARGEST: usize = 10_000;

/// How many entries a page has, by the request's `page_size`.
pub(super) fn page_of(page_size: i32) -> Result<usize, Status> {
    match usize::try_from(page_size) {
        Ok(0) => Ok(DEFAULT),
        Ok(size) => Ok(size.min(LARGEST)),
        Err(_) => {
            let text = format!("is {page_size}; give 0 for the default, or a size");
            Err(Status::invalid("page_size", text))
        }
    }
}
