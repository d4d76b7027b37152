//! ApiVersions (18), versions 0-4: what is served.
//!
//! A version that is not served is answered in version 0 with UNSUPPORTED_VERSION and this API's own range, so that the
//! client can ask again (KIP-511). From version 3 the client names its software, in a form that is checked.

use super::Call;
use crate::config::{FINALIZED_FEATURES, GROUP_VERSION, METADATA_VERSION};
use millrace_io::Io;
use millrace_proto::kafka::api::{Api, ApiKey, supported};
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::header::encode_response;
use millrace_proto::kafka::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use millrace_proto::kafka::wire::EncodedFrame;

/// The oldest `metadata.version` that Kafka 4.x can be at, 3.3-IV3.
const OLDEST_METADATA_VERSION: i16 = 7;

/// The answer to a version that is not served.
pub(super) fn unsupported(correlation_id: i32) -> EncodedFrame {
    let own = supported().iter().filter(|api| api.key == ApiKey::ApiVersions);
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion,
        api_keys: own.map(range).collect(),
        ..ApiVersionsResponse::default()
    };
    encode_response(0, correlation_id, &response).expect("version 0 is served")
}

pub(super) async fn handle<I: Io>(call: Call<I>, request: ApiVersionsRequest<'_>) {
    let names = [request.client_software_name, request.client_software_version];
    if call.version >= 3 && !names.into_iter().all(is_software_name) {
        let error_code = call.error(ErrorCode::InvalidRequest);
        return call.answer(&ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() });
    }
    let response = ApiVersionsResponse {
        api_keys: supported().iter().map(range).collect(),
        supported_features: [
            ("group.version", 0, GROUP_VERSION),
            ("metadata.version", OLDEST_METADATA_VERSION, METADATA_VERSION),
        ]
        .map(|(name, min_version, max_version)| SupportedFeatureKey { name, min_version, max_version })
        .to_vec(),
        finalized_features_epoch: call.shard.image().end().get(),
        finalized_features: FINALIZED_FEATURES
            .iter()
            .map(|&(name, level)| FinalizedFeatureKey {
                name,
                max_version_level: level,
                min_version_level: level,
            })
            .collect(),
        ..ApiVersionsResponse::default()
    };
    call.answer(&response);
}

fn range(api: &Api) -> ApiVersion {
    ApiVersion {
        api_key: api.key.code(),
        min_version: *api.advertised.start(),
        max_version: *api.advertised.end(),
    }
}

/// KIP-511: letters and digits, with dots and dashes between them.
fn is_software_name(name: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-');
    let bytes = name.as_bytes();
    bytes.iter().all(|&c| inner(c))
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_have_a_form() {
        for good in ["librdkafka", "apache-kafka-java", "2.12.1", "a"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", ".x", "ä"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}
