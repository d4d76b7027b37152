//! What runs come to, for people: tables of medians and spreads as text, and a page with plots.

pub mod figures;
pub mod html;
pub mod svg;
pub mod text;

use crate::error::{Doing, Result};
use crate::result::Run;
use std::fs;
use std::path::Path;

/// Writes `report.txt` and `report.html` into a folder.
pub fn write(folder: &Path, runs: &[Run]) -> Result<()> {
    for (name, content) in [("report.txt", text::runs(runs)), ("report.html", html::page(runs))] {
        let path = folder.join(name);
        fs::write(&path, content).doing(path.display())?;
    }
    Ok(())
}
