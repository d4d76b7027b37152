//! The settings for people: the help of `millrace serve --help-config`, and the page `docs/reference/configuration.md`.

use super::registry::{self, Setting, Support};
use super::topic;
use std::fmt::Write;

const HEAD: &str = "\
# Configuration

`millrace serve --config FILE` reads a file in Java's properties syntax. Names and meanings are Kafka's; settings of
Millrace alone are marked *ours*. A setting that is unknown, ill-typed or not supported is an error that names it, its
value and the line.

This page is made from the tables in `broker/src/config/`; `UPDATE=1 cargo test -p millrace` writes it anew.
";

fn sorted(support: Support) -> Vec<&'static Setting> {
    let mut settings: Vec<_> = registry::settings().iter().filter(|s| s.support() == support).collect();
    settings.sort_by_key(|setting| setting.name);
    settings
}

/// The reference page, as Markdown.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n## The broker\n\n| setting | type | default | |\n|---|---|---|---|\n");
    for setting in sorted(Support::Full) {
        let ours = if setting.kafka { "" } else { "*Ours.* " };
        let doc = format!("{ours}{}", setting.doc);
        row(&mut page, setting.name, &[type_name(setting.config_type), &default(setting), &doc]);
    }
    page.push_str("\n## Topics\n\nSet for one topic when it is created; the broker's setting holds for topics without their own.\n\n");
    page.push_str("| setting | the broker's | default | |\n|---|---|---|---|\n");
    for setting in topic::SETTINGS.iter().filter(|setting| setting.is_honoured()) {
        let broker = setting.synonym.map_or(String::new(), |name| format!("`{name}`"));
        row(&mut page, setting.name, &[&broker, &code(setting.default), setting.doc]);
    }
    page.push_str(
        "\n## Not supported yet\n\nThese may have their default only, for the broker and for topics.\n\n",
    );
    page.push_str("| setting | default | |\n|---|---|---|\n");
    let topics = topic::SETTINGS.iter().filter(|setting| !setting.is_honoured());
    let topics = topics.filter(|setting| setting.synonym != Some(setting.name));
    let topics = topics.map(|setting| (setting.name, code(setting.default), setting.doc));
    let broker = sorted(Support::DefaultOnly).into_iter().map(|s| (s.name, default(s), s.doc));
    let mut waiting: Vec<_> = topics.chain(broker).collect();
    waiting.sort();
    for (name, default, doc) in waiting {
        row(&mut page, name, &[&default, doc]);
    }
    page.push_str("\n## Without a meaning\n\nThese are accepted with a warning, and do nothing.\n\n| setting | why |\n|---|---|\n");
    for setting in sorted(Support::NoMeaning) {
        row(&mut page, setting.name, &[setting.doc]);
    }
    page
}

/// The settings that do something, for a terminal.
pub fn help() -> String {
    let mut help = String::new();
    for setting in sorted(Support::Full) {
        let default = setting.default().map_or(String::new(), |default| format!(" [default: {default}]"));
        // Writing to a string does not fail.
        let _ = writeln!(help, "{}={}{default}", setting.name, type_name(setting.config_type).to_uppercase());
        let _ = writeln!(help, "    {}", setting.doc);
    }
    help
}

fn row(page: &mut String, name: &str, cells: &[&str]) {
    let _ = writeln!(page, "| `{name}` | {} |", cells.join(" | "));
}

fn default(setting: &Setting) -> String {
    code(&setting.default().unwrap_or_default())
}

fn code(value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("`{value}`") }
}

fn type_name(config_type: topic::Type) -> &'static str {
    match config_type {
        topic::Type::Boolean => "boolean",
        topic::Type::String => "text",
        topic::Type::Int | topic::Type::Long => "number",
        topic::Type::Double => "fraction",
        topic::Type::List => "list",
    }
}
