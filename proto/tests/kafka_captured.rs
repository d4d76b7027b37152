//! Frames captured between real clients and Apache Kafka 4.3.1: each one is understood, and writing it again gives the
//! same bytes. `testdata/captured` has them without their size, as `<client>-<api>-v<version>[-response].bin`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use millrace_proto::for_each_served_api;
use millrace_proto::kafka::api::{self, ApiKey};
use millrace_proto::kafka::frame::PREFIX;
use millrace_proto::kafka::header::{self, RequestHeader};
use millrace_proto::kafka::messages::{
    alter_configs::*, alter_partition_reassignments::*, alter_replica_log_dirs::*, api_versions::*,
    consumer_group_describe::*, consumer_group_heartbeat::*, create_partitions::*, create_topics::*,
    delete_groups::*, delete_records::*, delete_topics::*, describe_cluster::*, describe_configs::*,
    describe_groups::*, describe_log_dirs::*, describe_producers::*, describe_quorum::*,
    describe_topic_partitions::*, elect_leaders::*, fetch::*, find_coordinator::*, heartbeat::*,
    incremental_alter_configs::*, init_producer_id::*, join_group::*, leave_group::*,
    list_config_resources::*, list_groups::*, list_offsets::*, list_partition_reassignments::*, metadata::*,
    offset_commit::*, offset_delete::*, offset_fetch::*, offset_for_leader_epoch::*, produce::*,
    sync_group::*, update_features::*,
};

/// One captured frame.
struct Captured {
    path: PathBuf,
    api: String,
    version: i16,
    is_response: bool,
    bytes: Vec<u8>,
}

fn captured() -> Vec<Captured> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/captured");
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .map(parse_name)
        .collect()
}

fn parse_name(path: PathBuf) -> Captured {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let (name, is_response) = name.strip_suffix("-response").map_or((name, false), |name| (name, true));
    let (name, version) = name.rsplit_once("-v").unwrap();
    let (_client, api) = name.rsplit_once('-').unwrap();
    let (api, version) = (api.to_owned(), version.parse().unwrap());
    let bytes = std::fs::read(&path).unwrap();
    Captured { path, api, version, is_response, bytes }
}

/// Reads a frame and writes it again.
fn again(captured: &Captured, key: ApiKey) -> Vec<u8> {
    macro_rules! again {
        ($($name:ident $request:ident $response:ident;)*) => {
            match (key, captured.is_response) {
                $(
                    (ApiKey::$name, false) => {
                        let (header, body) = RequestHeader::decode(&captured.bytes).unwrap();
                        assert_eq!(header.api(), Some(key));
                        assert_eq!(header.api_version, captured.version);
                        let request: $request = api::decode_request(body, header.api_version).unwrap();
                        let (id, client) = (header.correlation_id, header.client_id);
                        header::encode_request(header.api_version, id, client, &request).unwrap()
                    }
                    (ApiKey::$name, true) => {
                        let version = captured.version;
                        let (id, body) =
                            header::decode_response_header::<$response>(&captured.bytes, version).unwrap();
                        let response: $response = api::decode_response(body, version).unwrap();
                        header::encode_response(version, id, &response).unwrap().head
                    }
                )*
                (other, _) => panic!("{other} is not served"),
            }
        };
    }
    let frame = for_each_served_api!(again!);
    frame[PREFIX..].to_vec()
}

#[test]
fn captured_frames_are_understood() {
    let mut seen = BTreeSet::new();
    for captured in captured() {
        let Some(api) = api::supported().iter().find(|api| api.key.name() == captured.api) else { continue };
        if !api.served.contains(&captured.version) {
            continue;
        }
        let written = again(&captured, api.key);
        assert!(written == captured.bytes, "{}: {:x?}", captured.path.display(), written);
        seen.insert((api.key, captured.version, captured.is_response));
    }
    for api in api::supported() {
        for version in api.served.clone() {
            for is_response in [false, true] {
                assert!(
                    seen.contains(&(api.key, version, is_response)),
                    "nothing captured of {} {version}",
                    api.key
                );
            }
        }
    }
}
