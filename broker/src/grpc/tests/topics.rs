//! `Topics`, `Cluster`, health and reflection, over the wire.

use super::Setup;
use millrace_proto::grpc::grpc::health::v1::health_check_response::ServingStatus;
use millrace_proto::grpc::grpc::health::v1::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use millrace_proto::grpc::grpc::reflection::v1::server_reflection_request::MessageRequest;
use millrace_proto::grpc::grpc::reflection::v1::server_reflection_response::MessageResponse;
use millrace_proto::grpc::grpc::reflection::v1::{ServerReflectionRequest, ServerReflectionResponse};
use millrace_proto::grpc::v1;

#[test]
fn a_topics_life() {
    let setup = Setup::new(1);
    setup.run(async |client| {
        let create = |name: &str, partition_count| v1::CreateTopicRequest {
            name: name.into(),
            partition_count,
            ..Default::default()
        };
        let path = "/millrace.v1.Topics/Create";
        let created: v1::CreateTopicResponse =
            client.unary(path, &create("b", Some(2))).await.expect("created");
        let topic = created.topic.expect("a topic");
        assert_eq!((topic.partition_count, topic.topic_id.len()), (2, 22));
        for name in ["a", "c"] {
            client.unary::<v1::CreateTopicResponse>(path, &create(name, None)).await.expect("created");
        }
        let refused =
            async |request| client.unary::<v1::CreateTopicResponse>(path, &request).await.unwrap_err();
        assert_eq!(refused(create("b", None)).await.code, 6);
        for wrong in [create("", None), create("d", Some(0)), create("x/y", None)] {
            let end = refused(wrong).await;
            assert_eq!((end.code, end.details.is_some()), (3, true), "{end:?}");
        }

        let mut request = v1::ListTopicsRequest { page_size: 2, ..Default::default() };
        let path = "/millrace.v1.Topics/List";
        let page: v1::ListTopicsResponse = client.unary(path, &request).await.expect("a page");
        assert!(page.topics.iter().map(|topic| topic.name.as_str()).eq(["a", "b"]));
        request.page_token = page.next_page_token;
        let page: v1::ListTopicsResponse = client.unary(path, &request).await.expect("a page");
        assert_eq!((page.topics.len(), page.next_page_token.as_str()), (1, ""));

        use v1::{delete_topic_request, describe_topic_request};
        let by_id = Some(describe_topic_request::Topic::TopicId(topic.topic_id.clone()));
        let request = v1::DescribeTopicRequest { topic: by_id, include_offsets: true };
        let path = "/millrace.v1.Topics/Describe";
        let described: v1::DescribeTopicResponse = client.unary(path, &request).await.expect("described");
        let described = described.topic.expect("a topic");
        assert_eq!((described.name.as_str(), described.partitions.len()), ("b", 2));
        assert_eq!(described.partitions[1].high_watermark, Some(0));

        let by_name = Some(delete_topic_request::Topic::Name("b".into()));
        let request = v1::DeleteTopicRequest { topic: by_name };
        let path = "/millrace.v1.Topics/Delete";
        let deleted: v1::DeleteTopicResponse = client.unary(path, &request).await.expect("deleted");
        assert_eq!(deleted.topic_id, topic.topic_id);
        assert_eq!(client.unary::<v1::DeleteTopicResponse>(path, &request).await.unwrap_err().code, 5);
        let nothing = v1::DeleteTopicRequest { topic: None };
        assert_eq!(client.unary::<v1::DeleteTopicResponse>(path, &nothing).await.unwrap_err().code, 3);
    });
}

#[test]
fn the_cluster_says_where_it_listens() {
    let cluster: v1::DescribeClusterResponse = Setup::new(2)
        .run(async |client| {
            client.unary("/millrace.v1.Cluster/Describe", &v1::DescribeClusterRequest {}).await
        })
        .expect("described");
    let endpoints: Vec<_> = cluster.brokers[0].endpoints.iter().map(|at| (at.protocol(), at.port)).collect();
    assert_eq!(endpoints, [(v1::Protocol::Kafka, 9092), (v1::Protocol::Grpc, 9095)]);
}

#[test]
fn health_is_asked_listed_and_watched() {
    let setup = Setup::new(3);
    let terminate = || setup.server.terminate();
    setup.run(async |client| {
        let ask = async |service: &str| {
            let request = HealthCheckRequest { service: service.into() };
            client.unary::<HealthCheckResponse>("/grpc.health.v1.Health/Check", &request).await
        };
        for service in ["", "millrace.v1.Log"] {
            assert_eq!(ask(service).await.expect("known").status(), ServingStatus::Serving);
        }
        assert_eq!(ask("nobody").await.unwrap_err().code, 5);
        let list: HealthListResponse =
            client.unary("/grpc.health.v1.Health/List", &HealthListRequest {}).await.expect("a list");
        assert_eq!(list.statuses.len(), 7);
        for (service, status) in [("", ServingStatus::Serving), ("nobody", ServingStatus::ServiceUnknown)] {
            let mut watch = client.open("/grpc.health.v1.Health/Watch").await;
            watch.say(&HealthCheckRequest { service: service.into() });
            assert_eq!(watch.hear::<HealthCheckResponse>().await.expect("a status").status(), status);
            if !service.is_empty() {
                terminate();
                assert_eq!(watch.end().await.code, 14);
            }
        }
    });
}

#[test]
fn reflection_answers_both_of_its_names() {
    Setup::new(4).run(async |client| {
        for version in ["v1", "v1alpha"] {
            let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
            let mut call = client.open(&path).await;
            for question in [
                MessageRequest::ListServices(String::new()),
                MessageRequest::FileContainingSymbol("millrace.v1.Log".into()),
            ] {
                call.say(&ServerReflectionRequest { host: String::new(), message_request: Some(question) });
                let answer = call.hear::<ServerReflectionResponse>().await.expect("an answer");
                assert!(!matches!(answer.message_response, Some(MessageResponse::ErrorResponse(_)) | None));
            }
            call.close();
            assert_eq!(call.end().await.code, 0);
        }
    });
}
