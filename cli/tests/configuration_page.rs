//! `docs/reference/configuration.md` is what the tables of settings say; `UPDATE=1` writes it anew.

use millrace_broker::config::reference;
use std::path::Path;

#[test]
fn the_reference_page_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/configuration.md");
    let page = reference::page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().expect("it has one")).expect("the directory can be made");
        std::fs::write(&file, &page).expect("the page can be written");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == page,
        "docs/reference/configuration.md is old: UPDATE=1 cargo test -p millrace writes it anew"
    );
}
