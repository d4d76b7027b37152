//! What must hold in every world, one property per file.

mod acked_records_stay;
mod answers_make_sense;
mod assignments_never_overlap;
mod clean_stops_are_clean;
mod clients_make_progress;
mod commits_go_forward;
mod committed_offsets_stay;
mod generations_share_once;
mod ledger;
mod offsets_have_no_gaps;
mod only_what_was_sent;
mod producer_ids_are_new;
mod producers_keep_their_order;
mod reads_are_final;
mod records_appear_once;
mod topics_stay;
mod watermarks_never_fall;
mod written_records_survive_a_kill;

use crate::judge::Fact;

/// A property of the whole world, told fact by fact.
pub trait Invariant {
    /// Its file's name.
    fn name(&self) -> &'static str;
    /// Takes the next fact; `Err` says how it breaks the property.
    fn observe(&mut self, fact: &Fact) -> Result<(), String>;
}

/// All of them, before anything has happened.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<acked_records_stay::AckedRecordsStay>::default(),
        Box::<answers_make_sense::AnswersMakeSense>::default(),
        Box::<assignments_never_overlap::AssignmentsNeverOverlap>::default(),
        Box::<clean_stops_are_clean::CleanStopsAreClean>::default(),
        Box::<clients_make_progress::ClientsMakeProgress>::default(),
        Box::<commits_go_forward::CommitsGoForward>::default(),
        Box::<committed_offsets_stay::CommittedOffsetsStay>::default(),
        Box::<generations_share_once::GenerationsShareOnce>::default(),
        Box::<offsets_have_no_gaps::OffsetsHaveNoGaps>::default(),
        Box::<only_what_was_sent::OnlyWhatWasSent>::default(),
        Box::<producer_ids_are_new::ProducerIdsAreNew>::default(),
        Box::<producers_keep_their_order::ProducersKeepTheirOrder>::default(),
        Box::<reads_are_final::ReadsAreFinal>::default(),
        Box::<records_appear_once::RecordsAppearOnce>::default(),
        Box::<topics_stay::TopicsStay>::default(),
        Box::<watermarks_never_fall::WatermarksNeverFall>::default(),
        Box::<written_records_survive_a_kill::WrittenRecordsSurviveAKill>::default(),
    ]
}
